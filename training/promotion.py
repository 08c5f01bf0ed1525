"""May a new release go live? Asked the same questions as the live one, it must not be worse beyond chance."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sacrebleu

from gatekeeper.filter import GateError, TopicFilter
from topics.errors import TopicError
from topics.questions import Row, read_off_topic
from topics.release import Manifest, ReleaseError, check_release, find_release
from topics.topic import HERE as TOPICS
from topics.topic import Topic
from training.config import Recipe
from training.dataset import Asked, split
from training.evaluate import drawn, right
from training.figures import mean_with_interval
from training.generate import answers
from training.model import make_room
from training.truth import Heard, Visitors

log = logging.getLogger(__name__)
_QUESTIONS = 120
"""Answers asked of the live release: half a minute on two cores."""
_GATE_QUESTIONS = 500


class Measure(NamedTuple):
    """A share of the same questions, of the candidate and of the live release, and where their difference lies."""

    what: str
    questions: int
    candidate: float
    live: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """Whether chance alone does not explain it (95 %, paired bootstrap)."""
        return self.high < 0


class Judgement(NamedTuple):
    """What comes of a candidate, and why, in words for a curator."""

    promote: bool
    why: str
    against: str | None
    """The live release it was measured against; None where there was none to measure against."""
    asked: str = ""
    measures: tuple[Measure, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {**self._asdict(), "measures": [m._asdict() for m in self.measures]}


def judge(
    topic: Topic,
    recipe: Recipe,
    rows: list[Row],
    result: dict[str, Any],
    candidate: Path,
    *,
    name: str,
    root: Path,
    device: str = "auto",
) -> Judgement:
    """Whether the release being built in `candidate` may go live. `result` is that of its training run."""
    parity = result["parity"]
    if parity["same"] + parity["excused"] < parity["prompts"]:
        return Judgement(False, _no_parity(topic, name, parity), None)
    if why := _not_as_served(topic, name, result.get("served")):
        return Judgement(False, why, None)
    try:
        live = find_release(topic, root=root)
    except ReleaseError:
        return Judgement(True, "It is the topic's first release and goes live without one to compare it with.", None)
    try:
        manifest, live_gate = check_release(topic, live), TopicFilter.load(live / "gate.skops")
    except (ReleaseError, GateError) as error:
        why = f"There was nothing to compare it with: the release that was live can no longer be served ({error})."
        return Judgement(True, why, None)
    held_out = not result["everything"] and not manifest.includes_held
    asked, said = _questions(topic, recipe, rows, result, manifest, held_out=held_out)
    try:
        # One after the other: a large model is not held twice.
        ours = Visitors(topic, rows, candidate, recipe.answering, device).hear(asked)
        make_room()
        visitors = Visitors(topic, rows, live, manifest.answering, device)
    except TopicError as error:
        why = f"There was nothing to compare it with: the release that was live can no longer be served ({error})."
        return Judgement(True, why, None)
    measures = (
        *(_of_the_model(asked, said, _answers_of(visitors, asked)) if asked else ()),
        *(_of_what_is_heard(ours, visitors.hear(asked)) if asked else ()),
        *_of_the_gate(topic, rows, TopicFilter.load(candidate / "gate.skops"), live_gate),
    )
    for m in measures:
        log.info(
            "%s, of %d: candidate %.0f %%, live %.0f %%, difference between %+.0f and %+.0f points",
            m.what, m.questions, 100 * m.candidate, 100 * m.live, 100 * m.low, 100 * m.high,
        )  # fmt: skip
    worse = [m for m in measures if m.worse]
    why = _worse(topic, name, live.name, worse) if worse else _not_worse(topic, live.name, measures)
    return Judgement(not worse, why, live.name, "held-out" if held_out else "taught to both", measures)


def _questions(
    topic: Topic, recipe: Recipe, rows: list[Row], result: dict[str, Any], live: Manifest, *, held_out: bool
) -> tuple[list[Asked], list[str]]:
    """Questions that are as new, or as well known, to one model as to the other; and the candidate's answers to them.

    Those answers were given in the run's evaluation. Where one release was taught the held-out wordings and the other
    was not, wordings taught to both are asked.
    """
    sets = split(topic, rows, recipe.data, seed=recipe.train.seed, everything=result["everything"])
    name = "reworded" if held_out and sets.reworded else "trained"
    pool = drawn(sets.reworded if name == "reworded" else sets.train)
    held = {(r.id, r.lang, text) for r in rows for text in (r.wordings() if r.held else r.wordings(held=True))}
    given = result["scores"]["tuned"][name]["examples"]
    both = [
        (asked, example["said"])
        for asked, example in zip(pool, given, strict=False)
        if name == "reworded"
        or (result["everything"] and live.includes_held)
        or (asked.row and (asked.row.id, asked.lang, asked.question) not in held)
    ][:_QUESTIONS]
    return [asked for asked, _ in both], [said for _, said in both]


def _answers_of(live: Visitors, asked: Sequence[Asked]) -> list[str]:
    return answers(live.model, live.tokenizer, live.topic, asked)


def _of_the_model(asked: Sequence[Asked], ours: Sequence[str], live: Sequence[str]) -> list[Measure]:
    keyed = [[right(s, a) for s, a in zip(said, asked, strict=True)] for said in (ours, live)]
    alike = [[_likeness(s, a) for s, a in zip(said, asked, strict=True)] for said in (ours, live)]
    return [
        _measure("key facts told by the model alone", *keyed),
        _measure("its answers like the museum's (chrF)", *alike),
    ]


def _of_what_is_heard(ours: Sequence[Heard], live: Sequence[Heard]) -> list[Measure]:
    both = (ours, live)
    return [
        _measure("key facts told to visitors", *([h.right for h in heard] for heard in both)),
        _measure(
            "nothing told that the museum contradicts",
            *([h.verdict != "contradicted" for h in heard] for heard in both),
        ),
    ]


def _likeness(said: str, asked: Asked) -> float:
    return float(sacrebleu.sentence_chrf(said, [asked.answer]).score) / 100


def _of_the_gate(topic: Topic, rows: Sequence[Row], ours: TopicFilter, live: TopicFilter) -> list[Measure]:
    """Held-out wordings, which no gate learns from, and other people's questions."""
    chance = random.Random(0)
    mine = [text for r in rows if not r.held for text in r.wordings(held=True)]
    mine = mine or [r.question for r in rows if not r.held]
    others = [o.question for o in read_off_topic(TOPICS / "off_topic.jsonl", topic.folder / "near_misses.jsonl")]
    mine, others = (chance.sample(q, min(_GATE_QUESTIONS, len(q))) for q in (mine, others))
    let_in = [[v.on_topic for v in gate.decide_many(mine)] for gate in (ours, live)]
    kept_out = [[not v.on_topic for v in gate.decide_many(others)] for gate in (ours, live)]
    return [
        _measure("museum questions that the gate lets in", *let_in),
        _measure("other people's questions that it keeps out", *kept_out),
    ]


