"""What a run's `progress.jsonl` says: a table of passes, and a verdict in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Line = dict[str, float]
_MATTERS = 0.02
"""Validation losses that differ by less than this share are alike."""


class Stop(NamedTuple):
    """A point where the validation loss was taken; `loss` and `grad_norm` are means since the one before."""

    at: float
    """The pass."""
    step: int
    loss: float
    validation: float
    grad_norm: float
    learning_rate: float


def stops(lines: Sequence[Line]) -> list[Stop]:
    """Every point at which the validation loss was taken, in order."""
    found: list[Stop] = []
    since = 0.0
    for line in lines:
        if "eval_loss" in line:
            steps = [x for x in lines if "loss" in x and since < x["step"] <= line["step"]]
            last = steps[-1].get("learning_rate", math.nan) if steps else math.nan
            norms = [x["grad_norm"] for x in steps if "grad_norm" in x]
            where = line.get("pass", line.get("epoch", 0.0))
            losses = [float(x["loss"]) for x in steps]
            found.append(Stop(where, int(line["step"]), _mean(losses), float(line["eval_loss"]), _mean(norms), last))
            since = line["step"]
    return found


def verdict(lines: Sequence[Line]) -> str:
    """What a curator should know about how training went, in a sentence or three."""
    losses = [(int(x["step"]), float(x["loss"])) for x in lines if "loss" in x]
    if not losses:
        return "Nothing was trained."
    if broken := next((step for step, loss in losses if not math.isfinite(loss)), None):
        return f"Broke: from step {broken} on the loss is not a number. Train again with a lower learning rate."
    first, last = losses[0][1], losses[-1][1]
    fell = f"the training loss went from {first:.2f} to {last:.2f}"
    found = stops(lines)
    if last > max(1.5 * min(loss for _, loss in losses), 0.9 * first):
        return f"Came apart: {fell}. Train again with a lower learning rate."
    if last > 0.8 * first and not (found and found[-1].validation < 0.9 * found[0].validation):
        return f"Hardly learned: {fell}. Train longer, or with a higher learning rate."
    return f"Learned: {fell}. {_validated(found)}".strip()


def _validated(found: Sequence[Stop]) -> str:
    if not found:
        return ""
    best = min(found, key=lambda s: s.validation)
    text = f"Best at pass {best.at:.3g} (validation loss {best.validation:.3f}), which is what was kept"
    after = [s for s in found if s.step > best.step]
    limit = best.validation * (1 + _MATTERS)
    worse = [s for i, s in enumerate(after) if all(x.validation > limit for x in after[i:])]
    if worse:
        return f"{text}; overfits from pass {worse[0].at:.3g}."
    if not after and len(found) > 1 and best.validation < found[-2].validation * (1 - _MATTERS):
        return f"{text}; it was still getting better at the end, so more passes may help."
    return f"{text}; no overfitting."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
