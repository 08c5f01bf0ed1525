"""The same run with several seeds, so that luck can be told from improvement."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from training.compare import compare, read_trial, seed_runs, shown
from training.config import Recipe
from training.run import RunFolder

log = logging.getLogger(__name__)


class Best(NamedTuple):
    """The run to go on with: the one of the lowest validation loss, which no reported figure rests on."""

    recipe: Recipe
    folder: Path
    result: dict[str, Any]


def train_each(recipe: Recipe, out: Path, count: int, run: Callable[[Recipe, Path], dict[str, Any]]) -> Best:
    """Calls `run` with `count` seeds, the recipe's and the next ones, each in a folder of its own under `out`.

    Writes `out/report.html` with mean and spread. Merged weights are kept of the best run alone.
    """
    shutil.rmtree(out, ignore_errors=True)
    runs: list[Best] = []
    for seed in range(recipe.train.seed, recipe.train.seed + count):
        mine = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})
        log.info("seed %d: %d of %d", seed, len(runs) + 1, count)
        runs.append(Best(mine, folder := out / f"seed-{seed}", run(mine, folder)))
    best = min(runs, key=_validation_loss)
    for other in runs:
        if other is not best:
            shutil.rmtree(RunFolder(other.folder).weights, ignore_errors=True)
    trial = compare([out, *seed_runs(out)], out / "report.html")[0]
    for name, label in shown([trial]).items():
        log.info("%s: %s over %d seeds", label, trial.figures[name], count)
    log.info("going on with %s, which has the lowest validation loss; %s", best.folder, out / "report.html")
    return best


def _validation_loss(run: Best) -> float:
    figure = read_trial(run.folder).figures.get("validation loss")
    return figure.value if figure else math.inf
