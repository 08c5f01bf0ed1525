"""One HTML file a curator can read, with nothing to fetch: how training went, and what the guide says now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topics.page import Html, escaped, folded, heading, said, table, write_page
from training import plots
from training.learning import Line, stops, verdict
from training.progress import read_progress

_SETS = {
    "trained": "wordings the guide was taught",
    "reworded": "the same facts in words it has not seen",
    "unseen": "facts it was never taught (right: “I do not know”)",
}
_ANSWERS = 30
Scores = Mapping[str, Mapping[str, Any]]


def write_report(
    path: Path,
    run: Path,
    *,
    title: str,
    judged: Mapping[str, Any] | None = None,
    truth: Mapping[str, Any] | None = None,
) -> None:
    """Writes a page about the run in the folder `run`, from its `eval.json` and `progress.jsonl`.

    `judged` is what came of it as a candidate, and `truth` its truth report, once they are known.
    """
    result: dict[str, Any] = json.loads((run / "eval.json").read_text(encoding="utf-8"))
    lines = read_progress(run / "progress.jsonl")
    scores: Scores = result["scores"]
    parts: list[str] = [said(f"{_how(result, lines)} {_known(scores)}")]
    if judged:
        parts += [heading("Live?"), *_judgement(judged)]
    if truth and truth["figures"]:
        parts += [heading("Is it true?"), *_truth(truth)]
    if lines:
        parts += [heading("How it learned"), verdict(lines), plots.learning(lines), _passes(lines)]
    parts += [heading("What the model knows by itself"), _headline(scores), _score_table(scores)]
    parts.append(
        "In brackets: where the figure lies with a probability of 95 %, had other questions been drawn. Visitors also "
        "get the museum’s own words where the question is clear, and a question back where it is not; these figures "
        "are the model alone. Teacher-forced BLEU predicts each token from the right words before it, as published "
        "studies did; BLEU and chrF are of freely generated answers."
    )
    parts += [heading("How it speaks"), _manner(scores), heading("By language"), _languages(scores)]
    parts.append(heading("Before and after"))
    measured = _measured(scores)
    shown = "reworded" if "reworded" in measured else "trained"
    for name, label in _SETS.items():
        if name in measured:
            parts.append(folded(label.capitalize(), _answers(name, scores), unfolded=name == shown))
    parts += [heading("Does it answer alike everywhere?"), *_alike(result)]
    facts = {k.replace("_", " "): v for k, v in result.items() if k not in ("scores", "parity", "served")}
    parts += [heading("Made of"), table(("", ""), [(k, _plain(v)) for k, v in facts.items()])]
    write_page(path, title, parts)


def _measured(scores: Scores) -> Mapping[str, Any]:
    """The figures of the tuned model, or of the base where nothing was tuned."""
    return scores.get("tuned") or scores["base"]


def _how(result: Mapping[str, Any], lines: list[Line]) -> str:
    if "parity" not in result:
        return "The base as it is: nothing was trained."
    if not lines:
        return "Merged from the adapter that ships with Docent."
    peak = max((line.get("peak_gib", 0.0) for line in lines), default=0.0)
    memory = f", in at most {peak:.1f} GiB of memory" if peak else ""
    return f"Trained in {result['seconds'] / 60:.1f} minutes{memory}."


def _known(scores: Scores) -> str:
    known = _measured(scores)
    parts = [f"{known['trained']['key_fact']:.0%} of the wordings it was taught"] if "trained" in known else []
    parts += [f"{known['reworded']['key_fact']:.0%} of wordings new to it"] if "reworded" in known else []
    return f"Asked by itself, the model tells the key fact for {' and '.join(parts)}."


def _judgement(judged: Mapping[str, Any]) -> list[str]:
    live = judged["against"]
    parts: list[str] = [said(str(judged["why"]), bad=not judged["promote"])]
    if judged["measures"]:
        rows = [
            (m["what"], m["questions"], f"{m['candidate']:.0%}", f"{m['live']:.0%}",
             f"{100 * m['low']:+.0f} to {100 * m['high']:+.0f} points", "worse" if m["high"] < 0 else
             "better" if m["low"] > 0 else "no difference")
            for m in judged["measures"]
        ]  # fmt: skip
        asked = "in words new to both" if judged["asked"] == "held-out" else "in words taught to both"
        parts.append(f"Candidate and live release {live} were asked the same questions, {asked}.")
        parts.append(table(("share of", "n", "candidate", "live", "difference, 95 %", ""), rows))
    return parts


def _alike(result: Mapping[str, Any]) -> list[str]:
    """Adapter, merged weights and service, on the same prompts."""
    if not (parity := result.get("parity")):
        return ["There is nothing to compare: nothing was trained."]
    rows = [("merged weights beside the adapter", parity["prompts"], "", parity["same"], parity["excused"])]
    served = result.get("served") or {}
    if "prompts" in served:
        rows.append(("service beside the merged weights", *(served[k] for k in ("prompts", "read", "same", "excused"))))
    parts: list[str] = [table(("", "prompts", "read alike", "answered alike", "differ at a near-tie"), rows)]
    if "fault" in served:
        parts.append(said(f"It was not tried as a service: {served['fault']}.", bad=True))
    elif not served:
        parts.append("It was not tried as a service; `make train-adapter` does.")
    if drift := served.get("drift"):
        what = [
            (d["question"], d["merged"], d["served"], "the prompt" if d["gap"] is None else d["gap"]) for d in drift
        ]
        parts.append(table(("question", "merged weights", "service", "apart by (logits)"), what))
    return parts


_SHARES = ("key_fact", "supported", "unsupported", "contradicted", "does_not_know", "offered", "curated")


def _truth(truth: Mapping[str, Any]) -> list[str]:
    """The table, the same by language, and every wrong answer that visitors would hear."""
    figures = truth["figures"]
    rows = [(_SETS[name], column, *_shares_of(f)) for name, columns in figures.items() for column, f in columns.items()]
    by_language = [
        (_SETS[name], column, lang, *_shares_of(f))
        for name, columns in figures.items()
        for column, each in columns.items()
        for lang, f in each["by_language"].items()
    ]
    shares = (
        "n",
        "key fact right",
        "supported",
        "unsupported",
        "contradicted",
        "does not know",
        "asks back",
        "curated",
    )
    heard = [w for w in truth["wrong"] if w["column"].endswith("check")]
    wrong = [(w["question"], w["museum"], w["said"], w["source"], w["check"]) for w in heard]
    return [
        "Each answer beside the museum’s own words: supported (every number, date, name and key fact is the museum’s), "
        "unsupported (it says more, or lacks the key fact) or contradicted. The last of the columns is what visitors "
        "hear once the gate has let their question in. All wrong answers, the model’s alone as well, stand in "
        "wrong_answers.csv beside this page.",
        table(("questions", "answered by", *shares), rows),
        folded("By language", table(("questions", "answered by", "language", *shares), by_language)),
        folded(
            f"Every wrong answer that visitors would hear: {len(wrong)}",
            table(("question", "museum", "told", "source", "check"), wrong),
        ),
    ]


def _shares_of(figures: Mapping[str, Any]) -> list[str]:
    return [str(figures["questions"]), *(f"{figures[name]:.0%}" for name in _SHARES)]


def _passes(lines: list[Line]) -> Html:
    found = stops(lines)
    best = min(found, key=lambda s: s.validation).step if found else None
    rows = [
        (f"{s.at:.3g}", s.step, f"{s.loss:.3f}", f"{s.validation:.3f}", f"{s.grad_norm:.2f}", f"{s.learning_rate:.1e}",
         "kept" if s.step == best else "")
        for s in found
    ]  # fmt: skip
    return table(("pass", "step", "training loss", "validation loss", "gradient norm", "learning rate", ""), rows)


def _each(scores: Scores) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Set, model and figures, the tuned model before the base."""
    return [(label, m, scores[m][n]) for n, label in _SETS.items() for m in ("tuned", "base") if n in scores.get(m, {})]


