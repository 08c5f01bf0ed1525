"""Pictures of runs, for the reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from topics.page import RED, TEAL, Html, picture
from training.learning import Line

_COLOURS = (TEAL, RED, "#B9770E", "#5B4B8A", "#4C7A34", "#8A7F72", "#2C7FB8", "#C2548B")


def learning(lines: Sequence[Line]) -> Html:
    """Training and validation loss on one plot; gradient norm and learning rate below."""
    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 2))
    loss = figure.add_subplot(grid[0, :])
    for key, label, style, colour in (("loss", "training", "-", TEAL), ("eval_loss", "validation", "o-", RED)):
        if points := _points(lines, key):
            loss.plot(*zip(*points, strict=True), style, label=label, color=colour)
    loss.set(ylabel="loss per answer token (nats)", yscale="log", title="Loss")
    loss.legend()
    for place, key, title in (
        (grid[1, 0], "grad_norm", "Gradient norm"),
        (grid[1, 1], "learning_rate", "Learning rate"),
    ):
        axes = figure.add_subplot(place)
        if points := _points(lines, key):
            axes.plot(*zip(*points, strict=True), color=TEAL)
        axes.set(title=title, xlabel="step")
    return _tidy(figure, "loss, gradient norm and learning rate by step")


def losses(runs: Mapping[str, Sequence[Line]], first: int | None = None) -> Html:
    """Training loss by step of several runs, of all steps or of the first ones."""
    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    for number, (name, lines) in enumerate(runs.items()):
        points = [p for p in _points(lines, "loss") if first is None or p[0] <= first]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, color=_COLOURS[number % len(_COLOURS)])
    title = "Training loss by step" if first is None else f"The first {first} steps"
    axes.set(xlabel="step", ylabel="loss", yscale="log", title=title)
    if runs:
        axes.legend(fontsize=8)
    return _tidy(figure, title)


def bars(title: str, groups: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Html:
    """Bars side by side: for each name, what each series has there, as value and interval around it."""
    figure = Figure(figsize=(9, 3.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    series = list(dict.fromkeys(s for group in groups.values() for s in group))
    width = 0.8 / max(len(series), 1)
    for number, name in enumerate(series):
        values = [group.get(name) for group in groups.values()]
        at = [i + (number - (len(series) - 1) / 2) * width for i, v in enumerate(values) if v]
        there: list[Any] = [v for v in values if v]
        reach = [[max(v[0] - v[1], 0) for v in there], [max(v[2] - v[0], 0) for v in there]]
        axes.bar(at, [v[0] for v in there], width * 0.92, label=name, color=_COLOURS[number % len(_COLOURS)])
        axes.errorbar(at, [v[0] for v in there], reach, fmt="none", ecolor="#211B16", elinewidth=1, capsize=3)
        for where, (value, _, high) in zip(at, there, strict=True):
            axes.text(where, max(value, high), f"{value:.3g}", ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(groups)), list(groups), fontsize=8 if len(groups) > 6 else 9)
    axes.set_title(title)
    axes.margins(y=0.18)
    if len(series) > 1:
        axes.legend(fontsize=8)
    return _tidy(figure, title)


def _points(lines: Sequence[Line], key: str) -> list[tuple[float, float]]:
    return [(line["step"], float(line[key])) for line in lines if key in line]


def _tidy(figure: Figure, label: str) -> Html:
    for axes in figure.axes:
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return picture(figure, label)
