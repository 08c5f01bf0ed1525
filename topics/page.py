"""One self-contained HTML page: tables, pictures and text, with nothing to fetch."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body{font:17px/1.55 "Noto Sans",system-ui,sans-serif;color:#211B16;background:#FBF7EF;
  max-width:60rem;margin:2rem auto;padding:0 1rem}
h1,h2{font-family:"Noto Serif",Georgia,serif;color:#8C1D18;line-height:1.25}
h2{margin:2.4rem 0 .6rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;margin:1rem 0;background:#fff;font-size:.92em}
th,td{border:1px solid #DAD2C4;padding:.4rem .7rem;text-align:left;vertical-align:top}
th{background:#F1EADC;font-weight:600}tr:nth-child(odd) td{background:#FDFBF7}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
details{margin:1rem 0}summary{cursor:pointer;color:#0F4C52;font-weight:600}
.said{border-left:.35rem solid #0F4C52;background:#fff;padding:.7rem 1rem;margin:1rem 0}
.said.bad{border-color:#8C1D18}
img{max-width:100%}.no{color:#8C1D18}.small{color:#5B5147}
"""
TEAL, RED = "#0F4C52", "#8C1D18"


class Html(str):
    """Text that is markup already."""


def escaped(value: Any) -> str:
    """The value as text that cannot be taken for markup; `Html` stays as it is."""
    return value if isinstance(value, Html) else html.escape(str(value))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Html:
    """A table; cells are escaped, and those that begin with a digit stand to the right."""
    top = "".join(f"<th>{escaped(h)}</th>" for h in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return Html(f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>')


def _cell(value: Any) -> str:
    text = escaped(value)
    number = len(text) < 28 and not isinstance(value, Html) and text.lstrip("+-−±≈ ")[:1].isdigit()
    return f"<td class=n>{text}</td>" if number else f"<td>{text}</td>"


def said(text: str, *, bad: bool = False) -> Html:
    """What a reader should take away, set apart from the rest."""
    return Html(f'<div class="said{" bad" if bad else ""}">{escaped(text)}</div>')


def folded(summary: str, part: Html, *, unfolded: bool = False) -> Html:
    """A part that opens at a click."""
    state = " open" if unfolded else ""
    return Html(f"<details{state}><summary>{escaped(summary)}</summary>{part}</details>")


def picture(figure: Figure, label: str) -> Html:
    """A matplotlib figure, inside the page; the figure is closed."""
    from matplotlib import pyplot as plt

    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    return Html(
        f'<img alt="{escaped(label)}" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
    )


def write_page(path: Path, title: str, parts: Iterable[str]) -> None:
    """Writes the page; what is not `Html` becomes a paragraph."""
    body = "\n".join(p if isinstance(p, Html) else f"<p>{escaped(p)}</p>" for p in parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escaped(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escaped(title)}</h1>{body}</html>",
        encoding="utf-8",
    )


def heading(text: str) -> Html:
    """A second-level heading."""
    return Html(f"<h2>{escaped(text)}</h2>")
