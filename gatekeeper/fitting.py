"""A topic folder becomes a gate: which questions count, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gatekeeper.filter import TopicFilter
from gatekeeper.second import Encoder
from topics.questions import LABELLED, read_labelled, read_off_topic, read_questions
from topics.topic import HERE as TOPICS
from topics.topic import Topic


class Example(NamedTuple):
    """A question with its label, and where it comes from."""

    question: str
    kind: str
    lang: str
    fact: str | None = None
    near_miss: bool = False
    register: str = ""


def examples(topic: Topic, off_topic: Sequence[Path] | None = None) -> list[Example]:
    """What a gate learns from: facts' wordings but held-out ones, others' questions, near-misses, a curator's labels.

    `off_topic` replaces the shared file. Drafts and duplicates are fine.
    """
    rows = read_questions(topic.folder / "questions.jsonl", unique=False)
    mine = [
        Example(text, "topic", r.lang, r.id, register=register)
        for r in rows
        if not r.held and not r.draft
        for text, register in [(r.question, "plain"), *((w.text, w.register_) for w in r.paraphrases if not w.held)]
    ]
    others = read_off_topic(*(off_topic or [TOPICS / "off_topic.jsonl"]))
    near = read_off_topic(topic.folder / "near_misses.jsonl")
    labelled = read_labelled(topic.folder / LABELLED)
    return [
        *mine,
        *(Example(o.question, o.kind, o.lang) for o in others),
        *(Example(o.question, o.kind, o.lang, near_miss=True) for o in near),
        # What a gate got wrong in front of visitors counts like a near-miss.
        *(Example(o.question, o.kind, o.lang, near_miss=o.kind != "topic") for o in labelled),
    ]


def written(topic: Topic) -> list[str]:
    """What else the museum has written: answers and articles."""
    rows = read_questions(topic.folder / "questions.jsonl", unique=False)
    articles = [p.read_text(encoding="utf-8") for p in sorted((topic.folder / "sources").glob("*.md"))]
    return [r.answer for r in rows if not r.held and not r.draft] + articles


def fit_gate(topic: Topic, off_topic: Sequence[Path] | None = None, encoder: Encoder | None = None) -> TopicFilter:
    """Fits a gate for a topic. Raises QuestionsError naming file and line."""
    found = examples(topic, off_topic)
    return TopicFilter(names=[*topic.title.values(), *topic.aliases], gate=topic.gate, encoder=encoder).fit(
        [e.question for e in found],
        [e.kind for e in found],
        facts=[e.fact for e in found],
        near=[e.near_miss for e in found],
        written=written(topic),
    )
