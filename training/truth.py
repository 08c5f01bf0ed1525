"""The truth report: what of each answer the museum's own words bear out, from the bare base to what visitors hear."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from topics.check import Check, FactCheck
from topics.evidence import Evidence, Match
from topics.questions import Row
from topics.release import Answering
from topics.text import normalise
from topics.topic import Topic
from training import model as models
from training.config import Recipe
from training.dataset import Asked, Split
from training.evaluate import drawn, right
from training.generate import answers

COLUMNS = ("base", "tuned", "tuned + evidence", "tuned + evidence + check")
WRONG = "wrong_answers.csv"
Source = Literal["model", "curated", "offered"]


class Heard(NamedTuple):
    """What one question brings, and what the museum's words say of it."""

    asked: Asked
    text: str
    source: Source
    right: bool
    """Whether it holds the key strings of the fact that was asked for."""
    verdict: Check | Literal["does_not_know"] | None
    """Against the fact that was asked for; None for a question back, which states nothing."""


class Visitors:
    """What visitors would hear of one release, but for its gate: told, generated and checked, or asked back."""

    def __init__(
        self, topic: Topic, rows: Sequence[Row], release: Path, answering: Answering, device: str = "auto"
    ) -> None:
        """`rows` are all that the museum knows, what is held out as well. Raises TopicError or BaseError."""
        weights = str(release / "weights")
        self.topic, self.answering = topic, answering
        self.evidence, self.facts = Evidence.load(topic, release), FactCheck(topic, rows)
        self.model = models.load_to_answer(weights, device)
        self.tokenizer = models.load_tokenizer(weights)

    def generate(self, asked: Sequence[Asked]) -> list[str]:
        """What the model writes with the nearest museum note in its prompt."""
        noted = [a._replace(evidence=tuple(m.row.answer for m in self._nearest(a))) for a in asked]
        return answers(self.model, self.tokenizer, self.topic, noted)

    def hear(self, asked: Sequence[Asked], written: Sequence[str] | None = None) -> list[Heard]:
        """What they hear; `written` is what `generate` gave for these questions, if it was asked already."""
        near = [next(iter(self._nearest(a)), None) for a in asked]
        if written is None:
            needed = [i for i, match in enumerate(near) if self._writes(match)]
            made = dict(zip(needed, self.generate([asked[i] for i in needed]), strict=True))
            written = [made.get(i, "") for i in range(len(asked))]
        return [self._heard(*each) for each in zip(asked, near, written, strict=True)]

    def judged(self, asked: Asked, text: str, source: Source = "model") -> Heard:
        """An answer beside the fact that was asked for."""
        assert asked.row is not None
        if normalise(text) == normalise(self.topic.text("unknown", asked.lang)):
            return Heard(asked, text, source, False, "does_not_know")
        return Heard(asked, text, source, right(text, asked), self.facts.answer(text, asked.row))

    def _heard(self, asked: Asked, match: Match | None, written: str) -> Heard:
        if match is None or match.confidence < self.evidence.confidence.likely:
            return Heard(asked, "", "offered", False, None)
        if self._writes(match) and self.facts.answer(written, match.row) == "supported":
            return self.judged(asked, written)
        return self.judged(asked, match.row.answer, "curated")

    def _writes(self, match: Match | None) -> bool:
        cutoffs = self.evidence.confidence
        if match is None or match.confidence < cutoffs.likely:
            return False
        return self.answering == "generate" or match.confidence < cutoffs.sure

    def _nearest(self, asked: Asked) -> list[Match]:
        return self.evidence.search(asked.question, asked.lang, 1)


def tell_truth(
    topic: Topic,
    recipe: Recipe,
    rows: Sequence[Row],
    sets: Split,
    scores: Mapping[str, Any],
    release: Path,
    device: str = "auto",
) -> dict[str, Any]:
    """Figures by set and column and language, and every wrong answer; writes those into the release as well.

    The first two columns are the answers of the run's evaluation, `scores`; the others are made now.
    """
    visitors = Visitors(topic, rows, release, recipe.answering, device)
    parts = (
        {"reworded": sets.reworded, "unseen": sets.unseen} if sets.reworded or sets.unseen else {"trained": sets.train}
    )
    figures: dict[str, Any] = {}
    wrong: list[dict[str, str]] = []
    for name, part in parts.items():
        sample = drawn(part)[: recipe.evaluate.truth_questions]
        if not sample:
            continue
        written = visitors.generate(sample)
        heard = {
            **{c: _evaluated(visitors, sample, scores.get(c, {}).get(name)) for c in COLUMNS[:2]},
            COLUMNS[2]: [visitors.judged(a, text) for a, text in zip(sample, written, strict=True)],
            COLUMNS[3]: visitors.hear(sample, written),
        }
        figures[name] = {column: _figures(each) for column, each in heard.items() if each}
        tuned = [(column, h) for column, each in heard.items() if column != "base" for h in each]
        wrong += [_wrong(name, column, h) for column, h in tuned if h.verdict in ("unsupported", "contradicted")]
    with (release / WRONG).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ("set", "column", "lang", "question", "museum", "said", "source", "check"))
        table.writeheader()
        table.writerows(wrong)
    return {"figures": figures, "wrong": wrong}


def _evaluated(visitors: Visitors, sample: Sequence[Asked], scores: Mapping[str, Any] | None) -> list[Heard]:
    said = [example["said"] for example in scores["examples"]] if scores else []
    return [visitors.judged(a, text) for a, text in zip(sample, said, strict=False)]


def _figures(heard: Sequence[Heard]) -> dict[str, Any]:
    languages = dict.fromkeys(h.asked.lang for h in heard)
    by_language = {lang: _shares([h for h in heard if h.asked.lang == lang]) for lang in languages}
    return {**_shares(heard), "by_language": by_language}


def _shares(heard: Sequence[Heard]) -> dict[str, Any]:
    def share(true: Callable[[Heard], bool]) -> float:
        return round(sum(map(true, heard)) / len(heard), 4)

    verdicts = ("supported", "unsupported", "contradicted", "does_not_know")
    return {
        "questions": len(heard),
        "key_fact": share(lambda h: h.right),
        **{v: share(lambda h, v=v: h.verdict == v) for v in verdicts},  # type: ignore[misc]
        "offered": share(lambda h: h.source == "offered"),
        "curated": share(lambda h: h.source == "curated"),
    }


def _wrong(name: str, column: str, heard: Heard) -> dict[str, str]:
    asked = heard.asked
    museum = asked.row.answer if asked.row else ""
    return {"set": name, "column": column, "lang": asked.lang, "question": asked.question, "museum": museum,
            "said": heard.text, "source": heard.source, "check": str(heard.verdict)}  # fmt: skip
