"""Facts to training examples: split by wording, rendered by `topics.prompt`, loss on the answer alone."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from rapidfuzz import fuzz
from torch.utils.data import Dataset

from topics.lint import NEAR
from topics.prompt import messages, render
from topics.questions import OffTopic, Row
from topics.text import normalise
from topics.topic import Topic
from training.config import Data
from training.errors import TrainingError


class Asked(NamedTuple):
    """A wording, the fact it asks for (None: nothing the museum knows) and the answer to learn."""

    question: str
    row: Row | None
    answer: str
    lang: str
    register: str = "plain"
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """Who sees what. No wording stands in two parts, spelling differences aside."""

    train: list[Asked]
    validation: list[Asked]
    """Half wordings that are trained, half that are not: the checkpoint must remember and generalise."""
    reworded: list[Asked]
    """Trained facts in held-out wordings."""
    unseen: list[Asked]
    """Held-out facts, to which the right answer is `I do not know`."""


def split(topic: Topic, rows: Sequence[Row], data: Data, *, seed: int, everything: bool = False) -> Split:
    """Divides the museum's wordings. With `everything`, held-out wordings and facts are trained as well."""
    chance = random.Random(seed)
    train, left_out, reworded, unseen = [], [], [], []
    for row in rows:
        if row.held and not everything:
            unseen += [Asked(w, row, topic.text("unknown", row.lang), row.lang) for w in row.wordings()[:2]]
            continue
        for number, (text, register, held) in enumerate(_wordings(row)):
            asked = Asked(text, row, row.answer, row.lang, register)
            if held and not everything:
                reworded.append(asked)
            elif number and chance.random() < data.validation_share:
                left_out.append(asked)
            else:
                train.append(asked)
    known = {normalise(a.question) for a in train}
    left_out = [a for a in left_out if normalise(a.question) not in known]
    reworded = [a for a in reworded if normalise(a.question) not in known and not _nearly_trained(topic, a)]
    remembered = chance.sample(train, min(len(left_out) or 1, len(train)))
    return Split(train, remembered + left_out, reworded, unseen)


def _nearly_trained(topic: Topic, held: Asked) -> bool:
    """Whether a held-out wording is a trained one of its fact in another order, or with another of the names."""
    assert held.row is not None
    text = topic.match_text(held.question)
    return any(fuzz.token_sort_ratio(text, topic.match_text(w)) >= NEAR for w in held.row.wordings())


def _wordings(row: Row) -> list[tuple[str, str, bool]]:
    return [(row.question, "plain", False), *((w.text, w.register_, w.held) for w in row.paraphrases)]


def with_lessons(
    topic: Topic, train: Sequence[Asked], strangers: Sequence[OffTopic], data: Data, *, seed: int
) -> list[Asked]:
    """The trained wordings, some with museum notes in the prompt, and questions to which the guide does not know."""
    chance = random.Random(seed)
    answers = {lang: [a.answer for a in train if a.lang == lang] for lang in topic.languages}
    lessons = []
    for asked in train:
        if chance.random() < data.evidence_share:
            notes = [asked.answer]
            if chance.random() < data.distractor_share:
                notes.append(chance.choice(answers[asked.lang]))
                chance.shuffle(notes)
            asked = asked._replace(evidence=tuple(notes))
        lessons.append(asked)
    mine = [o for o in strangers if o.kind == "off" and o.lang in topic.languages]
    for stranger in chance.sample(mine, min(len(mine), round(data.unknown_share * len(train)))):
        unknown = topic.text("unknown", stranger.lang)
        notes = [chance.choice(answers[stranger.lang])] if answers[stranger.lang] and chance.random() < 0.3 else []
        lessons.append(Asked(stranger.question, None, unknown, stranger.lang, evidence=tuple(notes)))
    chance.shuffle(lessons)
    return lessons


class Examples(Dataset[dict[str, Any]]):
    """Token ids with the prompt masked (label -100), `passes` times over; a few variants of each wording, one drawn."""

    def __init__(
        self,
        topic: Topic,
        tokenizer: Any,
        asked: Sequence[Asked],
        data: Data,
        *,
        passes: int = 1,
        augment: bool,
        seed: int = 0,
    ) -> None:
        """Raises TrainingError for an example longer than `max_length`, naming the fact."""
        self.chance = random.Random(seed)
        self.passes = passes
        self.full_every, self.head_tokens = data.full_every, data.head_tokens
        self.thinned_share = data.thinned_share
        dropout = data.word_dropout if augment else 0.0
        self.variants = [
            [_encode(topic, tokenizer, a, data, text) for text in self._texts(a.question, dropout)] for a in asked
        ]

    def _texts(self, question: str, dropout: float) -> list[str]:
        words = question.split()
        if not dropout or len(words) < 4:
            return [question]
        thinned = [[w for w in words if self.chance.random() >= dropout] for _ in range(3)]
        return [question, *(" ".join(t) for t in thinned if len(t) >= 3)]

    def __len__(self) -> int:
        return len(self.variants) * self.passes

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= len(self):
            raise IndexError(index)  # what ends a plain `for`; the sampler by length uses one
        number, which = divmod(index, len(self.variants))
        variants = self.variants[which]
        as_written = len(variants) == 1 or self.chance.random() >= self.thinned_share
        example = variants[0] if as_written else variants[self.chance.randrange(1, len(variants))]
        return example if number % self.full_every == 0 else _head(example, self.head_tokens)


def _head(example: dict[str, Any], tokens: int) -> dict[str, Any]:
    """The example up to the first `tokens` tokens of its answer."""
    prompt = sum(label == -100 for label in example["labels"])
    return {key: ids[: prompt + tokens] for key, ids in example.items()}


def _encode(topic: Topic, tokenizer: Any, asked: Asked, data: Data, question: str) -> dict[str, Any]:
    prompt = render(tokenizer, messages(topic, question, evidence=asked.evidence))
    answer = [*tokenizer(asked.answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    if len(prompt) + len(answer) > data.max_length:
        name = asked.row.id if asked.row else asked.question[:40]
        raise TrainingError(
            f"fact {name!r}: {len(prompt) + len(answer)} tokens, and data.max_length is {data.max_length}; "
            "shorten the answer or raise it"
        )
    return {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}


class Padded:
    """Pads a batch on the left: answers end together, so logits are taken for the last few positions alone.

    Most of an example is its prompt, and a small model's output layer costs as much as several others. Rotary
    positions are relative, so where an example begins in its row does not matter. Lengths are rounded up, because
    oneDNN compiles a kernel for every shape it meets on a CPU, and keeps a thousand of them.
    """

    multiple = 16

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Returns `input_ids` and `attention_mask` (batch, longest), `labels` (batch, kept), `logits_to_keep`."""
        longest = math.ceil(max(len(e["input_ids"]) for e in batch) / self.multiple) * self.multiple
        # One position more than the longest answer: the prompt's last position predicts the answer's first token.
        kept = max(sum(label != -100 for label in e["labels"]) for e in batch) + 1

        def padded(key: str, fill: int) -> torch.Tensor:
            return torch.tensor([[fill] * (longest - len(e[key])) + e[key] for e in batch])

        mask = torch.tensor([[0] * (longest - (n := len(e["input_ids"]))) + [1] * n for e in batch])
        return {
            "input_ids": padded("input_ids", self.pad_id),
            "attention_mask": mask,
            "labels": padded("labels", -100)[:, -kept:],
            "logits_to_keep": kept,
        }
