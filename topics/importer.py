"""Questions and answers from elsewhere (CSV, JSON lines, SQuAD, XLSX, Hugging Face datasets) into Docent's files.

Reads line by line, so that a file of any length needs little memory; what is dropped is counted and named.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

from topics.errors import TopicError
from topics.lint import LONGEST_ANSWER
from topics.questions import OffTopic, Row
from topics.text import fold, normalise

QUESTION_NAMES = ("question", "prompt", "instruction", "input", "query", "text", "q")
ANSWER_NAMES = ("answer", "response", "output", "completion", "reply", "label", "a")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SHOWN = 3


class Pair(NamedTuple):
    """A question and its answer as found, and where."""

    where: str
    question: str
    answer: str
    lang: str = ""


@dataclass
class Report:
    """What became of a file."""

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """How many, by reason."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The first few places, by reason."""

    def drop(self, reason: str, where: str) -> None:
        self.dropped[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < _SHOWN:
            shown.append(where)

    def __str__(self) -> str:
        lines = [f"{self.read:,} read, {self.kept:,} kept, {self.dropped.total():,} dropped"]
        lines += [
            f"  {n:,} {reason} (such as {', '.join(self.examples[reason])})" for reason, n in self.dropped.most_common()
        ]
        return "\n".join(lines)


def read_pairs(source: str) -> Iterator[Pair]:
    """Questions and answers of a file, or of a Hugging Face data set by folder or name. Raises TopicError."""
    path = Path(source)
    readers = {".csv": _csv, ".tsv": _csv, ".jsonl": _json_lines, ".json": _json, ".xlsx": _xlsx}
    if path.is_dir() or not (path.exists() or path.suffix in readers):
        return _dataset(source)
    if not path.exists():
        raise TopicError(f"{source}: there is no such file")
    if path.suffix not in readers:
        raise TopicError(
            f"{source}: cannot read {path.suffix or 'a file without a suffix'}; give {', '.join(sorted(readers))}"
        )
    return readers[path.suffix](path)


def _pick(names: Iterable[str], wanted: tuple[str, ...]) -> str | None:
    by_name = {fold(name).strip().replace(" ", "_"): name for name in names}
    return next((by_name[w] for w in wanted if w in by_name), None)


def _pair(where: str, record: Mapping[str, Any]) -> Pair:
    question, answer = _pick(record, QUESTION_NAMES), _pick(record, ANSWER_NAMES)
    if question is None:
        raise TopicError(f"{where}: no column for the question among {', '.join(record)}; name one `question`")
    lang = record.get("lang") or record.get("language") or ""
    return Pair(where, str(record[question] or ""), _answer(record, answer), str(lang))


def _answer(record: Mapping[str, Any], name: str | None) -> str:
    value = record[name] if name else ""
    if isinstance(value, Mapping):  # SQuAD as a table: {"text": [...], "answer_start": [...]}
        value = value.get("text", "")
    if isinstance(value, list):
        value = value[0] if value else ""
    return str(value or "")


def _csv(path: Path) -> Iterator[Pair]:
    csv.field_size_limit(10_000_000)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            sample = file.read(64_000)
            file.seek(0)
            delimiter = "\t" if path.suffix == ".tsv" else _delimiter(sample)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            first = next(reader, None)
            if first is None:
                raise TopicError(f"{path}: is empty; write a line `question,answer` and the pairs below it")
            columns = (_pick(first, QUESTION_NAMES), _pick(first, ANSWER_NAMES))
            if columns[0] is None and len(first) == 2:
                yield Pair(f"{path.name}:1", first[0], first[1])
                places: tuple[int, int | None] = (0, 1)
            elif columns[0] is None:
                raise TopicError(f"{path}:1: no column for the question among {', '.join(first)}; name one `question`")
            else:
                places = (first.index(columns[0]), first.index(columns[1]) if columns[1] else None)
            for cells in reader:
                if cells:
                    asked, told = (cells[p] if p is not None and p < len(cells) else "" for p in places)
                    yield Pair(f"{path.name}:{reader.line_num}", asked, told)
    except UnicodeDecodeError as error:
        raise TopicError(f"{path}: not UTF-8 at byte {error.start}; save it as `CSV UTF-8`") from error
    except csv.Error as error:
        raise TopicError(f"{path}:{reader.line_num}: not CSV ({error}); put the cell in double quotes") from error


def _delimiter(sample: str) -> str:
    line = sample.partition("\n")[0]
    return max(",;\t", key=line.count)


def _json_lines(path: Path) -> Iterator[Pair]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _pair(f"{path.name}:{number}", _record(path, number, line))


def _record(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise TopicError(
            f"{path}:{number}: not JSON ({error.msg} at column {error.colno}); write one object a line"
        ) from error
    if not isinstance(record, dict):
        raise TopicError(f'{path}:{number}: not an object; write {{"question": …, "answer": …}}')
    return record


def _json(path: Path) -> Iterator[Pair]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise TopicError(
            f"{path}:{error.lineno}: not JSON ({error.msg}); give a list of objects, or SQuAD's shape"
        ) from error
    data = value.get("data") if isinstance(value, dict) else value
    if not isinstance(data, list):
        raise TopicError(f"{path}: neither a list of objects nor SQuAD's shape; give one of them")
    for number, record in enumerate(data, 1):
        where = f"{path.name}#{number}"
        if isinstance(record, dict) and "paragraphs" in record:
            yield from _squad(where, record)
        elif isinstance(record, dict):
            yield _pair(where, record)
        else:
            raise TopicError(f'{where}: not an object; write {{"question": …, "answer": …}}')


def _squad(where: str, article: Mapping[str, Any]) -> Iterator[Pair]:
    """SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018): data > paragraphs > qas."""
    for paragraph in article["paragraphs"]:
        for asked in paragraph.get("qas", []):
            answers = asked.get("answers") or []
            told = str(answers[0].get("text", "")) if answers else ""
            yield Pair(f"{where} {asked.get('id', '')}".strip(), str(asked.get("question", "")), told)


def _xlsx(path: Path) -> Iterator[Pair]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, BadZipFile, OSError, KeyError) as error:
        raise TopicError(f"{path}: cannot be opened as a workbook ({error}); save it as .xlsx") from error
    rows = book.worksheets[0].iter_rows(values_only=True)
    header = [str(cell or "") for cell in next(rows, ())]
    for number, cells in enumerate(rows, 2):
        if any(cells):
            yield _pair(f"{path.name}:{number}", dict(zip(header, cells, strict=False)))
    book.close()


def _dataset(source: str) -> Iterator[Pair]:
    from datasets import load_dataset, load_from_disk
    from datasets.exceptions import DatasetNotFoundError

    saved = any((Path(source) / name).exists() for name in ("state.json", "dataset_dict.json"))
    try:
        found = load_from_disk(source) if saved else load_dataset(source)
    except (DatasetNotFoundError, FileNotFoundError, ConnectionError, ValueError, OSError) as error:
        raise TopicError(
            f"{source}: no such file, and no data set of that name or folder could be loaded "
            f"({str(error).splitlines()[0][:120]}); give a file, a folder made by save_to_disk, or a name that this "
            "machine can reach"
        ) from error
    parts = found.items() if isinstance(found, dict) else [("data", found)]
    for part, rows in parts:
        for number, record in enumerate(rows, 1):
            yield _pair(f"{part}:{number}", record)


def clean(text: str) -> str:
    """One line, without control characters or doubled blanks."""
    return " ".join(_CONTROL.sub(" ", text).split())


def to_rows(pairs: Iterable[Pair], *, lang: str, report: Report, taken: Iterable[Row] = ()) -> Iterator[Row]:
    """Facts out of pairs; `taken` are the rows that stand there already."""
    asked = {(normalise(r.question), r.lang) for r in taken}
    ids = {r.id for r in taken}
    for pair in pairs:
        report.read += 1
        question, answer, language = clean(pair.question), clean(pair.answer), pair.lang or lang
        key = (normalise(question), language)
        if not key[0]:
            report.drop("without a question", pair.where)
        elif not answer:
            report.drop("without an answer", pair.where)
        elif len(answer.split()) > LONGEST_ANSWER:
            report.drop(f"with an answer of more than {LONGEST_ANSWER} words", pair.where)
        elif key in asked:
            report.drop("whose question stands there already", pair.where)
        else:
            asked.add(key)
            report.kept += 1
            yield Row(id=_new_id(question, ids), lang=language, question=question, answer=answer)


def _new_id(question: str, ids: set[str]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "_", fold(question)).strip("_")[:40].rstrip("_") or "fact"
    name, number = stem, 2
    while name in ids:
        name, number = f"{stem}_{number}", number + 1
    ids.add(name)
    return name


def to_off_topic(
    pairs: Iterable[Pair], *, lang: str, report: Report, taken: Iterable[OffTopic] = ()
) -> Iterator[OffTopic]:
    """Questions to turn away; answers are not needed and not kept."""
    asked = {normalise(o.question) for o in taken}
    for pair in pairs:
        report.read += 1
        question = clean(pair.question)
        key = normalise(question)
        if not key:
            report.drop("without a question", pair.where)
        elif key in asked:
            report.drop("that stand there already", pair.where)
        else:
            asked.add(key)
            report.kept += 1
            yield OffTopic(question=question, lang=pair.lang or lang)
