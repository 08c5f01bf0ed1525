"""What the operator's book says about some days: an HTML page, a CSV file, and refused questions for the next gate."""

from __future__ import annotations

import csv
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from alembic.util import CommandError
from sqlalchemy import URL, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.asked import MOST, Subject, subjects, wordings
from service.database import BookError, Noted, bring_up_to_date, connect, exists
from topics.page import RED, TEAL, Html, heading, picture, table, write_page
from topics.topic import Topic

SLOW_MS = 2000.0
_LONGEST = 40
"""Rows of a list."""
_COLUMNS = [column.key for column in Noted.__mapper__.column_attrs]
_NO_WORDS = "The book keeps no words of these days; DOCENT_BOOK=words keeps them."


def read(url: URL, topic: Topic, days: int) -> list[Noted]:
    """The lines of the last days, the oldest first. Raises BookError."""
    where = url.render_as_string(hide_password=True)
    if not exists(url):
        raise BookError(f"{where}: no book there; the service writes one, unless DOCENT_BOOK=off")
    begin = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
    mine = select(Noted).where(Noted.topic == topic.id, Noted.hour >= begin).order_by(Noted.hour, Noted.id)
    engine = connect(url)
    try:
        bring_up_to_date(engine)
        with Session(engine) as session:
            return list(session.scalars(mine))
    except (SQLAlchemyError, CommandError) as error:
        cause = str(getattr(error, "orig", error)).partition("\n")[0]
        raise BookError(
            f"{where}: the book cannot be read ({cause}); start what it lies on, or name another"
        ) from error
    finally:
        engine.dispose()


def write_report(topic: Topic, lines: Sequence[Noted], days: int, out: Path) -> tuple[Path, Path]:
    """Writes the page, and the lines themselves as CSV beside it; returns both paths."""
    page = out.with_suffix(".html") if out.suffix == ".csv" else out
    rows = page.with_suffix(".csv")
    parts: list[str] = [_summary(lines, days)]
    if lines:
        asked = [line for line in lines if line.question]
        parts += [
            heading("Questions per hour"),
            _hours(lines, days),
            heading("How they ended"),
            _crossed(lines, "outcome", "lang"),
            _crossed(lines, "kind", "outcome"),
            heading("What was asked"),
            _asked(topic, asked),
            heading("Facts told most often"),
            _facts(topic, lines),
            heading("Refused"),
            *_listed(topic, [x for x in lines if x.outcome == "declined"]),
            heading("Unsure: “Do you mean …?”"),
            *_listed(topic, [x for x in lines if x.outcome == "unsure"]),
            heading("Slow"),
            _times(lines),
            *_slowest(topic, lines),
            heading("Disliked"),
            *_disliked(topic, lines),
        ]
    write_page(page, f"{topic.name(topic.languages[0])}: what visitors asked", parts)
    _write_csv(lines, rows)
    return page, rows


def write_review(topic: Topic, lines: Sequence[Noted], out: Path) -> int:
    """Writes what the gate kept from the museum's facts, the most frequent first; returns how many questions.

    A JSON object a line, as `python -m gatekeeper label` reads it to ask a curator what each of them is.
    """
    doubted = [x for x in lines if x.kind != "topic" and x.outcome in ("declined", "unsure")]
    found = wordings(topic, doubted)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as file:
        for subject in found:
            last = subject.lines[-1]
            item = {
                "question": subject.wordings[0][0], "lang": last.lang, "times": subject.times,
                "outcome": last.outcome, "score": round(last.score, 3),
            }  # fmt: skip
            file.write(json.dumps(item, ensure_ascii=False) + "\n")
    return len(found)


