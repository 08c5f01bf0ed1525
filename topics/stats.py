"""What a topic folder holds: counts by language, register, kind and article, and how far the held-out words are off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from topics.articles import read_articles
from topics.policy import read_policies
from topics.questions import OffTopic, Row, read_off_topic
from topics.text import normalise
from topics.topic import HERE, Topic


@dataclass(frozen=True)
class Stats:
    """Numbers of a topic; each table maps a name to a count."""

    facts: int
    """Facts that are trained, whatever the number of languages."""
    unseen: int
    """Facts held out as a whole."""
    rows: Counter[str]
    """Trained rows by language."""
    wordings: Counter[str]
    """Trained wordings by language, the museum's own question included."""
    held: Counter[str]
    """Held-out wordings by language."""
    registers: Counter[str]
    """Trained paraphrases by register."""
    articles: Counter[str]
    """Facts by article."""
    bare_sections: list[str] = field(default_factory=list)
    """Sections that no fact rests on."""
    near_misses: Counter[str] = field(default_factory=Counter)
    """By language."""
    about: Counter[str] = field(default_factory=Counter)
    """Near-misses by what makes them look like the topic."""
    off_topic: Counter[str] = field(default_factory=Counter)
    """The shared off-topic file, by kind and language."""
    policies: int = 0
    contested: int = 0
    overlap: float | None = None
    """Mean Jaccard overlap of a held-out wording's words with the nearest trained wording of its fact; 0 to 1."""


def count(topic: Topic) -> Stats:
    """Raises QuestionsError for a line that cannot be read; `lint` says more."""
    rows = topic.rows()
    taught = [r for r in rows if not r.held]
    articles = read_articles(topic.folder / "sources")
    used = {r.source for r in rows}
    sections = {f"{name}#{s}" for name, article in articles.items() for s in article.sections if s != "references"}
    misses = read_off_topic(topic.folder / "near_misses.jsonl")
    shared = HERE / "off_topic.jsonl"
    off = read_off_topic(shared) if shared.exists() else []
    return Stats(
        facts=len({r.id for r in taught}),
        unseen=len({r.id for r in rows if r.held}),
        rows=Counter(r.lang for r in taught),
        wordings=Counter({lang: sum(len(r.wordings()) for r in taught if r.lang == lang) for lang in topic.languages}),
        held=Counter(r.lang for r in taught for _ in r.wordings(held=True)),
        registers=Counter(w.register_ for r in taught for w in r.paraphrases if not w.held),
        articles=Counter({a: len({r.id for r in taught if r.source.startswith(f"{a}#")}) for a in articles}),
        bare_sections=sorted(sections - used),
        near_misses=Counter(m.lang for m in misses),
        about=Counter(m.about or "not said" for m in misses),
        off_topic=Counter(_name(o) for o in off),
        policies=len(read_policies(topic.folder / "policy.jsonl")[0]),
        contested=len({r.id for r in taught if r.contested}),
        overlap=held_overlap(taught),
    )


def _name(question: OffTopic) -> str:
    return f"{question.kind} {question.lang}"


def held_overlap(rows: Iterable[Row]) -> float | None:
    """Mean Jaccard overlap of each held-out wording with the nearest trained one of its row; None without any."""
    overlaps = []
    for row in rows:
        trained = [_words(w) for w in row.wordings()]
        overlaps += [max(_jaccard(_words(held), words) for words in trained) for held in row.wordings(held=True)]
    return mean(overlaps) if overlaps else None


def _words(text: str) -> set[str]:
    folded = normalise(text)
    # Where words are not set apart by blanks, pairs of characters take their place.
    return set(folded.split()) if " " in folded else {folded[i : i + 2] for i in range(max(1, len(folded) - 1))}


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def as_table(topic: Topic, stats: Stats) -> str:
    """The numbers as text, one table after the other."""
    parts = [
        f"{topic.id}: {stats.facts} facts, {stats.unseen} more held out as a whole, {stats.contested} contested, "
        f"{stats.policies} policy answers",
        _columns("language", {"rows": stats.rows, "wordings": stats.wordings, "held wordings": stats.held}),
        _columns("register", {"paraphrases": stats.registers}),
        _columns("article", {"facts": stats.articles}),
        _columns("near-misses in", {"questions": stats.near_misses}),
        _columns("near-misses about", {"questions": stats.about}),
        _columns("off-topic (shared)", {"questions": stats.off_topic}),
    ]
    if stats.overlap is not None:
        parts.append(
            f"held-out wordings share {stats.overlap:.0%} of their words with the nearest trained one (mean Jaccard)"
        )
    if stats.bare_sections:
        parts.append(f"{len(stats.bare_sections)} sections carry no fact: {', '.join(stats.bare_sections)}")
    return "\n\n".join(part for part in parts if part)


def _columns(title: str, columns: dict[str, Counter[str]]) -> str:
    names = sorted({n for c in columns.values() for n in c}, key=lambda n: -max(c[n] for c in columns.values()))
    if not names:
        return ""
    width = max(len(n) for n in [*names, title, "total"])
    lines = [f"{title:<{width}}" + "".join(f"  {c:>13}" for c in columns)]
    for name in names:
        lines.append(f"{name:<{width}}" + "".join(f"  {c[name]:>13,}" for c in columns.values()))
    if len(names) > 1:
        lines.append(f"{'total':<{width}}" + "".join(f"  {c.total():>13,}" for c in columns.values()))
    return "\n".join(lines)


def as_picture(topic: Topic, stats: Stats, out: Path) -> None:
    """One page of bars: languages, registers, articles, off-topic questions. The suffix of `out` decides the format."""
    from matplotlib.figure import Figure  # a second to import, and only pictures need it

    panels: Sequence[tuple[str, Counter[str]]] = [
        ("Wordings by language", stats.wordings),
        ("Paraphrases by register", stats.registers),
        ("Facts by article", stats.articles),
        ("Questions to turn away (shared and near-misses)", stats.off_topic + stats.near_misses),
    ]
    figure = Figure(figsize=(14, 10), layout="constrained")
    figure.suptitle(f"{topic.name(topic.languages[0])}: {stats.facts} facts, {stats.wordings.total():,} wordings")
    for axes, (title, counts) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        pairs = sorted(counts.items(), key=lambda pair: pair[1])
        bars = axes.barh([name.replace("_", " ") for name, _ in pairs], [n for _, n in pairs], color="#2f6f6b")
        axes.bar_label(bars, padding=3, fontsize=8)
        axes.tick_params(axis="y", labelsize=7 if len(pairs) > 12 else 9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(title)
    figure.savefig(out, dpi=110)
