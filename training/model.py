"""The base model and what is trained on it, for every method of a recipe; the only file that imports peft."""

from __future__ import annotations

import gc
import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from peft import (
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    get_peft_model,
    prepare_model_for_kbit_training,
)
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.falcon import modeling_falcon

from training.bottleneck import add_bottlenecks, linear_names, load_bottlenecks, save_bottlenecks
from training.config import LORA_KINDS, QUANTISED, Lora, Prompt, Recipe, Task
from training.errors import BaseError

# transformers packs what is exactly a Linear. Falcon's own subclass computes the same product, and unless it is named
# Linear as well, a Falcon "in four bits" stays whole without a word.
modeling_falcon.FalconLinear = torch.nn.Linear

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parent.parent

_CLASSES = {
    "causal": AutoModelForCausalLM,
    "seq2seq": AutoModelForSeq2SeqLM,
    "classification": AutoModelForSequenceClassification,
}
_PLAIN_HEADS = ("llama", "mistral", "qwen2", "qwen3", "falcon", "opt")
"""Architectures whose logits are the output layer's product and nothing else: no scale, no cap."""
_PEFT_TASKS = {"causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM", "classification": "SEQ_CLS"}


def place(base: str) -> str:
    """Where a base lies: a folder as given, a folder of this checkout (`models/mini`), or a hub id."""
    return str(ROOT / base) if not Path(base).is_dir() and (ROOT / base).is_dir() else base


def load_base(
    base: str,
    dtype: torch.dtype,
    *,
    task: Task = "causal",
    labels: int | None = None,
    quantised: BitsAndBytesConfig | None = None,
) -> Any:
    """A base by hub id or folder; with `labels`, a new layer chooses among so many. Raises BaseError."""
    more: dict[str, Any] = {"num_labels": labels} if labels else {}
    if quantised:
        more |= {"quantization_config": quantised, "device_map": {"": _device()}}
    try:
        model = _CLASSES[task].from_pretrained(place(base), dtype=dtype, **more)
    except (OSError, ValueError, KeyError) as error:
        raise BaseError(
            f"{base}: cannot be loaded as a base model for task {task!r} ({str(error).splitlines()[0]}); give a folder "
            "with config.json and *.safetensors, or a hub id that this machine can reach, as BASE= or --base"
        ) from error
    if quantised and not any(isinstance(m, Linear4bit | Linear8bitLt) for m in model.modules()):
        raise BaseError(f"{base}: none of its layers can be held in fewer bits; train it with method = 'lora'")
    return model


def _device() -> int | str:
    return torch.cuda.current_device() if torch.cuda.is_available() else "cpu"


def load_to_answer(base: str, device: str, *, task: Task = "causal") -> Any:
    """A base or merged weights ready to be asked: in bfloat16, on the GPU if there is one and `device` allows it."""
    return ready_to_answer(load_base(base, torch.bfloat16, task=task), device)


def ready_to_answer(model: Any, device: str) -> Any:
    """The model in bfloat16, on the GPU if there is one and `device` is not "cpu"."""
    return model.to("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu", torch.bfloat16).eval()


def make_room() -> None:
    """Gives back the memory of models that nobody holds any more: a GPU seldom has room for two large ones."""
    gc.collect()
    torch.cuda.empty_cache()


def load_for(recipe: Recipe, base: str, *, device: str, labels: int | None = None) -> Any:
    """The base as the recipe trains it: in 4 or 8 bits, or in the precision that suits method and machine."""
    on_gpu = device != "cpu" and torch.cuda.is_available()
    # What is trained itself is held in float32; a frozen base needs no more than bfloat16. On a CPU, autocast over
    # float32 weights is a tenth faster than over bfloat16 ones (measured with the mini model).
    half = on_gpu and recipe.method not in ("full", "freeze", "bottleneck")
    dtype = torch.bfloat16 if half else torch.float32
    model = load_base(base, dtype, task=recipe.task, labels=labels, quantised=quantisation(recipe))
    if not on_gpu and model.config._attn_implementation == "sdpa" and model._supports_attention_backend:
        model.set_attn_implementation(_FLOAT32)
    return model


def _attention_in_float32(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **more: Any
) -> tuple[torch.Tensor, None]:
    """torch's fused attention outside autocast: in bfloat16 its backward pass takes three times as long on a CPU."""
    with torch.autocast(query.device.type, enabled=False):
        attended, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), mask, **more)
    return attended.to(query.dtype), None


