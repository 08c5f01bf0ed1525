"""Does the merged model answer as the adapter did? The same greedy tokens, or a difference too small to matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from training.generate import greedy_ids


class Parity(NamedTuple):
    """`same` of `prompts` gave identical tokens; `excused` differ first where two logits lie within epsilon."""

    prompts: int
    same: int
    excused: int

    @property
    def holds(self) -> bool:
        return self.same + self.excused == self.prompts


def compare(
    adapted: Any, merged: Any, tokenizer: Any, prompts: Sequence[list[int]], *, max_tokens: int, epsilon: float
) -> Parity:
    """Greedy answers of both models, token by token. Both in bfloat16, so near-ties may fall either way."""
    same = excused = 0
    ours, theirs = (greedy_ids(m, tokenizer, prompts, max_tokens) for m in (adapted, merged))
    for prompt, a, b in zip(prompts, ours, theirs, strict=True):
        if a == b:
            same += 1
            continue
        first = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        with torch.no_grad():
            logits = (
                adapted(input_ids=torch.tensor([[*prompt, *a[:first]]], device=adapted.device)).logits[0, -1].float()
            )
        best, second = logits.topk(2).values.tolist()
        excused += best - second <= epsilon
    return Parity(len(prompts), same, excused)
