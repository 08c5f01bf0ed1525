"""Answers that the museum decided on beforehand (`policy.jsonl`): loaded questions, insults, a visitor in need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from topics.errors import QuestionsError
from topics.questions import scan


class Policy(BaseModel):
    """One decided answer, in every language of the topic."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    examples: tuple[str, ...] = Field(min_length=1)
    """What visitors say when this answer is the right one, in any language."""
    answer: dict[str, str] = Field(min_length=1)
    """The answer by language."""
    help: bool = False
    """A visitor in need (a lost child, an emergency): outranks the gate."""


def read_policies(path: Path, languages: Sequence[str] = ()) -> tuple[list[Policy], list[QuestionsError]]:
    """The policies of a topic, and what is wrong with its other lines; no file means none.

    With `languages`, an answer that lacks one of them is a fault.
    """
    if not path.exists():
        return [], []
    good, bad = scan(path, Policy)
    seen: dict[str, int] = {}
    for number, policy in good:
        if (first := seen.setdefault(policy.id, number)) != number:
            bad.append(
                QuestionsError(f"{path}:{number}: policy {policy.id!r} stands already in line {first}; merge them")
            )
        if missing := [lang for lang in languages if not policy.answer.get(lang, "").strip()]:
            text = f"{path}:{number}: policy {policy.id!r} has no answer in {', '.join(missing)}; write one"
            bad.append(QuestionsError(text))
    return [policy for _, policy in good], bad