def _interval(figures: Mapping[str, Any], name: str, *, per_cent: bool = False) -> str:
    """`61 % (54–68)`, or `74.3 (71–77)`."""
    value, low, high = (v * 100 if per_cent else v for v in (figures[name], *figures[f"{name}_interval"]))
    return f"{value:.0f} % ({low:.0f}–{high:.0f})" if per_cent else f"{value:.1f} ({low:.0f}–{high:.0f})"


def _headline(scores: Scores) -> Html:
    groups: dict[str, dict[str, tuple[float, float, float]]] = {}
    for name in _SETS:
        for model in ("tuned", "base"):
            if s := scores.get(model, {}).get(name):
                low, high = s["key_fact_interval"]
                groups.setdefault(name, {})[model] = (100 * s["key_fact"], 100 * low, 100 * high)
    return plots.bars("Key facts told, in per cent", groups)


def _score_table(scores: Scores) -> Html:
    rows = [
        (label, model, s["questions"], _interval(s, "key_fact", per_cent=True),
         _interval(s, "does_not_know", per_cent=True), _interval(s, "bleu"), _interval(s, "chrf"),
         f"{s['teacher_forced_bleu']:.1f}", f"{s['perplexity']:.2f}")
        for label, model, s in _each(scores)
    ]  # fmt: skip
    head = ("questions", "model", "n", "key fact right", "does not know", "BLEU", "chrF", "teacher-forced BLEU",
            "perplexity")  # fmt: skip
    return table(head, rows)


def _manner(scores: Scores) -> Html:
    rows = [
        (label, model, f"{s['words']:.0f}", f"{s['words_wanted']:.0f}", f"{s['repetition']:.1%}", f"{s['recited']:.0%}")
        for label, model, s in _each(scores)
    ]
    head = ("questions", "model", "words in an answer", "in the museum’s", "said twice", "recited from training")
    return table(head, rows)


def _languages(scores: Scores) -> Html:
    each = _each(scores)
    languages = list(dict.fromkeys(lang for _, _, s in each for lang in s["by_language"]))
    rows = [
        (label, model, *(_in_language(s["by_language"].get(lang)) for lang in languages)) for label, model, s in each
    ]
    return table(("key fact right / perplexity / n", "model", *languages), rows)


def _in_language(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return "–"
    return f"{figures['key_fact']:.0%} / {figures['perplexity']:.2f} / {figures['questions']}"


def _answers(name: str, scores: Scores) -> Html:
    before = {e["question"]: e["said"] for e in scores.get("base", {}).get(name, {}).get("examples", [])}
    rows = []
    for example in _measured(scores)[name]["examples"][:_ANSWERS]:
        told = escaped(example["said"])
        good = example["right"] or name == "unseen"
        rows.append(
            (
                example["question"],
                example["wanted"],
                Html(told if good else f'<span class="no">{told}</span>'),
                Html(f'<span class="small">{escaped(before.get(example["question"], "")[:300])}</span>'),
            )
        )
    return table(("question", "museum", "tuned", "base"), rows)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
