"""Greedy answers and answer losses of a model held in memory, in batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy

from topics.prompt import messages, render
from topics.topic import Topic
from training.dataset import Asked, Padded


def greedy_ids(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], max_tokens: int, batch: int = 50
) -> list[list[int]]:
    """The greedy continuation of each prompt, without the end token; prompts of like length go together."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        longest = max(len(prompts[i]) for i in chosen)
        ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(prompts[i])) + prompts[i] for i in chosen])
        mask = torch.tensor([[0] * (longest - len(prompts[i])) + [1] * len(prompts[i]) for i in chosen])
        with torch.no_grad():
            out = model.generate(
                ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=max_tokens,
                do_sample=False,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        for i, row in zip(chosen, out[:, longest:].tolist(), strict=True):
            answers[i] = row[: row.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in row else row
    return answers


def answers(model: Any, tokenizer: Any, topic: Topic, asked: Sequence[Asked]) -> list[str]:
    """What the model says to each question, with the museum notes of its `evidence` in the prompt, if any."""
    prompts = [render(tokenizer, messages(topic, a.question, evidence=a.evidence)) for a in asked]
    ids = greedy_ids(model, tokenizer, prompts, topic.generation.max_tokens)
    return [tokenizer.decode(i, skip_special_tokens=True).strip() for i in ids]


class Forced(NamedTuple):
    """An answer predicted token by token, each from the right words before it."""

    loss: float
    """Summed negative log likelihood of the answer's tokens, the end among them."""
    tokens: int
    guessed: str
    """The likeliest token at each place."""


def forced(model: Any, tokenizer: Any, encoded: Sequence[dict[str, Any]], batch: int = 32) -> list[Forced]:
    """What the model makes of each right answer, prompts masked."""
    collate = Padded(tokenizer.pad_token_id)
    found = []
    for start in range(0, len(encoded), batch):
        part = {
            k: v.to(model.device) if isinstance(v, torch.Tensor) else v
            for k, v in collate(encoded[start : start + batch]).items()
        }
        labels = part.pop("labels")[:, 1:]
        with torch.no_grad():
            logits = model(**part).logits[:, :-1].float()
        losses = cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none").sum(1)
        best = logits.argmax(-1)
        for loss, guess, label in zip(losses.tolist(), best, labels, strict=True):
            text = tokenizer.decode(guess[label != -100].tolist(), skip_special_tokens=True).strip()
            found.append(Forced(loss, int((label != -100).sum()), text))
    return found


def perplexity(answers: Sequence[Forced]) -> float:
    """exp of the mean negative log likelihood of an answer token."""
    tokens = sum(a.tokens for a in answers)
    return math.exp(min(sum(a.loss for a in answers) / max(tokens, 1), 50.0))
