"""A study's own data: files or a hub data set → rows → token ids, with what is not learned masked."""

from __future__ import annotations

import csv
import json
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from training.config import Data, Kind, Recipe
from training.errors import DataError

log = logging.getLogger(__name__)

COLUMNS: dict[Kind, dict[str, str]] = {
    "text": {"text": "text"},
    "instruction": {"prompt": "instruction", "answer": "output"},
    "pairs": {"prompt": "question", "answer": "answer"},
    "classification": {"text1": "text1", "label": "label"},
    "conversation": {"messages": "messages"},
}
"""What each kind needs, and what its columns are called unless `data.columns` says otherwise."""
_OPTIONAL = {"lang": "lang", "text2": "text2"}
PLAIN_CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""The chat template of conversations over a base that has none."""
_MASKED = -100


class Row(NamedTuple):
    """One usable row: where it stands, and its columns under our names."""

    where: str
    fields: dict[str, Any]

    @property
    def lang(self) -> str:
        return str(self.fields.get("lang") or "")

    def learned(self) -> list[str]:
        """The texts that a model learns to say."""
        turns = [str(turn["content"]) for turn in self.fields.get("messages", []) if turn["role"] == "assistant"]
        return turns + [str(self.fields[key]) for key in ("text", "answer") if key in self.fields]


@dataclass(frozen=True)
class Corpus:
    """A study's rows. `left_out` lacked a text, a label or an answer."""

    train: list[Row]
    validation: list[Row]
    test: list[Row]
    left_out: int

    @property
    def labels(self) -> list[str]:
        """The labels that are learned, in a fixed order."""
        return sorted({str(row.fields["label"]) for row in self.train if "label" in row.fields})


def read_corpus(data: Data, *, seed: int) -> Corpus:
    """Reads all parts. Raises DataError saying where and what is missing."""
    train, left_out = _read(data, data.train)
    if data.validation:
        validation, more = _read(data, data.validation)
        left_out += more
    else:
        random.Random(seed).shuffle(train)
        cut = max(1, round(len(train) * data.validation_share))
        validation, train = train[:cut], train[cut:]
        if not train:
            raise DataError(f"{data.train}: one usable row cannot be both learned from and validated with; add rows")
    test, more = _read(data, data.test) if data.test else (validation, 0)
    return Corpus(train, validation, test, left_out + more)


def _read(data: Data, name: str) -> tuple[list[Row], int]:
    wanted = {**COLUMNS[data.kind], **_OPTIONAL, **data.columns}
    needed = COLUMNS[data.kind]
    rows, left_out, seen = [], 0, set[str]()
    for where, raw in _raw_rows(data, name):
        seen |= raw.keys()
        fields = {ours: raw[theirs] for ours, theirs in wanted.items() if raw.get(theirs) not in (None, "", [])}
        if needed.keys() <= fields.keys():
            rows.append(Row(where, fields))
        else:
            left_out += 1
    if not rows:
        names = ", ".join(repr(wanted[n]) for n in needed)
        raise DataError(
            f"{name}: no usable row of kind {data.kind!r}: it needs {names}, and has "
            f"{', '.join(sorted(seen)) or 'no rows'}; "
            "name its columns in data.columns"
        )
    if left_out:
        log.warning(
            "%s: %d of %d rows are empty where they must not be and are left out", name, left_out, left_out + len(rows)
        )
    return rows, left_out


def _raw_rows(data: Data, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if data.hub:
        yield from _hub_rows(data, name)
        return
    path = Path(name)
    if not path.is_file():
        raise DataError(f"{name}: there is no such file; bring it, or name yours in the recipe's data")
    if path.suffix in (".csv", ".tsv"):
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            yield from ((f"{path}:{rows.line_num}", row) for row in rows)
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: not valid JSON ({error}); mend or delete that line") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: found {type(row).__name__}; write an object with named columns")
            yield f"{path}:{number}", row


