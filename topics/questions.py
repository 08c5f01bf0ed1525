"""The museum's facts (`questions.jsonl`) and others' questions (`off_topic.jsonl`, `near_misses.jsonl`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topics.errors import QuestionsError

Register = Literal["plain", "typo", "child", "fragment", "long", "alias"]
Kind = Literal["off", "visit", "greeting", "attack"]
_Line = TypeVar("_Line", bound=BaseModel)


class Wording(BaseModel):
    """Another way to ask for a fact."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(min_length=1)
    register_: Register = Field("plain", alias="register")
    held: bool = False
    """Never trained on: it measures how the guide does with words it has not seen."""


class Row(BaseModel):
    """A fact in one language; its key is (`id`, `lang`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    lang: str = Field("en", min_length=2)
    question: str = Field(min_length=1)
    paraphrases: tuple[Wording, ...] = ()
    answer: str = Field("", max_length=2000)
    key: tuple[str, ...] = ()
    """Strings that every right answer contains, case and accents aside."""
    source: str = ""
    """`article#section` under `sources/`."""
    contested: bool = False
    draft: bool = False
    held: bool = False
    """A fact that is never trained on: there the right behaviour is to say `I do not know`."""

    def wordings(self, *, held: bool = False) -> list[str]:
        """The question and its paraphrases; with `held`, the held-out paraphrases alone."""
        if held:
            return [w.text for w in self.paraphrases if w.held]
        return [self.question, *(w.text for w in self.paraphrases if not w.held)]


class OffTopic(BaseModel):
    """A question that is not the museum's subject."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = Field(min_length=1)
    kind: Kind = "off"
    lang: str = "en"
    about: str = ""
    """For a near-miss: what makes it look like the topic, such as `city`, `bearer`, `task`."""


LABELLED = "labelled.jsonl"
"""In a topic folder: questions that a curator has labelled and that need no answer. The gate learns from them."""


class Labelled(BaseModel):
    """A visitor's question, and what a curator says it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = Field(min_length=1)
    kind: Literal["topic", "off", "visit", "greeting", "attack"]
    lang: str = "en"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise QuestionsError(f"{path}: there is no such file; write one line of JSON per question") from None
    except UnicodeDecodeError as error:
        raise QuestionsError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    # Not splitlines(): a sentence may hold a character, such as U+2028, that it takes for the end of a line.
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _parse_line(path: Path, number: int, line: str, model: type[_Line]) -> _Line:
    try:
        return model.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise QuestionsError(
            f"{path}:{number}: not JSON ({error.msg} at column {error.colno}); write one object a line, "
            'such as {"id": "birth", "question": "…", "answer": "…"}'
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the line"
        advice = (
            "delete it, or mend its spelling" if first["type"] == "extra_forbidden" else "write one, or delete the line"
        )
        raise QuestionsError(f"{path}:{number}: {field}: {first['msg'].lower()}; {advice}") from error


def _parse(path: Path, model: type[_Line]) -> Iterator[tuple[int, _Line]]:
    for number, line in _lines(path):
        yield number, _parse_line(path, number, line, model)


def scan(path: Path, model: type[_Line]) -> tuple[list[tuple[int, _Line]], list[QuestionsError]]:
    """Every line that can be read, with its number, and what is wrong with the others; for `lint`."""
    good: list[tuple[int, _Line]] = []
    bad: list[QuestionsError] = []
    for number, line in _lines(path):
        try:
            good.append((number, _parse_line(path, number, line, model)))
        except QuestionsError as error:
            bad.append(error)
    return good, bad


def read_questions(path: Path, *, unique: bool = True) -> list[Row]:
    """The facts of a topic. Raises QuestionsError starting with `file:line`; with `unique` also for a repeated fact."""
    rows: list[Row] = []
    seen: dict[tuple[str, str], int] = {}
    for number, row in _parse(path, Row):
        key = (row.id, row.lang)
        if unique and key in seen:
            raise QuestionsError(
                f"{path}:{number}: fact {row.id!r} in {row.lang!r} stands already in line {seen[key]}; merge them"
            )
        seen[key] = number
        rows.append(row)
    if not rows:
        raise QuestionsError(f"{path}: no question in it; write one line of JSON per fact")
    return rows


def read_off_topic(*paths: Path) -> list[OffTopic]:
    """The off-topic questions of several files; a missing file counts as empty only if it is `near_misses.jsonl`."""
    found: list[OffTopic] = []
    for path in paths:
        if path.name == "near_misses.jsonl" and not path.exists():
            continue
        found += [row for _, row in _parse(path, OffTopic)]
    return found


def read_labelled(path: Path) -> list[Labelled]:
    """The labelled questions of a topic; none where the file is missing. Raises QuestionsError."""
    return [line for _, line in _parse(path, Labelled)] if path.exists() else []


def dataset_hash(rows: Iterable[Row]) -> str:
    """Sixteen hex digits that name a set of facts, whatever their order."""
    lines = sorted(row.model_dump_json(by_alias=True) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