def _summary(lines: Sequence[Noted], days: int) -> str:
    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
    if not lines:
        return f"No question in the {days} days before {now}."
    ended = Counter(line.outcome for line in lines)
    shares = ", ".join(f"{n / len(lines):.0%} {outcome}" for outcome, n in ended.most_common())
    thumbs = Counter(line.rating for line in lines)
    private = " This page holds visitors' words: keep it no longer than the book does." * any(x.question for x in lines)
    return (
        f"{len(lines):,} questions in the {days} days before {now}: {shares}. "
        f"{thumbs['up']} thumbs up, {thumbs['down']} down. Hours are this machine's.{private}"
    )


def _hours(lines: Sequence[Noted], days: int) -> Html:
    from matplotlib.figure import Figure  # a second to import, and the service itself draws nothing

    # The hours of the book are UTC's; where clocks are half an hour off, they begin at half past.
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0).astimezone()
    counts = Counter(_local(line) for line in lines)
    every = [end - timedelta(hours=h) for h in range(24 * days, -2, -1)]
    figure = Figure(figsize=(11, 6), layout="constrained")
    along, of_day = figure.subplots(2, 1)
    along.fill_between(every, [counts[h] for h in every], step="post", color=TEAL)
    along.set_title("Hour by hour")
    by_hour = Counter(h.hour for h in map(_local, lines))
    of_day.bar(range(24), [by_hour[h] / days for h in range(24)], color=RED)
    of_day.set_title(f"By hour of the day, mean of {days} days")
    of_day.set_xticks(range(24))
    for axes in (along, of_day):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel("questions")
        axes.set_ylim(bottom=0)
    return picture(figure, "Bars: questions per hour, along the days and by hour of the day")


def _crossed(lines: Sequence[Noted], down: str, across: str) -> Html:
    """How many lines fall on each pair of two columns' values."""
    counts = Counter((getattr(line, down), getattr(line, across)) for line in lines)
    columns = [name for name, _ in Counter(getattr(line, across) for line in lines).most_common()]
    rows = [name for name, _ in Counter(getattr(line, down) for line in lines).most_common()]
    body = [[r, *(counts[r, c] or "" for c in columns), sum(counts[r, c] for c in columns)] for r in rows]
    return table([down, *columns, "all"], body)


def _asked(topic: Topic, asked: Sequence[Noted]) -> str:
    if not asked:
        return _NO_WORDS
    found = subjects(topic, asked)
    rows = [(s.times, _samples(s), _mostly(s, "outcome"), _mostly(s, "fact"), _liked(s.lines)) for s in found]
    body = table(["times", "asked as", "ended", "fact", "thumbs"], rows[:_LONGEST])
    note = f" Put together from the {MOST:,} most frequent wordings." * (len(wordings(topic, asked)) > MOST)
    more = f"{len(rows)} subjects; wordings that look alike stand together.{note}"
    return Html(f"<p>{more}</p>{body}")


def _samples(subject: Subject) -> str:
    brief = [(textwrap.shorten(text, 120, placeholder=" …"), n) for text, n in subject.wordings[:3]]
    shown = [f"{text} ({n}×)" if n > 1 else text for text, n in brief]
    rest = len(subject.wordings) - len(shown)
    return " · ".join(shown) + (f" · and {rest} more" if rest else "")


def _mostly(subject: Subject, column: str) -> str:
    counts = Counter(value for line in subject.lines if (value := getattr(line, column))).most_common(1)
    return " ".join(value if n == subject.times else f"{value} ({n} of {subject.times})" for value, n in counts)


def _facts(topic: Topic, lines: Sequence[Noted]) -> Html:
    by_fact: dict[str, list[Noted]] = {}
    for line in lines:
        if line.fact and line.outcome == "answered":
            by_fact.setdefault(line.fact, []).append(line)
    often = sorted(by_fact.items(), key=lambda pair: -len(pair[1]))[:_LONGEST]
    questions = _questions(topic)
    return table(
        ["times", "fact", "the museum's question", "thumbs"],
        [(len(told), fact, questions.get(fact, "no longer in the topic"), _liked(told)) for fact, told in often],
    )