_FLOAT32 = "sdpa_in_float32"
AttentionInterface.register(_FLOAT32, _attention_in_float32)
AttentionMaskInterface.register(_FLOAT32, sdpa_mask)


def backbone_and_head(model: Any) -> tuple[Any, torch.nn.Linear] | None:
    """A causal model without its output layer, and that layer; None where logits are more than the layer's product."""
    if isinstance(model, PeftModel):
        if model.active_peft_config.is_prompt_learning:
            return None  # what is learned stands before the prompt, and PEFT puts it there
        model = model.get_base_model()
    if model.config.model_type not in _PLAIN_HEADS or model.get_output_embeddings() is None:
        return None
    return model.base_model, model.get_output_embeddings()


def quantisation(recipe: Recipe) -> BitsAndBytesConfig | None:
    """How the recipe's method packs the base's weights, if it does."""
    if recipe.method == "int8_lora":
        return BitsAndBytesConfig(load_in_8bit=True)
    if recipe.method != "qlora":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=recipe.quantise.double,
        bnb_4bit_compute_dtype=torch.bfloat16 if recipe.quantise.compute == "bf16" else torch.float32,
    )


def load_tokenizer(base: str, *, chat: bool = True, ends: bool = True) -> Any:
    """The base's tokenizer. Raises BaseError when it lacks what training needs: `chat` template, `ends` of answers."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(place(base))
    except (OSError, ValueError) as error:
        raise BaseError(
            f"{base}: no tokenizer there ({str(error).splitlines()[0]}); it must come with the base model"
        ) from error
    if chat and tokenizer.chat_template is None:
        raise BaseError(f"{base}: its tokenizer has no chat template; choose an instruction-tuned base")
    if ends and tokenizer.eos_token_id is None:
        raise BaseError(
            f"{base}: its tokenizer has no end-of-sequence token, so answers would never end; choose another base"
        )
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise BaseError(f"{base}: its tokenizer has neither a padding nor an end token; choose another base")
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


def adapt(model: Any, recipe: Recipe) -> Any:
    """The base made ready to learn by the recipe's method. Raises BaseError when the method does not fit the base."""
    method = recipe.method
    if method in LORA_KINDS:
        if method in QUANTISED:
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        return with_adapter(model, recipe.lora, task=recipe.task)
    if method in ("p_tuning", "prefix"):
        model = _with_prompt(model, recipe.prompt, prefix=method == "prefix", task=recipe.task)
    elif method == "bottleneck":
        assert recipe.bottleneck is not None
        add_bottlenecks(model, recipe.bottleneck)
    elif method == "freeze":
        _freeze_first(model, recipe.freeze.layers)
    _log_share(model)
    return model


def _with_prompt(model: Any, prompt: Prompt, *, prefix: bool, task: Task) -> PeftModel:
    common: dict[str, Any] = {
        "task_type": _PEFT_TASKS[task],
        "num_virtual_tokens": prompt.virtual_tokens,
        "encoder_hidden_size": prompt.hidden_size,
    }
    if not prefix:
        return get_peft_model(model, PromptEncoderConfig(**common))
    adapted = get_peft_model(model, PrefixTuningConfig(prefix_projection=prompt.projection, **common))
    words = torch.tensor([[1, 2], [1, 2]], device=adapted.device)
    extra = {"decoder_input_ids": words} if task == "seq2seq" else {}
    try:
        with torch.no_grad():
            adapted(input_ids=words, attention_mask=torch.ones_like(words), **extra)
    except (RuntimeError, ValueError) as error:
        raise BaseError(
            f"{model.config.model_type}: this architecture takes no vectors in front of its layers ({error}); "
            "choose another method than prefix"
        ) from error
    return adapted


def _freeze_first(model: Any, count: int) -> None:
    depth = model.config.num_hidden_layers
    if count >= depth:
        raise BaseError(
            f"freeze.layers = {count} leaves nothing to train; {model.config.model_type} has {depth} layers"
        )
    stacks = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == depth]
    for frozen in (model.get_input_embeddings(), *(layer for stack in stacks for layer in stack[:count])):
        frozen.requires_grad_(False)


def _log_share(model: torch.nn.Module) -> None:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    log.info("%.2fM of %.2fM parameters are trained", trained / 1e6, total / 1e6)


