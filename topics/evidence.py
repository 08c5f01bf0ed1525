"""The nearest museum facts to a visitor's question, and how sure we may be that the first one is meant.

Lexical on purpose: it needs no second model, runs in a millisecond, and can be rebuilt from the topic folder.
Confidence is calibrated on the museum's own wordings, each left out in turn, and on whole facts left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from topics.questions import Row
from topics.text import normalise
from topics.topic import Topic
from topics.vectors import QuickVectors

Floats = NDArray[np.float64]
SHOWN = 3
"""Facts offered in `Do you mean …?`."""
_NEIGHBOURS = 60
"""Facts kept as the neighbours of one."""


class Match(NamedTuple):
    """A museum fact and the probability that it is the one asked for."""

    row: Row
    confidence: float


@dataclass(frozen=True)
class Confidence:
    """Turns match scores into a probability and two cut-offs; learned by `calibrate`, stored in the release."""

    weights: tuple[float, ...] = (6.0, 3.0, 3.0)
    intercept: float = -3.0
    sure: float = 0.9
    """At or above: the museum's own words are told at once."""
    likely: float = 0.4
    """At or above: generate, and check. Below: ask back."""

    def of(self, scores: Floats) -> float:
        """Probability that the best of `scores` (descending, at least two) is the fact asked for."""
        return float(1 / (1 + np.exp(-(self.intercept + np.dot(self.weights, _signals(scores))))))


def _signals(scores: Floats) -> Floats:
    """What tells a good match from a chance one: how near it is, how far ahead of the next, and both at once."""
    first, second = scores[0], scores[1] if len(scores) > 1 else 0.0
    return np.array([first, first - second, (first - second) / max(first, 1e-9)])


