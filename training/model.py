"""The base model and its adapter; the only file that imports peft."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.config import Lora
from training.errors import BaseError

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parent.parent


def place(base: str) -> str:
    """Where a base lies: a folder as given, a folder of this checkout (`models/mini`), or a hub id."""
    return str(ROOT / base) if not Path(base).is_dir() and (ROOT / base).is_dir() else base


def load_base(base: str, dtype: torch.dtype) -> Any:
    """A causal language model by hub id or folder. Raises BaseError saying what is missing."""
    try:
        return AutoModelForCausalLM.from_pretrained(place(base), dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        raise BaseError(
            f"{base}: cannot be loaded as a base model ({str(error).splitlines()[0]}); give a folder with "
            "config.json and "
            "*.safetensors, or a hub id that this machine can reach, as BASE= or --base"
        ) from error


def load_tokenizer(base: str) -> Any:
    """The base's tokenizer. Raises BaseError when it lacks what training needs."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(place(base))
    except (OSError, ValueError) as error:
        raise BaseError(
            f"{base}: no tokenizer there ({str(error).splitlines()[0]}); it must come with the base model"
        ) from error
    if tokenizer.chat_template is None:
        raise BaseError(f"{base}: its tokenizer has no chat template; choose an instruction-tuned base")
    if tokenizer.eos_token_id is None:
        raise BaseError(
            f"{base}: its tokenizer has no end-of-sequence token, so answers would never end; choose another base"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def revision(base: str) -> str:
    """What identifies the base's weights: the hash of a folder's weights, or the hub commit."""
    folder = Path(place(base))
    if not folder.is_dir():
        return str(getattr(AutoModelForCausalLM, "_commit_hash", "") or "hub")
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def with_adapter(model: Any, lora: Lora) -> PeftModel:
    """Freezes the base and adds trainable adapters. Raises BaseError when no module matches."""
    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    try:
        adapted = get_peft_model(
            model,
            LoraConfig(
                r=lora.r,
                lora_alpha=lora.alpha,
                lora_dropout=lora.dropout,
                target_modules=modules,
                task_type="CAUSAL_LM",
            ),
        )
    except ValueError as error:
        there = sorted({name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)})
        raise BaseError(
            f"lora.target_modules = {lora.target_modules!r} matches nothing; there are {', '.join(there)}"
        ) from error
    trained, total = adapted.get_nb_trainable_parameters()
    log.info("adapter: %.2fM of %.2fM parameters are trained", trained / 1e6, total / 1e6)
    return adapted


def with_shipped_adapter(model: Any, adapter: Path, lora: Lora) -> PeftModel:
    """Freezes the base and goes on training a saved adapter. Raises BaseError when it is of another shape."""
    saved = LoraConfig.from_pretrained(str(adapter))
    if (saved.r, saved.lora_alpha) != (lora.r, lora.alpha):
        raise BaseError(
            f"{adapter}: an adapter of rank {saved.r} and alpha {saved.lora_alpha}, and the recipe has {lora.r} and "
            f"{lora.alpha}; train from the bare base (FROM=base), or use a recipe of that rank"
        )
    return PeftModel.from_pretrained(model, str(adapter), is_trainable=True).to(model.dtype)


def save_adapter(adapted: PeftModel, base: str, out: Path) -> None:
    """Writes the adapter in bfloat16, under the name of its base and not under a path of this machine."""
    adapted.peft_config["default"].base_model_name_or_path = base
    adapted.to(torch.bfloat16).save_pretrained(out)


def load_adapter(base: str, adapter: Path, dtype: torch.dtype) -> PeftModel:
    """Base plus saved adapter, both in `dtype`. Raises BaseError."""
    return PeftModel.from_pretrained(load_base(base, dtype), str(adapter)).to(dtype).eval()


def merge(base: str, adapter: Path, out: Path, tokenizer: Any) -> None:
    """Folds the adapter into a freshly loaded base and writes plain bfloat16 safetensors, tokenizer and chat template.

    The sum is taken in float32 and rounded once.
    """
    merged = PeftModel.from_pretrained(load_base(base, torch.float32), str(adapter)).merge_and_unload()
    merged.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
