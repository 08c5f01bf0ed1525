"""Runs side by side in one HTML file: what was set, what came out, and whether the difference is more than chance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from topics.page import Html, heading, said, table, write_page
from training import plots
from training.errors import TrainingError
from training.learning import Line, stops, verdict
from training.progress import read_progress

_FIRST = 200
_FIGURES = {
    "training loss": "training loss",
    "validation loss": "validation loss",
    "reworded.key_fact": "key facts, in new words",
    "trained.key_fact": "key facts, as taught",
    "unseen.does_not_know": "“I do not know” where right",
    "reworded.bleu": "BLEU, in new words",
    "reworded.chrf": "chrF, in new words",
    "trained.bleu": "BLEU, as taught",
    "trained.teacher_forced_bleu": "teacher-forced BLEU, as taught",
    "trained.perplexity": "perplexity, as taught",
    "accuracy": "accuracy",
    "f1": "F1",
    "bleu": "BLEU",
    "chrf": "chrF",
    "perplexity": "perplexity",
    "recited": "recited from training",
    "repetition": "said twice",
}
_METRICS = ("reworded.key_fact", "trained.key_fact", "accuracy", "perplexity")
"""The first of these that every trial has is the one that is plotted."""


class Figure(NamedTuple):
    """A value and its range: over the seeds, or with one run where it lies with a probability of 95 %, if known."""

    value: float
    low: float
    high: float
    spread: float | None = None
    """Standard deviation over the seeds."""

    def like(self, other: Figure) -> bool:
        """Whether the difference lies within the ranges."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        if self.spread is not None:
            return f"{self.value:.3g} ± {self.spread:.2g}"
        return f"{self.value:.3g}" if self.low == self.high else f"{self.value:.3g} ({self.low:.3g}–{self.high:.3g})"


class Trial(NamedTuple):
    """One setting: a run, or several that differ in the seed alone."""

    name: str
    seeds: int
    settings: Mapping[str, str]
    figures: Mapping[str, Figure]
    minutes: float
    lines: Sequence[Line]
    """Progress of the first run."""


def seed_runs(folder: Path) -> list[Path]:
    """The runs that `--seeds` left in a folder; none in the folder of a single run."""
    return sorted((f for f in folder.glob("seed-*") if f.is_dir()), key=lambda f: (len(f.name), f.name))


def read_trial(folder: Path) -> Trial:
    """Reads a run folder, or a folder of `seed-*` runs. Raises TrainingError naming the file that is missing."""
    runs = [_read_run(run) for run in seed_runs(folder) or [folder]]
    settings, _, minutes, lines = runs[0]
    if len(runs) > 1:
        settings = {k: v for k, v in settings.items() if k != "train.seed"}
    names = [name for name in runs[0][1] if all(name in figures for _, figures, _, _ in runs)]
    figures = {name: _over([run[1][name] for run in runs]) for name in names}
    return Trial(folder.name, len(runs), settings, figures, minutes, lines)


def _over(figures: Sequence[Figure]) -> Figure:
    if len(figures) == 1:
        return figures[0]
    values = [f.value for f in figures]
    return Figure(fmean(values), min(values), max(values), stdev(values))


def _read_run(folder: Path) -> tuple[dict[str, str], dict[str, Figure], float, list[Line]]:
    try:
        result = json.loads((folder / "eval.json").read_text(encoding="utf-8"))
        settings = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(
            f"{error.filename}: missing, so {folder} is no run or did not finish; give folders that "
            "`python -m training run` has written"
        ) from error
    except json.JSONDecodeError as error:
        raise TrainingError(f"{folder}: eval.json or recipe.json is damaged ({error}); train again") from error
    lines = read_progress(folder / "progress.jsonl")
    figures = {**_losses(lines), **_flat(result["scores"].get("tuned") or result["scores"].get("base", {}))}
    return _settings(settings), figures, result.get("seconds", 0.0) / 60, lines


def _losses(lines: Sequence[Line]) -> dict[str, Figure]:
    trained = [float(line["loss"]) for line in lines if "loss" in line]
    best = min((s.validation for s in stops(lines)), default=math.nan)
    found = {"training loss": trained[-1] if trained else math.nan, "validation loss": best}
    return {name: Figure(v, v, v) for name, v in found.items() if math.isfinite(v)}


