"""How near a question is to each of the museum's facts: an index of words and letters, and what it says of a pair.

Lexical on purpose: it needs no second model and takes two milliseconds. Which of its numbers count how much is
learned from the museum's own wordings (`topics/calibration.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from topics.ngrams import Arrays, Ngrams, pack, unpack
from topics.questions import Row

Floats = NDArray[np.float64]
POOL = 50
"""Facts that are looked at wording by wording; they are the nearest as wholes."""
MEASURES = (
    "words: fact",
    "letters: fact",
    "words: nearest wording",
    "letters: nearest wording",
    "both: nearest wording",
    "both: three nearest wordings",
    "words: answer",
    "share of the question's words that stand in the fact",
)
"""What is measured of a question and a fact: cosines, 0 to 1, and a share weighted by how rare the words are."""
_MATRICES = ("fact_words", "fact_letters", "wording_words", "wording_letters", "answer_words")


class Nearest(NamedTuple):
    """The facts of one language that are near a question."""

    rows: NDArray[np.int64]
    """Row numbers, nearest as a whole first, shape (facts,)."""
    table: Floats
    """The `MEASURES`, and how far each lies below the best one's; shape (facts, 2 * measures)."""


class Index:
    """TF-IDF of words and letters over each fact as a whole, over each of its wordings, and over its answer."""

    def __init__(
        self,
        match_text: Callable[[str], str],
        ngrams: Ngrams,
        starts: NDArray[Any],
        languages: NDArray[Any],
        **matrices: sparse.csr_array,
    ) -> None:
        """As `fit` makes it. `starts` (facts + 1,) says where the wordings of each fact begin."""
        self._match_text, self._ngrams, self._starts, self._languages = match_text, ngrams, starts, languages
        self._matrices = matrices
        present = matrices["fact_words"]
        self._present = sparse.csr_array((np.ones_like(present.data), present.indices, present.indptr), present.shape)

    @classmethod
    def fit(cls, rows: Sequence[Row], match_text: Callable[[str], str]) -> Index:
        """The index of some facts; their held-out wordings are left out."""
        wordings = [[match_text(w) for w in r.wordings()] for r in rows]
        answers = [match_text(r.answer) for r in rows]
        facts = [" ".join([*said, answer]) for said, answer in zip(wordings, answers, strict=True)]
        ngrams = Ngrams(5).fit(facts)
        fact_words, fact_letters = ngrams.parts(facts)
        wording_words, wording_letters = ngrams.parts([w for said in wordings for w in said])
        return cls(
            match_text,
            ngrams,
            np.cumsum([0, *map(len, wordings)]),
            np.array([r.lang for r in rows]),
            # Features by facts: a question then costs only the postings of its own n-grams, not the whole matrix.
            fact_words=fact_words.T.tocsr(),
            fact_letters=fact_letters.T.tocsr(),
            answer_words=ngrams.parts(answers)[0].T.tocsr(),
            wording_words=wording_words,
            wording_letters=wording_letters,
        )

    def nearest(self, question: str, language: str) -> Nearest:
        """At most `POOL` facts told in `language`."""
        text = self._match_text(question)
        words, letters = self._ngrams.parts([text])
        of_facts = np.stack(
            [_row(words @ self._matrices["fact_words"]), _row(letters @ self._matrices["fact_letters"])]
        )
        mine = np.flatnonzero(self._languages == language)
        rows = mine[np.argsort(-of_facts.sum(0)[mine], kind="stable")[:POOL]]
        if not len(rows):
            return Nearest(rows, np.zeros((0, 2 * len(MEASURES))))
        table = np.column_stack(
            [
                *of_facts[:, rows],
                *self._of_wordings(rows, words, letters),
                _row(words @ self._matrices["answer_words"])[rows],
                self._shared(text)[rows],
            ]
        ).astype(np.float64)
        return Nearest(rows, np.hstack([table, table - table.max(0)]))

    def _of_wordings(self, rows: NDArray[np.int64], words: Any, letters: Any) -> tuple[Floats, ...]:
        """Nearest wording by words, by letters and by both, and the mean of the three nearest; (facts,) each."""
        counts = self._starts[rows + 1] - self._starts[rows]
        begins = np.cumsum(counts) - counts
        owner = np.repeat(np.arange(len(rows)), counts)
        at = np.arange(counts.sum()) - begins[owner] + self._starts[rows][owner]
        by_words = _row(self._matrices["wording_words"][at] @ words.T)
        by_letters = _row(self._matrices["wording_letters"][at] @ letters.T)
        both = (by_words + by_letters) / 2
        best_first = np.lexsort((-both, owner))
        among_three = np.arange(len(at)) - begins[owner] < 3
        three = np.bincount(owner, weights=both[best_first] * among_three) / 3
        return (*(np.maximum.reduceat(v, begins) for v in (by_words, by_letters, both)), three)

    def _shared(self, text: str) -> Floats:
        """The share of the question's words that stand in each fact, rare words counting more; (facts,)."""
        idf, known = self._ngrams.words.idf_, self._ngrams.words.vocabulary_
        said = set(text.split())
        columns = [known[w] for w in said if w in known]
        total = idf[columns].sum() + (len(said) - len(columns)) * idf.max()
        asked = sparse.csr_array((idf[columns], (np.zeros(len(columns), dtype=int), columns)), (1, len(idf)))
        return np.asarray(_row(asked @ self._present) / max(total, 1e-9))

    def arrays(self) -> Arrays:
        """The whole index, for `numpy.savez`."""
        stored = {**self._ngrams.arrays(), "starts": self._starts, "languages": self._languages}
        for name in _MATRICES:
            stored |= pack(name, self._matrices[name])
        return stored

    @classmethod
    def from_arrays(cls, stored: Mapping[str, Any], match_text: Callable[[str], str]) -> Index:
        """As `arrays` gave it. Raises KeyError or ValueError when something is missing."""
        matrices = {name: unpack(name, stored) for name in _MATRICES}
        return cls(match_text, Ngrams.from_arrays(stored), stored["starts"], stored["languages"], **matrices)


def _row(product: Any) -> Floats:
    """A sparse product of one row or one column as a plain vector."""
    return np.asarray(product.toarray()).ravel()
