"""What of a row is learned: whole answers with their end, the guide's turns alone; what is cut is counted."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import STUDIES
from training.config import Recipe
from training.corpus import Row, encode, read_corpus
from training.errors import BaseError, DataError
from training.model import load_tokenizer

Tiny = Callable[[str], str]


def recipe(kind: str, task: str = "causal", **data: Any) -> Recipe:
    return Recipe.model_validate(
        {"name": "rows", "task": task, "data": {"kind": kind, "train": "rows.jsonl", "max_length": 64, **data}}
    )


def learned(example: dict[str, Any]) -> list[int]:
    return [label for label in example["labels"] if label != -100]


@pytest.mark.parametrize("base", ["llama", "llama-chat"])
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("text", {"text": "The lamp burns."}),
        ("instruction", {"prompt": "What burns?", "answer": "The lamp."}),
        ("conversation", {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "A."}]}),
    ],
)
def test_the_end_of_an_answer_is_learned(base: str, kind: str, fields: dict[str, Any], tiny: Tiny) -> None:
    tokenizer = load_tokenizer(tiny(base), chat=False)
    [example] = encode([Row("here", fields)], tokenizer, recipe(kind)).examples
    assert tokenizer.eos_token_id in learned(example)
    assert len(example["input_ids"]) == len(example["labels"]) == len(example["attention_mask"])


@pytest.mark.parametrize("base", ["llama", "llama-chat"])
def test_of_a_conversation_the_guides_turns_are_learned_alone(base: str, tiny: Tiny) -> None:
    tokenizer = load_tokenizer(tiny(base), chat=False)
    talk = [
        {"role": "user", "content": "When does it burn?"},
        {"role": "assistant", "content": "At night."},
        {"role": "user", "content": "And in fog?"},
        {"role": "assistant", "content": "All day."},
        {"role": "user", "content": "Thank you."},
    ]
    [example] = encode([Row("here", {"messages": talk})], tokenizer, recipe("conversation")).examples
    said = tokenizer.decode(learned(example), skip_special_tokens=True)
    assert "At night." in said and "All day." in said
    assert "burn" not in said and "fog" not in said and "Thank you" not in tokenizer.decode(example["input_ids"])
    assert learned(example).count(tokenizer.eos_token_id) == 2


def test_what_is_cut_is_counted_and_said(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = load_tokenizer(tiny("llama"), chat=False)
    rows = [Row("a", {"prompt": "Why? " * 50, "answer": "Because."}), Row("b", {"prompt": "Why?", "answer": "So."})]
    with caplog.at_level(logging.WARNING):
        made = encode(rows, tokenizer, recipe("instruction"))
    assert made.cut == 1 and "1 of 2 rows are longer than data.max_length = 64 and are cut" in caplog.text
    assert len(made.examples[0]["input_ids"]) == 64
    # The question loses its beginning; the answer is whole, with its end.
    assert tokenizer.decode(learned(made.examples[0])) == "Because.<end>"


LONG = "The lamp burns at night. " * 40
ASKED = {"role": "user", "content": "When?"}


@pytest.mark.parametrize("base", ["llama", "llama-chat"])
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("text", {"text": LONG}),
        ("instruction", {"prompt": "When?", "answer": LONG}),
        ("instruction", {"prompt": LONG, "answer": LONG}),
        ("conversation", {"messages": [ASKED, {"role": "assistant", "content": LONG}]}),
        ("conversation", {"messages": [ASKED, {"role": "assistant", "content": "At night."}, {**ASKED, "content": LONG},
                                       {"role": "assistant", "content": "By day."}]}),
    ],
)  # fmt: skip
def test_a_row_that_is_cut_ends_all_the_same(base: str, kind: str, fields: dict[str, Any], tiny: Tiny) -> None:
    tokenizer = load_tokenizer(tiny(base), chat=False)
    made = encode([Row("here", fields)], tokenizer, recipe(kind))
    [example] = made.examples
    assert made.cut == 1 and len(example["input_ids"]) == len(example["labels"]) <= 64
    # `<end>` closes what is learned; some chat templates put a line break behind it.
    assert tokenizer.decode(learned(example)).rstrip().endswith("<end>")
    assert learned(example).count(tokenizer.eos_token_id) == 1 and example["labels"][-1] != -100


def test_a_translation_that_is_cut_ends_all_the_same(tiny: Tiny) -> None:
    tokenizer = load_tokenizer(tiny("t5"), chat=False)
    [example] = encode(
        [Row("here", {"prompt": LONG, "answer": LONG})], tokenizer, recipe("pairs", "seq2seq")
    ).examples  # fmt: skip
    for ids in (example["input_ids"], example["labels"]):
        assert len(ids) == 64 and ids[-1] == tokenizer.eos_token_id


def test_an_answer_behind_the_longest_row_is_an_error(tiny: Tiny) -> None:
    tokenizer = load_tokenizer(tiny("llama"), chat=False)
    talk = [{"role": "user", "content": LONG}, {"role": "assistant", "content": "By day."}]
    with pytest.raises(DataError, match="talk.jsonl:1: nothing .* begins behind data.max_length = 64; raise that"):
        encode([Row("talk.jsonl:1", {"messages": talk})], tokenizer, recipe("conversation"))


def test_a_row_of_which_nothing_is_learned_is_an_error(tiny: Tiny) -> None:
    tokenizer = load_tokenizer(tiny("llama"), chat=False)
    only_asked = Row("talk.jsonl:7", {"messages": [{"role": "user", "content": "Hello?"}]})
    with pytest.raises(DataError, match="talk.jsonl:7: nothing of this row would be learned"):
        encode([only_asked], tokenizer, recipe("conversation"))


def test_rows_that_are_empty_are_left_out_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("question,answer\nWho?,The keeper.\nWhen?,\nWhere?,Here.\n", encoding="utf-8")
    corpus = read_corpus(recipe("pairs").data.model_copy(update={"train": str(file)}), seed=1)
    assert (len(corpus.train) + len(corpus.validation), corpus.left_out) == (2, 1)


def test_labels_are_learned_by_name_and_a_strange_one_is_refused(tiny: Tiny) -> None:
    tokenizer = load_tokenizer(tiny("bert"), chat=False, ends=False)
    data = recipe("classification", "classification", train=str(STUDIES / "paraphrases.jsonl"))
    corpus = read_corpus(data.data, seed=1)
    assert corpus.labels == ["0", "1"]
    assert {e["labels"] for e in encode(corpus.train, tokenizer, data, corpus.labels).examples} == {0, 1}
    with pytest.raises(DataError, match="label '2' is not among those learned"):
        encode([Row("x:1", {"text1": "a", "label": 2})], tokenizer, data, corpus.labels)


def test_a_tokenizer_without_padding_or_end(tiny: Tiny, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny("llama"))
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "no-pad")
    again = load_tokenizer(str(tmp_path / "no-pad"), chat=False)
    assert again.pad_token_id == again.eos_token_id
    [example] = encode([Row("a", {"text": "The lamp."})], again, recipe("text")).examples
    assert example["labels"][-1] == again.eos_token_id  # though it pads as well
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path / "no-end")
    with pytest.raises(BaseError, match="no end-of-sequence token"):
        load_tokenizer(str(tmp_path / "no-end"), chat=False)
    with pytest.raises(BaseError, match="neither a padding nor an end token"):
        load_tokenizer(str(tmp_path / "no-end"), chat=False, ends=False)
