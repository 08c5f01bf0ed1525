"""The nearest museum facts to a visitor's question, and how sure we may be that the first one is meant.

`topics/matching.py` measures, `topics/calibration.py` learned what the measures are worth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from pydantic import TypeAdapter

from topics.errors import TopicError
from topics.language import LanguageGuess
from topics.matching import MEASURES, Floats, Index, Nearest
from topics.questions import Row, read_questions
from topics.text import normalise
from topics.topic import Topic

SHOWN = 3
"""Facts offered in `Do you mean …?`."""
_FACTS, _LEARNED, _INDEX = "facts.jsonl", "evidence.json", "evidence.npz"
_ZEROS = (0.0,) * len(MEASURES)


class Match(NamedTuple):
    """A museum fact and the probability that it is the one asked for."""

    row: Row
    confidence: float


@dataclass(frozen=True)
class Confidence:
    """Which fact comes first, how probably it is the right one, and two cut-offs; learned by `calibrate`."""

    ranker: tuple[float, ...] = (0.5, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, *_ZEROS)
    """What each number of a `Nearest.table` counts for the order."""
    weights: tuple[float, ...] = (6.0, 4.0, *_ZEROS)
    """What the first fact's score, its lead over the second and its measures count for the probability."""
    intercept: float = -3.0
    sure: float = 0.9
    """At or above: the museum's own words are told at once."""
    likely: float = 0.4
    """At or above: generate, and check. Below: ask back."""

    def scores(self, near: Nearest) -> Floats:
        """The rank score of each fact, shape (facts,)."""
        return np.asarray(near.table @ np.array(self.ranker))

    def of(self, near: Nearest) -> float:
        """Probability that the fact of the highest score is the one asked for."""
        return float(1 / (1 + np.exp(-(self.intercept + np.dot(self.weights, signals(near, self.scores(near)))))))


_CONFIDENCE = TypeAdapter(Confidence)


def signals(near: Nearest, scores: Floats) -> Floats:
    """What tells a good match from a chance one: the best score, its lead over the next, the best fact's measures."""
    best = int(scores.argmax())
    lead = scores[best] - np.partition(scores, -2)[-2] if len(scores) > 1 else scores[best]
    return np.array([scores[best], lead, *near.table[best, : len(MEASURES)]])


class Evidence:
    """The facts of a topic and their index; held-out wordings and facts are never in it."""

    def __init__(
        self,
        topic: Topic,
        rows: Sequence[Row],
        confidence: Confidence | None = None,
        *,
        index: Index | None = None,
        languages: LanguageGuess | None = None,
    ) -> None:
        """`index` and `languages` as stored, else they are made. Raises ValueError when there is no fact to index."""
        self.topic = topic
        self.rows = [r for r in rows if not r.held]
        if not self.rows:
            raise ValueError(f"topic {topic.id!r} has no fact that is not held out; add facts to questions.jsonl")
        self.confidence = confidence or Confidence()
        self._index = index or Index.fit(self.rows, topic.match_text)
        self._languages = languages or LanguageGuess.fit(self.rows)
        self._by_key = {(r.id, r.lang): r for r in self.rows}
        self._exact = {(normalise(w), r.lang): r.id for r in reversed(self.rows) for w in r.wordings()}
        self._neighbours: dict[tuple[str, str], list[Row]] = {}

    def exact(self, question: str, language: str) -> Row | None:
        """The fact that the museum itself asks for in these very words, in any of its languages, told in `language`."""
        text = normalise(question)
        ids = (self._exact.get((text, lang)) for lang in (language, *self.topic.languages))
        return next((self._by_key[i, language] for i in ids if i and (i, language) in self._by_key), None)

    def language(self, text: str) -> str:
        """The topic's language in which `text` is most probably written."""
        return self._languages.guess(text, otherwise=self.topic.languages[0])

    def search(self, question: str, language: str, count: int = SHOWN) -> list[Match]:
        """The `count` nearest facts told in `language`, best first; only the first carries a calibrated confidence.

        A question in another of the topic's languages is matched there and answered through the fact's id.
        """
        exact = self.exact(question, language)
        if exact and count == 1:
            return [Match(exact, 1.0)]
        near = self._index.nearest(question, self.language(question))
        if not len(near.rows):
            return [Match(exact, 1.0)] if exact else []
        scores = self.confidence.scores(near)
        order = np.argsort(-scores, kind="stable")
        best = 1.0 if exact else self.confidence.of(near)
        found: list[Match] = [Match(exact, best)] if exact else []
        for position, at in enumerate(order):
            row = self._by_key.get((self.rows[near.rows[at]].id, language))
            if position == 0 and row is None and not exact:
                best = 0.0  # The fact exists, but not in the visitor's language: ask back, never guess another one.
            if row is not None and row is not exact:
                found.append(Match(row, best if not found else best * float(np.exp(scores[at] - scores[order[0]]))))
            if len(found) == count:
                break
        return found

    def near(self, row: Row, count: int = 4) -> list[Row]:
        """Facts next to a fact, for follow-up suggestions: the same article first, then the most alike."""
        if (row.id, row.lang) not in self._neighbours:
            near = self._index.nearest(f"{row.question} {row.answer}", row.lang)
            self._neighbours[row.id, row.lang] = [self.rows[i] for i in near.rows if self.rows[i].id != row.id]
        others = self._neighbours[row.id, row.lang][: count * 3]
        article = row.source.partition("#")[0]
        return sorted(others, key=lambda r: r.source.partition("#")[0] != article)[:count]

    def save(self, folder: Path) -> None:
        """Writes `facts.jsonl`, `evidence.json` and the index, `evidence.npz`: plain data, no code."""
        facts = "\n".join(row.model_dump_json(by_alias=True) for row in self.rows) + "\n"
        (folder / _FACTS).write_text(facts, encoding="utf-8")
        (folder / _LEARNED).write_bytes(_CONFIDENCE.dump_json(self.confidence, indent=1))
        arrays = {**self._index.arrays(), **self._languages.arrays(), "facts": np.array(_hash(folder))}
        np.savez(folder / _INDEX, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, topic: Topic, folder: Path) -> Evidence:
        """The index of a release. Raises TopicError or OSError when its files are damaged, missing or do not fit."""
        rows = read_questions(folder / _FACTS)
        advice = f"run `make publish-facts TOPIC={topic.id}`"
        try:
            confidence = _CONFIDENCE.validate_json((folder / _LEARNED).read_bytes())
            with np.load(folder / _INDEX, allow_pickle=False) as file:
                stored = dict(file)
            if str(stored["facts"]) != _hash(folder):
                raise TopicError(
                    f"{folder / _FACTS}: not the facts that {_INDEX} was made of; change questions.jsonl and {advice}"
                )
            index = Index.from_arrays(stored, topic.match_text)
            return cls(topic, rows, confidence, index=index, languages=LanguageGuess.from_arrays(stored))
        except TopicError:
            raise
        except (KeyError, ValueError, TypeError, EOFError, BadZipFile) as error:
            raise TopicError(f"{folder / _INDEX}: not a whole index ({error!r}); {advice}") from error


def _hash(folder: Path) -> str:
    return hashlib.sha256((folder / _FACTS).read_bytes()).hexdigest()