def _measure(what: str, ours: Sequence[float], live: Sequence[float]) -> Measure:
    _, (low, high) = mean_with_interval(a - b for a, b in zip(ours, live, strict=True))
    n = len(ours)
    return Measure(what, n, sum(ours) / n, sum(live) / n, low, high)


def _no_parity(topic: Topic, name: str, parity: dict[str, Any]) -> str:
    return (
        f"Its merged weights answer only {parity['same'] + parity['excused']} of {parity['prompts']} prompts as the "
        f"adapter does, so it is kept as releases/{topic.id}/{name} and never served. Train again, and report this "
        "with the run folder if it happens twice."
    )


def _not_as_served(topic: Topic, name: str, served: dict[str, Any] | None) -> str:
    """Why a candidate that was tried as a service may not go live; empty where it may, or was not tried."""
    if not served:
        return ""
    if "fault" in served:
        return (
            f"It could not be tried as visitors would ask it: {served['fault']}. It is kept as releases/{topic.id}/"
            f"{name} and not served: mend that and train again, or serve it untried with `make promote "
            f"TOPIC={topic.id} RELEASE={name}`."
        )
    right = served["same"] + served["excused"]
    if served["read"] == right == served["prompts"]:
        return ""
    return (
        f"The service reads {served['read']} of {served['prompts']} prompts as training does and answers {right} of "
        f"them as the merged weights do, so it is kept as releases/{topic.id}/{name} and never served. Its report.html "
        "lists what differs: look there, and report it with the run folder."
    )


def _worse(topic: Topic, name: str, live: str, worse: Sequence[Measure]) -> str:
    said = "; ".join(f"{m.what}: {m.candidate:.0%} of {m.questions}, before {m.live:.0%}" for m in worse)
    return (
        f"It is worse than the live release {live} beyond what chance explains ({said}). It is kept as "
        f"releases/{topic.id}/{name} and not served: look at its report.html, then train longer (EPOCHS=…), or "
        f"serve it nevertheless with `make promote TOPIC={topic.id} RELEASE={name}`."
    )


def _not_worse(topic: Topic, live: str, measures: Sequence[Measure]) -> str:
    better = [m.what for m in measures if m.low > 0]
    gain = f"better at: {'; '.join(better)}" if better else "and no better beyond chance"
    return (
        f"It is not worse than {live}, which was live before, in anything that was measured, {gain}. "
        f"`make rollback TOPIC={topic.id}` brings that one back."
    )
