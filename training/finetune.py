"""The loop: train, validate, keep the best checkpoint; stop when nothing gets better, or when the loss is no number."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn.functional import linear_cross_entropy, pad
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from training.checkpoints import WholeCheckpoints, last_whole
from training.config import QUANTISED, Optimisation, Recipe
from training.errors import DivergedError, RecipeError, StorageError
from training.model import backbone_and_head
from training.progress import ProgressWriter

log = logging.getLogger(__name__)

_OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adafactor": "adafactor",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "paged_adamw_32bit": "paged_adamw_32bit",
}
_TRAINED = "trained.safetensors"
_AT_ONCE = 256
"""So many positions' logits at a time stay in a processor's cache; those of a batch do not."""
_CHUNKED = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=_AT_ONCE, acc_policy="compact")


def processes_for(device: str) -> PartialState:
    """The processes that train together: one, or as many as `accelerate launch` started."""
    return PartialState(cpu=device == "cpu" or not torch.cuda.is_available())


def for_machine(recipe: Recipe, device: str) -> Recipe:
    """The recipe as this machine can run it.

    With `device` "cpu" what needs a GPU in precision and optimizer is replaced, and said. Raises RecipeError where
    there is no GPU and the recipe was made for one, or where accelerate would divide the model itself.
    """
    if parse_flag_from_env("ACCELERATE_USE_FSDP"):
        raise RecipeError(
            "accelerate launch --use_fsdp: a model in shards can be neither measured nor saved here, and without GPUs "
            "each process would train alone; leave --use_fsdp out, and the processes share each batch"
        )
    if device != "cpu" and torch.cuda.is_available():
        return recipe
    train = recipe.train
    instead: dict[str, Any] = {}
    if train.precision == "fp16":
        instead["precision"] = "fp32"
    if train.optimizer.startswith("paged"):
        instead["optimizer"] = "adamw"
    if device == "cpu":
        for key, value in instead.items():
            log.warning("on the CPU: train.%s is %s instead of %s", key, value, getattr(train, key))
        return recipe.model_copy(update={"train": train.model_copy(update=instead)})
    wants = [f"train.{key} = {getattr(train, key)!r}" for key in instead]
    wants += [f"method = {recipe.method!r}"] if recipe.method in QUANTISED else []
    if wants:
        raise RecipeError(
            f"{recipe.name}: made for a GPU ({', '.join(wants)}), and this machine has none; add --device cpu, which "
            "replaces precision and optimizer and is slow with a large base, or choose another recipe"
        )
    return recipe


class _Loop(Trainer):
    """transformers' loop; a checkpoint holds what is trained and nothing else.

    PEFT's own files will not do: what it saves of a learned prompt is the vectors alone, and not the network that
    makes them, so training cannot go on from there.
    """

    def __init__(self, settings: Optimisation, **kwargs: Any) -> None:
        self.settings = settings
        super().__init__(**kwargs)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        # Only a loss that is divided by the tokens of the whole batch adds up over its parts; and several processes
        # must go back through the model equally often.
        adds_up = self.model_accepts_loss_kwargs and num_items_in_batch is not None and self.args.world_size == 1
        tokens = self.settings.tokens_at_once
        parts = _parts(inputs, tokens) if tokens and adds_up else [inputs]
        losses = [super(_Loop, self).training_step(model, part, num_items_in_batch) for part in parts]
        loss = torch.stack(losses).sum()
        if not torch.isfinite(loss):
            raise DivergedError(f"the loss is {loss.item()} at step {self.state.global_step + 1}")
        return loss

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        here = self.args.use_cpu and self.args.world_size == 1 and num_items_in_batch is not None
        parts = backbone_and_head(model) if here else None
        if parts is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = answer_loss(*parts, inputs, num_items_in_batch, self.accelerator.autocast())
        return (loss, {"loss": loss}) if return_outputs else loss

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.settings.schedule != "step":
            return super().create_scheduler(num_training_steps, optimizer)
        warmup = self.args.get_warmup_steps(num_training_steps)

        def rate(step: int) -> float:
            falls = (step - warmup) // self.settings.step_every
            return step / warmup if step < warmup else float(self.settings.step_factor**falls)

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, rate)
        return self.lr_scheduler

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        trained = {n: p.detach().cpu().contiguous() for n, p in self.model.named_parameters() if p.requires_grad}
        if broken := next((name for name, p in trained.items() if not torch.isfinite(p).all()), None):
            raise DivergedError(f"the weights of {broken} are no numbers after step {self.state.global_step}")
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_file(trained, folder / _TRAINED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.model.load_state_dict(load_file(Path(resume_from_checkpoint) / _TRAINED), strict=False)

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(self.state.best_model_checkpoint)


def answer_loss(
    backbone: Any, head: torch.nn.Linear, batch: dict[str, Any], tokens: Any, precision: AbstractContextManager[Any]
) -> torch.Tensor:
    """Summed cross-entropy of the labelled tokens over `tokens`: what the model gives as its loss, for less.

    The output layer is computed for labelled positions alone, a few at a time, and not for whole rows at once. `batch`
    is as a causal model takes it, with or without `logits_to_keep`; `precision` is what the backbone computes in. In
    bfloat16 the sum that is given with a gradient is rounded, to within 0.4 %; the gradient is not.
    """
    more = {key: value for key, value in batch.items() if key not in ("labels", "logits_to_keep")}
    with precision:
        states = backbone(**more, use_cache=False).last_hidden_state
        half = torch.is_autocast_enabled(states.device.type)
    labels = batch["labels"][:, 1:]
    states = states[:, -batch["labels"].shape[1] : -1]
    learned = labels != -100
    dtype = torch.bfloat16 if half else states.dtype
    spare = -int(learned.sum()) % _AT_ONCE  # whole chunks: oneDNN compiles and keeps a kernel for every shape
    losses: torch.Tensor = linear_cross_entropy(
        pad(states[learned], (0, 0, 0, spare)).to(dtype),
        head.weight.to(dtype),
        pad(labels[learned], (0, spare), value=-100),
        linear_bias=None if head.bias is None else head.bias.to(dtype),
        reduction="sum" if torch.is_grad_enabled() else "none",
        ignore_index=-100,
        options=_CHUNKED,
    )
    loss: torch.Tensor = losses.float().sum() / tokens
    return loss


def _parts(batch: dict[str, Any], tokens: int) -> list[dict[str, Any]]:
    """The batch in as few parts as hold at most `tokens` tokens each, padding included; a long row is one part."""
    rows, longest = batch["input_ids"].shape
    size = max(1, tokens // longest)
    return [
        {key: value[at : at + size] if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
        for at in range(0, rows, size)
    ]


def finetune(
    model: Any,
    train: Any,
    validation: Any,
    recipe: Recipe,
    run: Path,
    *,
    collate: Callable[[Any], dict[str, Any]],
    epochs: int,
    device: str,
    passes: int = 1,
    sampling: str = "random",
    resume: bool = False,
) -> dict[str, Any]:
    """Trains `model` in place and leaves it at its best validation loss; writes `run/progress.jsonl`.

    With `resume` it goes on from the last whole checkpoint in `run`, to the weights an unbroken run would have.
    Returns `best_validation_loss`, `train_loss`, `steps`, `seconds` and `stopped_early`. Raises DivergedError when the
    loss is no number and StorageError when a checkpoint cannot be written; earlier checkpoints stay.
    """
    checkpoints = run / "checkpoints"
    arguments = _arguments(recipe.train, len(train), checkpoints, epochs=epochs, device=device, sampling=sampling)
    callbacks: list[TrainerCallback] = [WholeCheckpoints()]
    first = processes_for(device).is_main_process
    if first:
        callbacks.append(ProgressWriter(run / "progress.jsonl", passes))
    if recipe.train.patience:
        callbacks.append(EarlyStoppingCallback(recipe.train.patience))
    trainer = _Loop(
        recipe.train,
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=collate,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    start = last_whole(checkpoints) if resume else None
    if start:
        log.info("going on from %s", start)
    if start and first:
        _forget_after(run / "progress.jsonl", int(start.name.rpartition("-")[2]))
    trainer.args.restore_callback_states_from_checkpoint = start is not None
    try:
        result = trainer.train(resume_from_checkpoint=str(start) if start else None)
    except DivergedError as error:
        raise DivergedError(
            f"{recipe.name}: {error}; {_kept(checkpoints)}. Lower train.learning_rate "
            f"(it is {recipe.train.learning_rate:g}) or train.max_grad_norm ({recipe.train.max_grad_norm:g})"
        ) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        if not _is_storage(error):
            raise
        raise StorageError(
            f"{checkpoints}: the checkpoint of step {trainer.state.global_step} could not be written ({error}); "
            f"{_kept(checkpoints)}. Make room on the disk and run the same command with --resume"
        ) from error
    log.info(
        "trained %d steps in %.0f s, best validation loss %.3f",
        result.global_step,
        result.metrics["train_runtime"],
        trainer.state.best_metric or math.nan,
    )
    return {
        "best_validation_loss": float(trainer.state.best_metric or math.nan),
        "train_loss": float(result.training_loss),
        "steps": float(result.global_step),
        "seconds": float(result.metrics["train_runtime"]),
        "stopped_early": result.global_step < trainer.state.max_steps,
    }


def _forget_after(progress: Path, step: int) -> None:
    """Takes out the lines of steps that are taken again."""
    kept = []
    for line in progress.read_text(encoding="utf-8").splitlines() if progress.is_file() else ():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break  # the line in which the run was killed
    progress.write_text("".join(kept), encoding="utf-8")


def _is_storage(error: Exception) -> bool:
    """torch and safetensors tell of a full disk in exceptions of their own."""
    said = str(error).lower()
    return isinstance(error, OSError | SafetensorError) or "enforce fail" in said or "file write" in said


def _kept(checkpoints: Path) -> str:
    last = last_whole(checkpoints)
    return f"{last} is whole and stays" if last else "there was no checkpoint yet"


def _arguments(
    settings: Optimisation, examples: int, out: Path, *, epochs: int, device: str, sampling: str
) -> TrainingArguments:
    processes = processes_for(device).num_processes
    if settings.batch_size % processes:
        raise RecipeError(
            f"train.batch_size is {settings.batch_size}, and {processes} processes cannot share that evenly; "
            "choose a multiple"
        )
    steps = math.ceil(examples / settings.batch_size / settings.accumulation) * epochs
    steps = min(steps, settings.max_steps) if settings.max_steps > 0 else steps
    every = max(1, math.ceil(steps / settings.evaluations))
    warmup: float = min(settings.warmup_steps, max(1, steps // 5))
    return TrainingArguments(
        output_dir=str(out),
        num_train_epochs=epochs,
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.batch_size // processes,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        learning_rate=settings.learning_rate,
        optim=_OPTIMIZERS[settings.optimizer],
        lr_scheduler_type={"constant": "constant_with_warmup", "step": "constant"}.get(
            settings.schedule, settings.schedule
        ),
        warmup_steps=warmup if settings.warmup_ratio is None else math.ceil(settings.warmup_ratio * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=settings.precision == "bf16",
        fp16=settings.precision == "fp16",
        use_cpu=device == "cpu" or not torch.cuda.is_available(),
        logging_steps=max(1, steps // 60),
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=settings.save_total_limit,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        train_sampling_strategy=sampling,
        remove_unused_columns=False,
        label_names=["labels"],
        seed=settings.seed,
        ddp_find_unused_parameters=False,
        ddp_backend="gloo" if processes > 1 and not torch.cuda.is_available() else None,
        report_to=[],
        disable_tqdm=True,  # ProgressWriter shows more in one line
        include_num_input_tokens_seen="non_padding",
    )
