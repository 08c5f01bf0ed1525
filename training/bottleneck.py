"""Bottleneck adapters (Houlsby et al. 2019): PEFT has none, and `adapters`, which does, needs an older transformers."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from training.config import Bottleneck
from training.errors import BaseError

FILE = "bottlenecks.safetensors"


class Narrow(nn.Module):
    """A linear layer, and what a narrow network adds to its output: nothing at first."""

    def __init__(self, layer: nn.Linear, width: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(layer.out_features, width, dtype=layer.weight.dtype)
        self.up = nn.Linear(width, layer.out_features, dtype=layer.weight.dtype)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        out = self.layer(*args, **kwargs)
        added: torch.Tensor = out + self.up(nn.functional.gelu(self.down(out)))
        return added


def linear_names(model: nn.Module) -> list[str]:
    """The last parts of the names of the model's linear layers."""
    return sorted({name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, nn.Linear)})


def add_bottlenecks(model: Any, settings: Bottleneck) -> None:
    """Freezes `model` and puts a trainable bottleneck after each target, in place; a new head stays trainable.

    Raises BaseError when no module matches.
    """
    ends = tuple("." + name for name in settings.target_modules)
    targets = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and f".{n}".endswith(ends)]
    if not targets:
        raise BaseError(
            f"bottleneck.target_modules = {settings.target_modules!r} matches nothing; "
            f"there are {', '.join(linear_names(model))}"
        )
    model.requires_grad_(False)
    for name in targets:
        layer = model.get_submodule(name)
        model.set_submodule(name, Narrow(layer, settings.width(layer.out_features)))
        narrow = model.get_submodule(name)
        narrow.down.requires_grad_(True)
        narrow.up.requires_grad_(True)
    for head in ("classifier", "score"):
        if hasattr(model, head):
            getattr(model, head).requires_grad_(True)


def save_bottlenecks(model: nn.Module, out: Any) -> None:
    """Writes what was trained: the bottlenecks and the head."""
    out.mkdir(parents=True, exist_ok=True)
    save_file({n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad}, out / FILE)


def load_bottlenecks(model: nn.Module, settings: Bottleneck, adapter: Any) -> None:
    """Adds bottlenecks to a fresh base and fills them from `adapter`, in place."""
    add_bottlenecks(model, settings)
    odd = model.load_state_dict(load_file(adapter / FILE), strict=False).unexpected_keys
    if odd:
        raise BaseError(f"{adapter}: these bottlenecks were made for another base ({odd[0]} is not in this one)")
