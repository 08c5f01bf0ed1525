"""The loop: train the adapter, take the validation loss, keep the best checkpoint."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

from training.config import Recipe
from training.dataset import Examples, Padded
from training.progress import ProgressWriter

log = logging.getLogger(__name__)


def finetune(
    model: Any, tokenizer: Any, train: Examples, validation: Examples, recipe: Recipe, run: Path, *, device: str
) -> dict[str, float]:
    """Trains `model` in place and leaves it at its best validation loss; writes `run/progress.jsonl`.

    Returns `best_validation_loss`, `train_loss`, `steps` and `seconds`.
    """
    settings = recipe.train
    steps = math.ceil(len(train) / settings.batch_size)
    steps = min(steps, settings.max_steps) if settings.max_steps > 0 else steps
    every = max(1, math.ceil(steps / settings.evaluations))
    cpu = device == "cpu" or not torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(run / "checkpoints"),
        num_train_epochs=1,  # the passes are in the data set: they are not all alike
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=min(settings.warmup_steps, max(1, steps // 5)),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=settings.precision == "bf16",
        use_cpu=cpu,
        logging_steps=max(1, steps // 60),
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        # Batches of like length: a third less padding on questions and answers.
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        label_names=["labels"],
        seed=settings.seed,
        report_to=[],
        disable_tqdm=True,  # ProgressWriter shows more in one line
        include_num_input_tokens_seen="non_padding",
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=Padded(tokenizer.pad_token_id),
        callbacks=[ProgressWriter(run / "progress.jsonl", passes=train.passes)],
    )
    trainer.remove_callback(PrinterCallback)
    result = trainer.train()
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
    }