def _flat(scores: Mapping[str, Any], prefix: str = "") -> dict[str, Figure]:
    """Every number in the scores by its path; `x_interval` becomes the range of `x`."""
    found: dict[str, Figure] = {}
    for key, value in scores.items():
        if isinstance(value, Mapping) and key != "by_language":
            found |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            low, high = scores.get(f"{key}_interval", (value, value))
            found[f"{prefix}{key}"] = Figure(float(value), float(low), float(high))
    return found


def _settings(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in recipe.items():
        inner = isinstance(value, Mapping)
        found |= _settings(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": json.dumps(value).strip('"')}
    return found


def compare(folders: Sequence[Path], out: Path) -> list[Trial]:
    """Writes the page and returns the trials; the first one is what the others are measured against."""
    trials = _named_apart([read_trial(folder) for folder in folders], folders)
    several = [t for t in trials if t.seeds > 1]
    parts: list[str] = [
        said(
            "≈ marks a difference from the first trial that lies within the ranges: no difference. With several seeds "
            "the range is from the lowest to the highest of them, with one it is the 95 % interval over the questions."
        )
    ]
    if len(several) < len(trials):
        parts.append("Trials with one run only: another seed may give another figure. `--seeds 3` shows how much.")
    parts += [heading("Trials"), _table(trials), heading("What was set otherwise"), _differences(trials)]
    parts += [heading("Final losses"), plots.bars("Final losses", _bars(trials, ("training loss", "validation loss")))]
    if metric := next((m for m in _METRICS if all(m in t.figures for t in trials)), None):
        parts += [heading("Final metric"), plots.bars(_FIGURES[metric].capitalize(), _bars(trials, (metric,)))]
    curves = {t.name: t.lines for t in trials}
    parts += [heading("Loss by step"), plots.losses(curves), plots.losses(curves, _FIRST)]
    parts += [heading("In words"), table(("trial", ""), [(t.name, verdict(t.lines)) for t in trials])]
    write_page(out, "Trials side by side", parts)
    return trials


def _named_apart(trials: Sequence[Trial], folders: Sequence[Path]) -> list[Trial]:
    """Folders of the same name are told apart by their whole path."""
    names = [t.name for t in trials]
    return [
        t._replace(name=str(folder)) if names.count(t.name) > 1 else t
        for t, folder in zip(trials, folders, strict=True)
    ]


def shown(trials: Sequence[Trial]) -> dict[str, str]:
    """The figures that some trial has, by name and by what they are called."""
    return {name: label for name, label in _FIGURES.items() if any(name in t.figures for t in trials)}


def cell(trial: Trial, name: str, first: Trial) -> str:
    """A figure, marked where it differs from the first trial's by no more than chance."""
    figure, against = trial.figures.get(name), first.figures.get(name)
    if figure is None:
        return "–"
    same = trial is not first and against is not None and figure.like(against)
    return f"{'≈ ' if same else ''}{figure}"


def _table(trials: Sequence[Trial]) -> Html:
    rows = [
        ("seeds", *(t.seeds for t in trials)),
        ("minutes a run", *(f"{t.minutes:.1f}" for t in trials)),
        *((label, *(cell(t, name, trials[0]) for t in trials)) for name, label in shown(trials).items()),
    ]
    return table(("", *(t.name for t in trials)), rows)


def _differences(trials: Sequence[Trial]) -> Html:
    keys = sorted({k for t in trials for k in t.settings if len({x.settings.get(k) for x in trials}) > 1})
    if not keys:
        return Html("<p>Nothing.</p>")
    return table(("", *(t.name for t in trials)), [(k, *(t.settings.get(k, "–") for t in trials)) for k in keys])


def _bars(trials: Sequence[Trial], names: Sequence[str]) -> dict[str, dict[str, tuple[float, float, float]]]:
    return {t.name: {n: (f.value, f.low, f.high) for n in names if (f := t.figures.get(n))} for t in trials}
