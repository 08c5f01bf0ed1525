"""One HTML file a curator can read, with nothing to fetch: how training went, and what the guide says now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from topics.page import RED, TEAL, Html, escaped, heading, picture, table, write_page
from training.progress import read_progress

_SETS = {
    "trained": "wordings the guide was taught",
    "reworded": "the same facts in words it has not seen",
    "unseen": "facts it was never taught (right: “I do not know”)",
}


def loss_plot(progress: Path) -> Html:
    """Training and validation loss by step."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    lines = read_progress(progress)
    figure, axes = plt.subplots(figsize=(8, 3.6), dpi=110)
    for key, label, style in (("loss", "training", "-"), ("eval_loss", "validation", "o-")):
        if points := [(line["step"], float(line[key])) for line in lines if key in line]:
            axes.plot(*zip(*points, strict=True), style, label=label, color=TEAL if key == "loss" else RED)
    axes.set(xlabel="step", ylabel="loss per answer token (nats)", yscale="log")
    axes.grid(alpha=0.25)
    axes.legend()
    figure.tight_layout()
    return picture(figure, "loss by step")


def write_report(
    path: Path, *, title: str, verdict: str, facts: dict[str, Any], scores: dict[str, Any], plot: Html | None
) -> None:
    """Writes `report.html`. `scores` has `tuned` and `base`, each as `evaluate` returns them."""
    parts: list[str] = [verdict]
    if plot:
        parts += [heading("Learning"), plot]
    parts += [heading("What the model knows by itself"), _score_table(scores)]
    parts.append(
        "Visitors also get the museum’s own words where the question is clear, and a question back "
        "where it is not; these figures are the model alone."
    )
    for name, label in _SETS.items():
        if name in scores.get("tuned", {}):
            parts += [heading(f"Answers: {label}"), _answer_table(name, scores)]
    parts += [heading("Made of"), table(("", ""), facts.items())]
    write_page(path, title, parts)


def _score_table(scores: dict[str, Any]) -> Html:
    rows = [
        (label, model, s["questions"], f"{s['key_fact']:.0%}", f"{s['does_not_know']:.0%}",
         f"{s['bleu']:.1f}", f"{s['chrf']:.1f}", f"{s['perplexity']:.2f}")
        for name, label in _SETS.items()
        for model in ("tuned", "base")
        if (s := scores.get(model, {}).get(name))
    ]  # fmt: skip
    return table(("questions", "model", "n", "key fact right", "does not know", "BLEU", "chrF", "perplexity"), rows)


def _answer_table(name: str, scores: dict[str, Any]) -> Html:
    before = {e["question"]: e["said"] for e in scores.get("base", {}).get(name, {}).get("examples", [])}
    rows = []
    for example in scores["tuned"][name]["examples"]:
        said = escaped(example["said"])
        good = example["right"] or name == "unseen"
        rows.append(
            (
                example["question"],
                example["wanted"],
                Html(said if good else f'<span class="no">{said}</span>'),
                Html(f'<span class="small">{escaped(before.get(example["question"], "")[:300])}</span>'),
            )
        )
    return table(("question", "museum", "tuned", "base"), rows)
