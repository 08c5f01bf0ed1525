"""Do adapter, merged weights and service answer alike? The same greedy words, or a difference too small to matter.

All three compute in bfloat16, each with sums of its own order, so where two tokens are about equally likely either may
win; what follows it is then another answer. Such a near-tie says nothing about the weights. What differs anywhere else
is a fault: a merge that lost something, a tokenizer or chat template that is not the run's, an engine that computes
otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch

from topics.prompt import messages, render
from topics.topic import Topic
from training.dataset import Asked, Split
from training.generate import greedy_ids

_LOOKED_AT = 50
"""Tokens among which the one is looked for that the service took."""


class Parity(NamedTuple):
    """`same` of `prompts` gave identical tokens; `excused` differ first where two logits lie within epsilon."""

    prompts: int
    same: int
    excused: int

    @property
    def holds(self) -> bool:
        return self.same + self.excused == self.prompts


class Drift(NamedTuple):
    """A prompt to which the service read or said something else."""

    question: str
    merged: str
    served: str
    gap: float | None
    """How much less likely (as logits) than the best token the one is that the service took; None where the prompt
    itself differs."""


class ServedParity(NamedTuple):
    """Of `prompts`, `read` were rendered to the same ids; the answers to these are counted as in `Parity`."""

    prompts: int
    read: int
    same: int
    excused: int
    drift: tuple[Drift, ...]

    @property
    def holds(self) -> bool:
        return self.read == self.prompts and self.same + self.excused == self.prompts

    def as_dict(self) -> dict[str, Any]:
        """As manifest and `eval.json` keep it."""
        return {**self._asdict(), "drift": [d._asdict() for d in self.drift]}


class Speaks(Protocol):
    """What is asked of a service."""

    def prompt_ids(self, question: str, lang: str) -> list[int]: ...

    def says(self, question: str, lang: str) -> str: ...


def parity_sample(sets: Split, count: int, *, seed: int) -> list[Asked]:
    """Trained wordings with the museum note that the service shows to them: the answer of the very fact."""
    drawn = random.Random(seed).sample(sets.train, min(count, len(sets.train)))
    return [asked._replace(evidence=(asked.answer,)) for asked in drawn]


def rendered(tokenizer: Any, topic: Topic, asked: Sequence[Asked]) -> list[list[int]]:
    """Their prompts as token ids."""
    return [render(tokenizer, messages(topic, a.question, evidence=a.evidence)) for a in asked]


def compare(
    by_adapter: Sequence[list[int]],
    merged: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    *,
    max_tokens: int,
    epsilon: float,
) -> Parity:
    """The adapter's greedy answers beside those of the merged weights, token by token."""
    same = excused = 0
    by_merged = greedy_ids(merged, tokenizer, prompts, max_tokens)
    for prompt, a, b in zip(prompts, by_adapter, by_merged, strict=True):
        if a == b:
            same += 1
            continue
        first = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        excused += _gap(merged, [*prompt, *b[:first]]) <= epsilon
    return Parity(len(prompts), same, excused)


def compare_served(
    merged: Any, tokenizer: Any, topic: Topic, asked: Sequence[Asked], service: Speaks, *, epsilon: float
) -> ServedParity:
    """What the service reads and says to the questions in `asked`, beside the merged model in this process."""
    prompts = rendered(tokenizer, topic, asked)
    answers = greedy_ids(merged, tokenizer, prompts, topic.generation.max_tokens)
    read = same = excused = 0
    drift = []
    for a, prompt, ids in zip(asked, prompts, answers, strict=True):
        theirs = service.prompt_ids(a.question, a.lang)
        if theirs != prompt:
            drift.append(Drift(a.question, tokenizer.decode(prompt), tokenizer.decode(theirs), None))
            continue
        read += 1
        ours, said = _text(tokenizer, ids), service.says(a.question, a.lang)
        if ours == said:
            same += 1
            continue
        gap = _gap_to(said, merged, tokenizer, prompt, ids[: _first_otherwise(tokenizer, ids, said)])
        excused += gap <= epsilon
        drift.append(Drift(a.question, ours, said, round(gap, 3)))
    return ServedParity(len(asked), read, same, excused, tuple(drift))


def _first_otherwise(tokenizer: Any, ids: Sequence[int], said: str) -> int:
    """The place of the first token that does not lead to `said`; behind the last one where all do."""
    for place in range(len(ids)):
        # A character of several tokens is not readable before its last one.
        if not said.startswith(_text(tokenizer, ids[: place + 1]).rstrip("\N{REPLACEMENT CHARACTER}")):
            return place
    return len(ids)


def _text(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True)).strip()


def _gap_to(said: str, model: Any, tokenizer: Any, prompt: Sequence[int], before: Sequence[int]) -> float:
    """How much less likely than the best token the one is that leads from `before` on to `said`; at least so much."""
    likely = _logits(model, [*prompt, *before]).topk(_LOOKED_AT)
    best = float(likely.values[0])
    for logit, token in zip(likely.values.tolist(), likely.indices.tolist(), strict=True):
        if _leads_to(said, tokenizer, before, token):
            return best - float(logit)
    return best - float(likely.values[-1])


def _leads_to(said: str, tokenizer: Any, before: Sequence[int], token: int) -> bool:
    so_far, then = _text(tokenizer, before), _text(tokenizer, [*before, token])
    if token == tokenizer.eos_token_id:
        return said == so_far
    return then != so_far and said.startswith(then.rstrip("\N{REPLACEMENT CHARACTER}"))


def _gap(model: Any, ids: Sequence[int]) -> float:
    """How much likelier (as logits) the best next token is than the second."""
    best, second = _logits(model, ids).topk(2).values.tolist()
    return float(best - second)


def _logits(model: Any, ids: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([list(ids)], device=model.device)).logits[0, -1].float()
    return logits