def with_adapter(model: Any, lora: Lora, *, task: Task = "causal") -> PeftModel:
    """Freezes the base and adds trainable adapters. Raises BaseError when no module matches."""
    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    depth = model.config.num_hidden_layers
    if lora.skip_layers >= depth:
        raise BaseError(f"lora.skip_layers = {lora.skip_layers} leaves nothing to train; the base has {depth} layers")
    try:
        adapted = get_peft_model(
            model,
            LoraConfig(
                r=lora.r,
                lora_alpha=lora.alpha,
                lora_dropout=lora.dropout,
                target_modules=modules,
                layers_to_transform=list(range(lora.skip_layers, depth)) if lora.skip_layers else None,
                task_type=_PEFT_TASKS[task],
            ),
        )
    except ValueError as error:
        raise BaseError(
            f"lora.target_modules = {lora.target_modules!r} matches nothing; there are {', '.join(linear_names(model))}"
        ) from error
    _log_share(adapted)
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


def save_adapter(adapted: Any, base: str, out: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Writes the adapter, under the name of its base and not under a path of this machine."""
    if not isinstance(adapted, PeftModel):
        save_bottlenecks(adapted, out)
        return
    adapted.peft_config["default"].base_model_name_or_path = base
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    adapted.save_pretrained(out)


def load_adapter(base: str, adapter: Path, device: str) -> Any:
    """Base plus saved adapter, ready to answer. Raises BaseError."""
    return ready_to_answer(PeftModel.from_pretrained(load_base(base, torch.bfloat16), str(adapter)), device)


def reload(recipe: Recipe, base: str, adapter: Path, *, device: str, labels: int | None = None) -> Any:
    """A fresh base, as the recipe trains it, with what was saved in `adapter`."""
    model = load_for(recipe, base, device=device, labels=labels)
    if recipe.method == "bottleneck":
        assert recipe.bottleneck is not None
        load_bottlenecks(model, recipe.bottleneck, adapter)
    else:
        model = PeftModel.from_pretrained(model, str(adapter))
    return model.eval()


def merge(
    base: str, adapter: Path, out: Path, tokenizer: Any, *, task: Task = "causal", labels: int | None = None
) -> None:
    """Folds the adapter into a freshly loaded base and writes plain bfloat16 safetensors, tokenizer and chat template.

    The sum is taken in float32 and rounded once.
    """
    _fold(load_base(base, torch.float32, task=task, labels=labels), adapter, out, tokenizer)


def _fold(model: Any, adapter: Path, out: Path, tokenizer: Any) -> None:
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)


ORIGINAL, ROUND_TRIP = "original", "round trip"


def merge_quantised(
    recipe: Recipe,
    base: str,
    adapter: Path,
    out: Path,
    tokenizer: Any,
    held_out_loss: Callable[[Any], float],
    device: str,
) -> dict[str, Any]:
    """Merges both ways and leaves the better in `out`: into the base as it was, and as 4 or 8 bits had it.

    The adapter was learned over rounded weights, so either may answer better. Returns the losses and which was kept.
    """
    losses = {}
    for way in (ORIGINAL, ROUND_TRIP):
        folder = out.with_name(f"{out.name}-{way.replace(' ', '-')}")
        _fold(_unquantised(recipe, base, way), adapter, folder, tokenizer)
        losses[way] = held_out_loss(load_to_answer(str(folder), device, task=recipe.task))
        make_room()
    kept = min(losses, key=lambda way: losses[way])
    log.info("merged into the %s base: held-out loss %s", kept, ", ".join(f"{w} {n:.4f}" for w, n in losses.items()))
    for way in losses:
        folder = out.with_name(f"{out.name}-{way.replace(' ', '-')}")
        if way == kept:
            folder.rename(out)
        else:
            shutil.rmtree(folder)
    return {"kept": kept, "held_out_loss": {way: round(loss, 6) for way, loss in losses.items()}}


def _unquantised(recipe: Recipe, base: str, way: str) -> Any:
    if way == ORIGINAL:
        return load_base(base, torch.float32, task=recipe.task)
    packed = load_base(base, torch.float32, task=recipe.task, quantised=quantisation(recipe))
    return packed.dequantize().to("cpu", torch.float32)


def load_merged_from(recipe: Recipe, base: str, adapter: Path, way: str, device: str) -> Any:
    """The adapter over the base it was merged into by `way`: what the merged weights must answer like."""
    under = _unquantised(recipe, base, way).to(torch.bfloat16)
    return ready_to_answer(PeftModel.from_pretrained(under, str(adapter)), device)