class Evidence:
    """An index over the facts of a topic; held-out wordings and facts are never in it."""

    def __init__(self, topic: Topic, rows: Sequence[Row], confidence: Confidence | None = None) -> None:
        """Builds the index (about a second per 1,000 facts). Raises ValueError when there is no fact to index."""
        self.topic = topic
        self.rows = [r for r in rows if not r.held]
        if not self.rows:
            raise ValueError(f"topic {topic.id!r} has no fact that is not held out; add facts to questions.jsonl")
        self.confidence = confidence or Confidence()
        self._index = _Index(self.rows, topic.match_text)
        self._by_key = {(r.id, r.lang): r for r in self.rows}
        self._languages = _LanguageGuess(self.rows, topic.languages)
        self._exact = {(normalise(w), r.lang): r.id for r in reversed(self.rows) for w in r.wordings()}
        self._neighbours: dict[tuple[str, str], list[Row]] = {}

    def exact(self, question: str, language: str) -> Row | None:
        """The fact that the museum itself asks for in these very words, in any of its languages, told in `language`."""
        text = normalise(question)
        ids = (self._exact.get((text, lang)) for lang in (language, *self.topic.languages))
        return next((self._by_key[i, language] for i in ids if i and (i, language) in self._by_key), None)

    def language(self, text: str) -> str:
        """The topic's language in which `text` is most probably written."""
        return self._languages.guess(text)

    def search(self, question: str, language: str, count: int = SHOWN) -> list[Match]:
        """The `count` nearest facts told in `language`, best first; only the first carries a calibrated confidence.

        A question in another of the topic's languages is matched there and answered through the fact's id.
        """
        exact = self.exact(question, language)
        if exact and count == 1:
            return [Match(exact, 1.0)]
        asked_in = self.language(question)
        order, scores = self._index.rank(question, asked_in)
        if not len(order):
            return []
        best = 1.0 if exact else self.confidence.of(scores)
        found: list[Match] = [Match(exact, best)] if exact else []
        for position, index in enumerate(order):
            row = self._by_key.get((self.rows[index].id, language))
            if position == 0 and row is None and not exact:
                best = 0.0  # The fact exists, but not in the visitor's language: ask back, never guess another one.
            if row is not None and row is not exact:
                found.append(
                    Match(row, best if not found else min(best, float(scores[position] / max(scores[0], 1e-9)) * best))
                )
            if len(found) == count:
                break
        return found

    def near(self, row: Row, count: int = 4) -> list[Row]:
        """Facts next to a fact, for follow-up suggestions: the same article first, then the most alike."""
        if (row.id, row.lang) not in self._neighbours:
            order, _ = self._index.rank(f"{row.question} {row.answer}", row.lang)
            self._neighbours[row.id, row.lang] = [self.rows[i] for i in order if self.rows[i].id != row.id][
                :_NEIGHBOURS
            ]
        article = row.source.partition("#")[0]
        others = self._neighbours[row.id, row.lang][: count * 3]
        return sorted(others, key=lambda r: r.source.partition("#")[0] != article)[:count]

    def save(self, folder: Path) -> None:
        """Writes `facts.jsonl` and `evidence.json`; no pickle, `load` builds the index again."""
        lines = [row.model_dump_json(by_alias=True) for row in self.rows]
        (folder / "facts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "evidence.json").write_text(json.dumps(self.confidence.__dict__, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, topic: Topic, folder: Path) -> Evidence:
        """The index of a release. Raises QuestionsError or OSError when its files are damaged or missing."""
        from topics.questions import read_questions

        stored: dict[str, Any] = json.loads((folder / "evidence.json").read_text(encoding="utf-8"))
        stored["weights"] = tuple(stored["weights"])
        return cls(topic, read_questions(folder / "facts.jsonl"), Confidence(**stored))


class _Index:
    """TF-IDF of words and characters over each fact as a whole and over each of its wordings."""

    def __init__(self, rows: Sequence[Row], match_text: Callable[[str], str]) -> None:
        self.match_text = match_text
        self.languages = np.array([r.lang for r in rows])
        wordings = [(i, match_text(w)) for i, r in enumerate(rows) for w in r.wordings()]
        self.owner = np.array([i for i, _ in wordings])
        facts = [match_text(" ".join([*r.wordings(), r.question, r.answer])) for r in rows]
        options: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
        self.words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", **options).fit(facts)
        self.letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **options).fit(facts)
        # Features by texts: a question then costs only the postings of its own n-grams, not the whole matrix.
        self.vectors = QuickVectors(self.words, self.letters)
        self.facts = self.vectors.of(facts).T.tocsr()
        self.wordings = self.vectors.of([text for _, text in wordings]).T.tocsr()

    def rank(self, question: str, language: str) -> tuple[NDArray[np.int64], Floats]:
        """Row numbers of one language, best first, and their scores."""
        vector = self.vectors.of([self.match_text(question)])
        whole = (vector @ self.facts).toarray().ravel() / 2
        single = (vector @ self.wordings).toarray().ravel() / 2
        nearest = np.zeros(len(whole))
        np.maximum.at(nearest, self.owner, single)
        scores = whole + nearest
        candidates = np.flatnonzero(self.languages == language)
        order = candidates[np.argsort(-scores[candidates], kind="stable")]
        return order, scores[order]


class _LanguageGuess:
    """Character n-grams and logistic regression over the topic's own wordings, accents kept."""

    def __init__(self, rows: Sequence[Row], languages: Sequence[str]) -> None:
        self.first = languages[0]
        texts = [w for r in rows for w in (*r.wordings(), r.answer)]
        labels = [r.lang for r in rows for _ in (*r.wordings(), r.answer)]
        self.model: LogisticRegression | None = None
        if len(set(labels)) > 1:
            letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True)
            self.model = LogisticRegression(C=20, class_weight="balanced", max_iter=300)
            self.model.fit(letters.fit_transform(texts), labels)
            self.vectors = QuickVectors(letters)
            self.own = _only(zip(map(normalise, texts), labels, strict=True))

    def guess(self, text: str) -> str:
        if self.model is None or not text.strip():
            return self.first
        if own := self.own.get(normalise(text)):
            return own
        scores = (self.vectors.of([text]) @ self.model.coef_.T)[0] + self.model.intercept_
        best = int(scores.argmax()) if len(scores) > 1 else int(scores[0] > 0)
        return str(self.model.classes_[best])


