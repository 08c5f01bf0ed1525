"""Progress: a bar with the time left for people (transformers' own), one JSON line per report for programs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class ProgressWriter(TrainerCallback):
    """Appends to `progress.jsonl`: step, steps, elapsed and remaining seconds, and what was measured."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        elapsed = time.monotonic() - self.start
        left = elapsed / max(state.global_step, 1) * (state.max_steps - state.global_step)
        line = {
            "step": state.global_step,
            "steps": state.max_steps,
            "elapsed_s": round(elapsed, 1),
            "left_s": round(left, 1),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **(logs or {})}) + "\n")


def read_progress(path: Path) -> list[dict[str, float]]:
    """The lines of a `progress.jsonl`, oldest first."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
