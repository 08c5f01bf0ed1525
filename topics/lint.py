"""What a curator should mend before training; plain sentences with `file:line`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from topics.questions import Row
from topics.text import contains, normalise
from topics.topic import Topic

LONGEST_ANSWER = 60
"""Words; a visitor reads an answer standing."""


class Finding(NamedTuple):
    """`error` stops training; the rest is advice."""

    error: bool
    text: str


def lint(topic: Topic, rows: Sequence[Row]) -> list[Finding]:
    """Everything found in the facts of a topic, errors first. `rows` stand in the order of the file."""
    found: list[Finding] = []
    owner: dict[tuple[str, str], str] = {}
    for row in rows:
        where = f"{topic.folder / 'questions.jsonl'}: fact {row.id!r} ({row.lang})"
        if not row.answer.strip():
            found.append(Finding(True, f"{where}: has no answer; write one, or delete the row"))
        if (words := len(row.answer.split())) > LONGEST_ANSWER:
            found.append(
                Finding(True, f"{where}: the answer has {words} words and may have {LONGEST_ANSWER}; shorten it")
            )
        for key in row.key:
            if not contains(row.answer, key):
                found.append(Finding(True, f"{where}: the key {key!r} does not stand in the answer; mend one of them"))
        if not row.source:
            found.append(Finding(False, f"{where}: names no source; write `article#section`"))
        for wording in (*row.wordings(), *row.wordings(held=True)):
            other = owner.setdefault((normalise(wording), row.lang), row.id)
            if other != row.id:
                found.append(
                    Finding(True, f"{where}: {wording!r} also asks for fact {other!r}; give it to one of them")
                )
    return sorted(found, key=lambda f: not f.error)
