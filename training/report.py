"""One HTML file a curator can read, with nothing to fetch: how training went, and what the guide says now."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

import matplotlib

from training.progress import read_progress

_STYLE = """
body{font:17px/1.55 "Noto Sans",system-ui,sans-serif;color:#211B16;background:#FBF7EF;
  max-width:60rem;margin:2rem auto;padding:0 1rem}
h1,h2{font-family:"Noto Serif",Georgia,serif;color:#8C1D18}
table{border-collapse:collapse;width:100%;margin:1rem 0;background:#fff}
th,td{border:1px solid #8A7F72;padding:.4rem .7rem;text-align:left;vertical-align:top}
img{max-width:100%}.no{color:#8C1D18}.small{color:#5B5147}
"""
_SETS = {
    "trained": "wordings the guide was taught",
    "reworded": "the same facts in words it has not seen",
    "unseen": "facts it was never taught (right: “I do not know”)",
}


def loss_plot(progress: Path) -> bytes:
    """Training and validation loss by step, as PNG."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    lines = read_progress(progress)
    figure, axes = plt.subplots(figsize=(8, 3.6), dpi=110)
    for key, label, colour in (("loss", "training", "#0F4C52"), ("eval_loss", "validation", "#8C1D18")):
        points = [(line["step"], float(line[key])) for line in lines if key in line]
        axes.plot(
            *zip(*points, strict=True), "o-" if key == "eval_loss" else "-", label=label, color=colour
        ) if points else None
    axes.set(xlabel="step", ylabel="loss per answer token (nats)", yscale="log")
    axes.grid(alpha=0.25)
    axes.legend()
    figure.tight_layout()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    plt.close(figure)
    return picture.getvalue()


def write_report(
    path: Path, *, title: str, verdict: str, facts: dict[str, Any], scores: dict[str, Any], plot: bytes | None
) -> None:
    """Writes `report.html`. `scores` has `tuned` and `base`, each as `evaluate` returns them."""
    parts = [f"<h1>{_e(title)}</h1><p>{_e(verdict)}</p>"]
    if plot:
        parts.append(
            f'<h2>Learning</h2><img alt="loss by step" src="data:image/png;base64,{base64.b64encode(plot).decode()}">'
        )
    parts.append("<h2>What the model knows by itself</h2>" + _score_table(scores))
    parts.append(
        '<p class="small">Visitors also get the museum’s own words where the question is clear, and a question back '
        "where it is not; these figures are the model alone.</p>"
    )
    for name, label in _SETS.items():
        if name in scores.get("tuned", {}):
            parts.append(f"<h2>Answers: {label}</h2>" + _answer_table(name, scores))
    rows = "".join(f"<tr><th>{_e(k)}</th><td>{_e(v)}</td></tr>" for k, v in facts.items())
    parts.append(f"<h2>Made of</h2><table>{rows}</table>")
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_e(title)}</title><style>{_STYLE}</style>'
    path.write_text(head + "\n".join(parts) + "</html>", encoding="utf-8")


def _score_table(scores: dict[str, Any]) -> str:
    rows = ""
    for name, label in _SETS.items():
        for model in ("tuned", "base"):
            if s := scores.get(model, {}).get(name):
                rows += (
                    f"<tr><td>{label}</td><td>{model}</td><td>{s['questions']}</td><td>{s['key_fact']:.0%}</td>"
                    f"<td>{s['does_not_know']:.0%}</td><td>{s['bleu']:.1f}</td><td>{s['chrf']:.1f}</td><td>{s['perplexity']:.2f}</td></tr>"
                )
    columns = ("questions", "model", "n", "key fact right", "does not know", "BLEU", "chrF", "perplexity")
    head = f"<tr>{''.join(f'<th>{c}</th>' for c in columns)}</tr>"
    return f"<table>{head}{rows}</table>"


def _answer_table(name: str, scores: dict[str, Any]) -> str:
    before = {e["question"]: e["said"] for e in scores.get("base", {}).get(name, {}).get("examples", [])}
    rows = ""
    for example in scores["tuned"][name]["examples"]:
        mark = "" if example["right"] or name == "unseen" else ' class="no"'
        rows += (
            f"<tr><td>{_e(example['question'])}</td><td>{_e(example['wanted'])}</td><td{mark}>{_e(example['said'])}</td>"
            f"<td class=small>{_e(before.get(example['question'], ''))[:300]}</td></tr>"
        )
    return f"<table><tr><th>question</th><th>museum</th><th>tuned</th><th>base</th></tr>{rows}</table>"


def _e(value: Any) -> str:
    return html.escape(str(value))
