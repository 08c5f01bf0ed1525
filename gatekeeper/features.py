"""What the gate sees in a question: its words, its letters, and how much of it the museum has ever written about.

The published recipe counts words. Beside them stand character n-grams (typos, unaccented Vietnamese), and a few
numbers that no n-gram holds: is the subject named, which words are neither common nor the museum's own (a question
full of such words is about something else, whatever it sounds like), and how near known questions are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.validation import check_is_fitted

from gatekeeper.neighbours import Neighbours
from topics.names import SUBJECT, Names
from topics.text import comparable
from topics.vectors import QuickVectors

LONGEST = 2000
"""Characters looked at from either end of a question; what stands between them cannot be its demand."""
_LEET = str.maketrans("0134578@$!", "oieastbasi")
_LEETSPEAK = re.compile(r"\b(?=[^\W\d_]*[\d@$!]+[^\W\d_])(?:[\d@$!]|[^\W\d_]){3,}\b")
_NUMBERS = (
    "the subject is named",
    "length",
    "words strange to the museum",
    "share of words strange to the museum",
    "strange words, subject not named",
    "share of strange words, subject not named",
    "short, subject not named",
    "long, subject not named",
    "nearest question of ours",
    "nearest question of others",
    "no words at all",
)


class QuestionFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """TF-IDF of words (1, 2) and characters (2 to 4), and eleven numbers; a sparse matrix (questions, features).

    `fit_transform` is not `fit` and `transform`: a word counts as the museum's own only if it stands in its
    articles, answers or in the wordings of *another* fact, and no wording of the same fact counts as a neighbour,
    as it must be for a visitor's new words (leave one group out; compare scikit-learn's `TargetEncoder`).
    """

    def __init__(self, names: Sequence[str] = (), common: float = 0.002) -> None:
        """`names` are the subject's names; a word in less than the share `common` of all questions tells something."""
        self.names = names
        self.common = common

    def fit(
        self,
        questions: Sequence[str],
        y: Sequence[str] | None = None,
        *,
        facts: Sequence[str | None],
        written: Sequence[str] = (),
    ) -> QuestionFeatures:
        """`y` are the kinds (without them, what asks for a fact is ours); `facts` names the fact that a question asks
        for, None for any other; `written` are articles and answers.
        """
        self.fit_transform(questions, y, facts=facts, written=written)
        return self

    def fit_transform(
        self,
        questions: Sequence[str],
        y: Sequence[str] | None = None,
        *,
        facts: Sequence[str | None],
        written: Sequence[str] = (),
    ) -> csr_matrix:
        seen = self.seen(questions)
        ngrams, own = self._learn(seen, facts, written)
        ours = np.array([f is not None for f in facts] if y is None else [kind == "topic" for kind in y])
        self.neighbours_ = Neighbours.fit(ngrams, ours)
        near = self.neighbours_.nearest_but_own(ngrams, ours, facts)
        return self._table(seen, ngrams, near, [own.get(f, set()) if f is not None else set() for f in facts])

    def transform(self, questions: Sequence[str]) -> csr_matrix:
        check_is_fitted(self, "neighbours_")
        return self.of_seen(self.seen(questions))

    def of_seen(self, seen: Sequence[str]) -> csr_matrix:
        """`transform` for questions that went through `seen` already."""
        ngrams = self._ngrams(seen)
        return self._table(seen, ngrams, self.neighbours_.nearest(ngrams), None)

    def seen(self, questions: Sequence[str]) -> list[str]:
        """The questions as they are compared: folded, names made one word, leetspeak undone, Chinese apart."""
        names = self._names_of(tuple(self.names))
        return [names.replaced(comparable(_plain_letters(_ends(q)))) for q in questions]

    def strange(self, seen: str) -> list[str]:
        """The words of one question that are neither common nor known to the museum."""
        return [w for w in seen.split() if w not in self.common_ and w not in self.known_]

    def telling(self, seen: str) -> list[str]:
        """The words of one question that say what it is about."""
        return [w for w in seen.split() if w not in self.common_]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        return np.array(
            [
                *self.words_.get_feature_names_out(),
                *(f"…{n}…" for n in self.letters_.get_feature_names_out()),
                *(f"({n})" for n in _NUMBERS),
            ],
            dtype=object,
        )

    def _names_of(self, names: tuple[str, ...]) -> Names:
        if getattr(self, "_cached", (None,))[0] != names:
            self._cached = (names, Names(names))
        return self._cached[1]

    def _learn(
        self, seen: Sequence[str], facts: Sequence[str | None], written: Sequence[str]
    ) -> tuple[csr_matrix, dict[str, set[str]]]:
        """The n-grams of the questions, shape (questions, n-grams), and the words that each fact alone made known."""
        common: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
        self.words_ = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", min_df=2, **common)
        self.letters_ = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=3, **common)
        ngrams = hstack([self.words_.fit_transform(seen), self.letters_.fit_transform(seen)]).tocsr()
        self.vectors_ = QuickVectors(self.words_, self.letters_)
        counts = Counter(word for text in seen for word in set(text.split()))
        self.common_ = {w for w, n in counts.items() if n >= max(self.common * len(seen), 2)} | {SUBJECT}
        own: dict[str, set[str]] = {}
        for text, fact in zip(seen, facts, strict=True):
            if fact is not None:
                own.setdefault(fact, set()).update(text.split())
        in_facts = Counter(w for words in own.values() for w in words)
        in_writing = Counter(w for text in self.seen(written) for w in set(text.split()))
        self.known_ = set(in_facts) | set(in_writing)
        # What a fact's wordings alone made known does not count for that fact itself.
        alone = {f: {w for w in words if in_facts[w] == 1 and not in_writing[w]} for f, words in own.items()}
        return ngrams, alone

    def _ngrams(self, seen: Sequence[str]) -> csr_matrix:
        return csr_matrix(self.vectors_.of(seen))

    def _table(
        self, seen: Sequence[str], ngrams: csr_matrix, near: NDArray[Any], not_known: Sequence[set[str]] | None
    ) -> csr_matrix:
        numbers = np.zeros((len(seen), len(_NUMBERS)), dtype=np.float32)
        for i, text in enumerate(seen):
            words = text.split()
            named = SUBJECT in words
            telling = [w for w in words if w not in self.common_]
            foreign = not_known[i] if not_known is not None else ()
            strange = sum(w not in self.known_ or w in foreign for w in telling)
            count, share = min(strange, 4) / 4, strange / max(len(telling), 1)
            numbers[i] = (
                named, np.log1p(len(words)) / 4, count, share, count * (not named), share * (not named),
                len(words) <= 5 and not named, len(words) > 8 and not named, *near[i], not words,
            )  # fmt: skip
        return hstack([ngrams, csr_matrix(numbers)]).tocsr()

    def state(self) -> dict[str, Any]:
        """What was learned, as plain strings and arrays: small on disk and quick to read."""
        return {
            "names": list(self.names),
            "share": self.common,
            "common": "\n".join(sorted(self.common_)),
            "known": "\n".join(sorted(self.known_)),
            "words": "\n".join(self.words_.get_feature_names_out()),
            "words_idf": self.words_.idf_,
            "letters": "\n".join(self.letters_.get_feature_names_out()),
            "letters_idf": self.letters_.idf_,
            "neighbours": self.neighbours_.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> QuestionFeatures:
        """The features as `state` gave them. Raises KeyError or ValueError when something is missing."""
        made = cls(names=state["names"], common=state["share"])
        made.common_, made.known_ = set(state["common"].split("\n")), set(state["known"].split("\n"))
        options: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
        made.words_ = TfidfVectorizer(
            ngram_range=(1, 2), token_pattern=r"\w+", vocabulary=state["words"].split("\n"), **options
        )
        made.letters_ = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), vocabulary=state["letters"].split("\n"), **options
        )
        made.words_.idf_, made.letters_.idf_ = state["words_idf"], state["letters_idf"]
        made.vectors_ = QuickVectors(made.words_, made.letters_)
        made.neighbours_ = Neighbours.from_state(state["neighbours"])
        return made


def _ends(question: str) -> str:
    return question if len(question) <= 2 * LONGEST else f"{question[:LONGEST]} {question[-LONGEST:]}"


def _plain_letters(text: str) -> str:
    """`h0w t0 h4ck` becomes `how to hack`; `1945` and `B52` stay."""
    return _LEETSPEAK.sub(lambda m: m.group().translate(_LEET), text)