def _listed(topic: Topic, lines: Sequence[Noted]) -> Iterator[str]:
    """Questions that were not answered, the most frequent first; their number where words are not kept."""
    asked = [line for line in lines if line.question]
    if not lines:
        yield "None."
    elif not asked:
        yield f"{len(lines)}. {_NO_WORDS}"
    else:
        found = wordings(topic, asked)
        yield f"{len(lines)}, {len(found)} of them different."
        yield table(
            ["times", "question", "lang", "kind", "score"],
            [
                (s.times, s.wordings[0][0], s.lines[-1].lang, s.lines[-1].kind, f"{s.lines[-1].score:.2f}")
                for s in found[:_LONGEST]
            ],
        )


def _times(lines: Sequence[Noted]) -> Html:
    """Median, 95th and 99th in a hundred of the times, by who told the answer; seconds."""
    rows = []
    for source in sorted({line.source for line in lines}):
        told = [line for line in lines if line.source == source]
        cells = [_quantiles([v for x in told if (v := time(x)) is not None]) for time in (_first_word, _total)]
        rows.append((source, len(told), *cells))
    return table(["told by", "questions", "to the first word (½, 95 %, 99 %)", "whole answer (½, 95 %, 99 %)"], rows)


def _first_word(line: Noted) -> float | None:
    return line.first_word_ms


def _total(line: Noted) -> float | None:
    return line.total_ms


def _quantiles(times_ms: Sequence[float]) -> str:
    if not times_ms:
        return "–"
    return ", ".join(f"{v / 1000:.2f} s" for v in np.quantile(times_ms, [0.5, 0.95, 0.99]))


def _slowest(topic: Topic, lines: Sequence[Noted]) -> Iterator[str]:
    slow = sorted((x for x in lines if (x.total_ms or 0) > SLOW_MS), key=lambda x: -(x.total_ms or 0))
    yield f"{len(slow)} took more than {SLOW_MS / 1000:.0f} s."
    if slow:
        yield _table_of(topic, slow, "seconds", lambda line: f"{(line.total_ms or 0) / 1000:.1f}")


def _disliked(topic: Topic, lines: Sequence[Noted]) -> Iterator[str]:
    down = [line for line in lines if line.rating == "down"]
    if not down:
        yield "None."
    else:
        yield _table_of(topic, down[::-1], "answer", lambda line: line.answer or "–")


def _table_of(topic: Topic, lines: Sequence[Noted], head: str, cell: Callable[[Noted], Any]) -> Html:
    """Single lines; where the words are not kept, the fact that was told stands for them."""
    questions = _questions(topic)
    rows = []
    for line in lines[:_LONGEST]:
        told = questions.get(line.fact or "", "–")
        when = f"{_local(line):%a\u00a0%d\u00a0%b, %H\u00a0h}"
        rows.append((when, line.question or "–", told, line.outcome, line.source, cell(line)))
    return table(["hour", "question", "fact told", "ended", "told by", head], rows)


def _liked(lines: Sequence[Noted]) -> str:
    thumbs = Counter(line.rating for line in lines)
    return f"+{thumbs['up']}\u00a0−{thumbs['down']}" if thumbs["up"] + thumbs["down"] else ""


def _questions(topic: Topic) -> dict[str, str]:
    """The museum's question to each fact, in the first language that has it."""
    order = list(topic.languages)
    rows = sorted(topic.rows(), key=lambda r: -order.index(r.lang))
    return {row.id: row.question for row in rows}


def _local(line: Noted) -> datetime:
    return line.hour.replace(tzinfo=UTC).astimezone()


def _write_csv(lines: Sequence[Noted], out: Path) -> None:
    with out.open("w", encoding="utf-8-sig", newline="") as file:  # the mark tells Excel that it is UTF-8
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows([_harmless(getattr(line, name)) for name in _COLUMNS] for line in lines)


def _harmless(value: Any) -> Any:
    # A spreadsheet takes such a text for a formula, and visitors write what they like.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
