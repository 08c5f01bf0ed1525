"""Which checkpoints are whole: the list of a checkpoint's files, written last, tells."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_LIST = "whole.json"


class WholeCheckpoints(TrainerCallback):
    """Lists the files of each checkpoint once all of them are on the disk."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # every process writes the state of its own dice
        if state.is_world_process_zero:
            seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def seal(checkpoint: Path) -> None:
    """Marks a checkpoint as whole."""
    sizes = {}
    for file in sorted(f for f in checkpoint.iterdir() if f.name != _LIST):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
        sizes[file.name] = file.stat().st_size
    draft = checkpoint / f"{_LIST}.draft"
    draft.write_text(json.dumps(sizes), encoding="utf-8")
    draft.rename(checkpoint / _LIST)


def is_whole(checkpoint: Path) -> bool:
    """Whether every file that was sealed is there, and as long as it was."""
    try:
        sizes = json.loads((checkpoint / _LIST).read_text(encoding="utf-8"))
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def last_whole(folder: Path) -> Path | None:
    """The whole checkpoint of the most steps; those that are not whole are removed."""
    there = sorted(folder.glob("checkpoint-*"), key=lambda c: int(c.name.rpartition("-")[2]))
    whole = [c for c in there if is_whole(c)]
    for broken in set(there) - set(whole):
        shutil.rmtree(broken, ignore_errors=True)  # another process may have been first
    return whole[-1] if whole else None