def _hub_rows(data: Data, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    import datasets

    try:
        found = datasets.load_dataset(data.hub, data.subset or None, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{data.hub}: cannot be fetched ({str(error).splitlines()[0]}); connect this machine, or bring a file and "
            "name it as data.train without data.hub"
        ) from error
    yield from ((f"{data.hub} {split} {number}", dict(row)) for number, row in enumerate(found))


@dataclass(frozen=True)
class Encoded:
    """Rows as the model reads them."""

    examples: list[dict[str, Any]]
    """`input_ids`, `attention_mask`, `labels`."""
    langs: list[str]
    cut: int
    """Rows longer than `data.max_length`, which lost what was over; what is left of them ends with an end."""


def encode(rows: Sequence[Row], tokenizer: Any, recipe: Recipe, labels: Sequence[str] = ()) -> Encoded:
    """Token ids of all rows. Raises DataError for a row of which nothing would be learned, naming it."""
    examples, cut = [], 0
    for row in rows:
        if recipe.task == "classification":
            example, was_cut = _classified(row, tokenizer, recipe.data, labels)
        elif recipe.task == "seq2seq":
            example, was_cut = _translated(row, tokenizer, recipe.data)
        else:
            example, was_cut = _continued(row, tokenizer, recipe.data)
        learned = example["labels"][1:] if recipe.task == "causal" else example["labels"]
        if recipe.task != "classification" and all(label == _MASKED for label in learned):
            behind = f"its answer begins behind data.max_length = {recipe.data.max_length}; raise that"
            advice = behind if was_cut else "give it an answer"
            raise DataError(f"{row.where}: nothing of this row would be learned; {advice}, or delete it")
        examples.append(example)
        cut += was_cut
    if cut:
        log.warning(
            "%d of %d rows are longer than data.max_length = %d and are cut", cut, len(rows), recipe.data.max_length
        )
    return Encoded(examples, [row.lang for row in rows], cut)


def _classified(row: Row, tokenizer: Any, data: Data, labels: Sequence[str]) -> tuple[dict[str, Any], bool]:
    label = str(row.fields["label"])
    if label not in labels:
        raise DataError(
            f"{row.where}: label {label!r} is not among those learned ({', '.join(labels)}); mend or delete it"
        )
    texts = [str(row.fields[key]) for key in ("text1", "text2") if key in row.fields]
    whole = len(tokenizer(*texts)["input_ids"])
    made = tokenizer(*texts, truncation=True, max_length=data.max_length)
    return {**made, "labels": labels.index(label)}, whole > data.max_length


def _translated(row: Row, tokenizer: Any, data: Data) -> tuple[dict[str, Any], bool]:
    prompt = str(row.fields["prompt"])
    read = tokenizer(data.template.replace("{prompt}", prompt) if data.template else prompt)["input_ids"]
    written = _ended(tokenizer(text_target=str(row.fields["answer"]), add_special_tokens=False)["input_ids"], tokenizer)
    cut = max(len(read), len(written)) > data.max_length
    read, written = (
        _ended(ids[: data.max_length - 1], tokenizer) if len(ids) > data.max_length else ids for ids in (read, written)
    )
    return {"input_ids": read, "attention_mask": [1] * len(read), "labels": written}, cut


def _continued(row: Row, tokenizer: Any, data: Data) -> tuple[dict[str, Any], bool]:
    if data.kind == "conversation":
        ids, labels = _turns(row, tokenizer)
    elif data.kind == "text":
        ids = _ended(tokenizer(str(row.fields["text"]))["input_ids"], tokenizer)
        labels = list(ids)
    else:
        ids, labels = _answered(row, tokenizer, data)
    cut = len(ids) > data.max_length
    if cut and labels[0] == _MASKED and data.kind != "conversation":
        # The end of a prompt says what is asked: a long one loses its beginning, and the answer keeps its own.
        spare = min(len(ids) - data.max_length, labels.count(_MASKED) - 1)
        ids, labels = ids[spare:], labels[spare:]
    if len(ids) > data.max_length:
        ids, labels = _shortened(ids, labels, data, tokenizer)
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}, cut


def _shortened(ids: list[int], labels: list[int], data: Data, tokenizer: Any) -> tuple[list[int], list[int]]:
    """As many tokens as may be, the last one an end that is learned: a guide that has not learned to end never does."""
    labels = labels[: data.max_length - 1]
    while labels and labels[-1] == _MASKED:
        labels = labels[:-1]  # a turn whose answer is no longer there
    if not labels:
        return ids[: data.max_length], [_MASKED] * data.max_length
    ids = ids[: len(labels)]
    # Many chat templates put a line break behind the end of a turn.
    ended = data.kind == "conversation" and tokenizer.eos_token_id in labels[_last_answer(labels) :]
    return (ids, labels) if ended else ([*ids, tokenizer.eos_token_id], [*labels, tokenizer.eos_token_id])


def _answered(row: Row, tokenizer: Any, data: Data) -> tuple[list[int], list[int]]:
    prompt = prompt_ids(str(row.fields["prompt"]), tokenizer, data)
    answer = _ended(tokenizer(str(row.fields["answer"]), add_special_tokens=False)["input_ids"], tokenizer)
    ids = prompt + answer
    return ids, [_MASKED] * len(prompt) + answer if data.completion_only else list(ids)


def prompt_ids(prompt: str, tokenizer: Any, data: Data) -> list[int]:
    """A prompt as the model is asked it, in training and afterwards."""
    if not data.template and tokenizer.chat_template is not None:
        return _rendered(tokenizer, [{"role": "user", "content": prompt}], ask=True)
    ids = tokenizer(data.template.replace("{prompt}", prompt) if data.template else f"{prompt}\n")["input_ids"]
    # Some tokenizers end whatever they read; here the answer is still to come.
    return list(ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids)


def _ended(ids: list[int], tokenizer: Any) -> list[int]:
    return list(ids) if ids and ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]


def _rendered(tokenizer: Any, messages: list[dict[str, str]], *, ask: bool) -> list[int]:
    return list(tokenizer.apply_chat_template(messages, add_generation_prompt=ask, return_dict=False))


def _turns(row: Row, tokenizer: Any) -> tuple[list[int], list[int]]:
    """A conversation up to its last answer; only what the guide says, and the end of it, is learned."""
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_CHAT
    messages = row.fields["messages"]
    try:
        roles = [message["role"] for message in messages]
        spoken = [str(message["content"]) for message in messages]
    except (KeyError, TypeError) as error:
        raise DataError(f'{row.where}: write messages as a list of {{"role", "content"}}') from error
    ids: list[int] = []
    labels: list[int] = []
    for number, role in enumerate(roles):
        if role != "assistant" or not spoken[number].strip():
            continue
        before = _rendered(tokenizer, messages[:number], ask=True)
        after = _rendered(tokenizer, messages[: number + 1], ask=False)
        if after[: len(before)] != before or before[: len(ids)] != ids:
            raise DataError(
                f"{row.where}: turn {number + 1} makes the base's chat template rewrite the turns before it, "
                "so they cannot be learned together; give each turn a row, or choose another base"
            )
        labels += [_MASKED] * (len(before) - len(ids)) + after[len(before) :]
        ids = after
    if labels and tokenizer.eos_token_id not in labels[_last_answer(labels) :]:
        ids, labels = [*ids, tokenizer.eos_token_id], [*labels, tokenizer.eos_token_id]
    return ids, labels


def _last_answer(labels: list[int]) -> int:
    """Where the last learned stretch begins."""
    return max((i + 1 for i, label in enumerate(labels) if label == _MASKED), default=0)
