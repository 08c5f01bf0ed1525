"""Progress: one line for people, kept up to date, and one JSON line per report for programs."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger(__name__)


class ProgressWriter(TrainerCallback):
    """Appends to `progress.jsonl`: step, pass, seconds, tokens a second, peak memory, and what was measured.

    `passes` is how often the data set shows the same wordings, where the passes are in it and not in the loop.
    """

    def __init__(self, path: Path, passes: int = 1) -> None:
        self.path = path
        self.passes = passes
        self.start = time.monotonic()
        self._loss, self._best = float("nan"), (float("inf"), 0)
        self._begun_at: tuple[int, int] | None = None

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._begun_at is None:  # whoever resumes begins at a later step: speed and time left count from there
            self.start, self._begun_at = time.monotonic(), (state.global_step, int(state.num_input_tokens_seen))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        logs = logs or {}
        elapsed = time.monotonic() - self.start
        step, tokens = self._begun_at or (0, 0)
        left = elapsed / max(state.global_step - step, 1) * (state.max_steps - state.global_step)
        line = {
            "step": state.global_step,
            "steps": state.max_steps,
            "pass": round((state.epoch or 0.0) * self.passes, 3),
            "elapsed_s": round(elapsed, 1),
            "left_s": round(left, 1),
            "tok_s": round((int(state.num_input_tokens_seen) - tokens) / max(elapsed, 1e-9)),
            "peak_gib": round(peak_memory_gib(), 2),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **logs}) + "\n")
        self._loss = float(logs.get("loss", self._loss))
        self._best = min(self._best, (float(logs.get("eval_loss", "inf")), state.global_step))
        if "train_loss" not in logs:
            self._show(line, float(logs.get("learning_rate", 0.0)), done=state.global_step >= state.max_steps)

    def _show(self, line: dict[str, Any], rate: float, *, done: bool) -> None:
        """On a screen the line is written over, in a log file every report is a line of its own."""
        best = f"best val {self._best[0]:.3f} @ {self._best[1]}" if self._best[1] else "no validation yet"
        text = (
            f"step {line['step']:05}/{line['steps']:05} ({line['step'] / max(line['steps'], 1):.0%}) | "
            f"loss {self._loss:.3f} | {f'lr {rate:.1e} | ' if rate else ''}{line['tok_s']:,} tok/s | "
            f"left {_minutes(line['left_s'])} | {best} | peak {line['peak_gib']:.1f} GiB"
        )
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{text}" + ("\n" if done else ""))
            sys.stderr.flush()
        else:
            log.info("%s", text)


def peak_memory_gib() -> float:
    """The most memory this process has held so far: the GPU's where one is used, else the machine's."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts KiB


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def read_progress(path: Path) -> list[dict[str, float]]:
    """The lines of a `progress.jsonl`, oldest first; none where there is no such file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
