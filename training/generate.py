"""Greedy answers and answer losses of a model held in memory, in batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

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
    """What the model says to each question, by itself: no museum note in the prompt."""
    prompts = [render(tokenizer, messages(topic, a.question)) for a in asked]
    ids = greedy_ids(model, tokenizer, prompts, topic.generation.max_tokens)
    return [tokenizer.decode(i, skip_special_tokens=True).strip() for i in ids]


def perplexity(model: Any, tokenizer: Any, encoded: Sequence[dict[str, Any]], batch: int = 32) -> float:
    """exp of the mean negative log likelihood of an answer token, prompts masked."""
    total, tokens = 0.0, 0
    collate = Padded(tokenizer.pad_token_id)
    for start in range(0, len(encoded), batch):
        part = {
            k: v.to(model.device) if isinstance(v, torch.Tensor) else v
            for k, v in collate(encoded[start : start + batch]).items()
        }
        count = int((part["labels"][:, 1:] != -100).sum())
        with torch.no_grad():
            total += float(model(**part).loss) * count
        tokens += count
    return math.exp(min(total / max(tokens, 1), 50.0))