def _only(texts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The language of each text that stands in one language alone."""
    languages: dict[str, set[str]] = {}
    for text, language in texts:
        languages.setdefault(text, set()).add(language)
    return {text: found.pop() for text, found in languages.items() if len(found) == 1}


def calibrate(
    topic: Topic,
    rows: Sequence[Row],
    *,
    wrong_sure: float = 0.02,
    wrong_told: float = 0.04,
    told_without_fact: float = 0.15,
    seed: int = 0,
) -> Confidence:
    """Learns the confidence from left-out wordings, and the cut-offs from what they cost.

    Each wording is left out once (in five folds); in each fold a sixth of the facts is left out altogether, so that
    questions without an answer are seen too. `sure` is the lowest confidence above which at most `wrong_sure` of the
    matches are wrong. `likely` is the lowest at which at most `wrong_told` of the questions that have an answer are
    told another one, and at most `told_without_fact` of those that have none are told one. Platt scaling (Platt 1999).
    """
    rows = [r for r in rows if not r.held]
    signals, right, absent = _left_out(topic, rows, np.random.default_rng(seed))
    if len(set(right)) < 2:
        return Confidence()
    model = LogisticRegression(C=100, max_iter=1000).fit(signals, right)
    probability = model.predict_proba(signals)[:, 1]
    there = ~absent
    return Confidence(
        weights=tuple(float(w) for w in model.coef_[0]),
        intercept=float(model.intercept_[0]),
        sure=_precise(probability, right, wrong_sure),
        likely=max(
            _quiet(probability[there], right[there], wrong_told),
            _quiet(probability[absent], right[absent], told_without_fact),
        ),
    )


def _left_out(
    topic: Topic, rows: Sequence[Row], chance: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """For every left-out wording: match signals, whether the first match is right, whether its fact was absent."""
    signals, right, absent = [], [], []
    for fold in range(5):
        missing = {r.id for r in rows if chance.random() < 1 / 6}
        asked: list[tuple[str, Row]] = []
        kept: list[Row] = []
        for row in rows:
            out = {i for i in range(len(row.paraphrases)) if i % 5 == fold}
            asked += [(row.paraphrases[i].text, row) for i in sorted(out) if not row.paraphrases[i].held]
            if row.id not in missing:
                rest = tuple(p for i, p in enumerate(row.paraphrases) if i not in out)
                kept.append(row.model_copy(update={"paraphrases": rest}))
        if not kept:
            continue
        index = _Index(kept, topic.match_text)
        for text, row in asked:
            order, scores = index.rank(text, row.lang)
            if len(order):
                signals.append(_signals(scores))
                right.append(kept[order[0]].id == row.id)
                absent.append(row.id in missing)
    return np.array(signals), np.array(right, dtype=bool), np.array(absent, dtype=bool)


def _precise(probability: Floats, right: NDArray[np.bool_], wrong: float) -> float:
    """The lowest probability above which at most a share `wrong` of the matches is wrong."""
    order = np.argsort(-probability)
    share = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share <= wrong)
    return float(probability[order[good[-1]]]) if len(good) else 1.0


def _quiet(probability: Floats, right: NDArray[np.bool_], wrong: float) -> float:
    """The lowest probability above which the wrong matches are at most a share `wrong` of all questions."""
    order = np.argsort(-probability)
    good = np.flatnonzero(np.cumsum(~right[order]) <= wrong * len(order))
    return float(probability[order[good[-1]]]) if len(good) else 1.0
