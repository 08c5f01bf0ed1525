"""What an operator and a curator read in the book: the page, the table, the refused questions."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.fitting import examples
from gatekeeper.label import label
from service.asked import subjects
from service.database import Noted
from service.report import write_report, write_review
from tests.conftest import LIGHTHOUSE, ROOT
from topics.topic import Topic, load_topic


def line(**more: Any) -> Noted:
    """An answered question of an hour ago."""
    common = {
        "id": "0", "hour": datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1), "topic": "lighthouse",
        "release": "r", "outcome": "answered", "source": "curated", "lang": "en", "kind": "topic", "score": 0.9,
        "fact": None, "gate_ms": 1.0, "first_word_ms": 5.0, "total_ms": 6.0,
    }  # fmt: skip
    return Noted(**{**common, **more})


LINES = [
    *(line(question="How high is the tower?", answer="38 metres.", fact="height", rating="up") for _ in range(3)),
    line(question="how hi is the tower", answer="38 metres.", fact="height", rating="down"),
    line(question="Who won the derby in 1926?", outcome="declined", kind="off", score=0.1),
    line(question="who won the derby in 1926", outcome="declined", kind="off", score=0.1),
    line(question="<script>alert(1)</script>", outcome="declined", kind="attack", score=0.0),
    line(question="=1+1", outcome="unsure", kind="off", score=0.4, total_ms=4321.0),
]


def test_the_page_is_one_file_with_all_parts(lighthouse: Topic, tmp_path: Path) -> None:
    page, _ = write_report(lighthouse, LINES, 7, tmp_path / "report.html")
    html = page.read_text(encoding="utf-8")
    heads = re.findall("<h2>(.*?)</h2>", html)
    assert heads == [
        "Questions per hour", "How they ended", "What was asked", "Facts told most often", "Refused",
        "Unsure: “Do you mean …?”", "Slow", "Disliked",
    ]  # fmt: skip
    assert "8 questions in the 7 days" in html and "3 thumbs up, 1 down" in html
    assert "How high is the tower? (3×) · how hi is the tower" in html, "wordings that look alike stand together"
    assert "1 took more than 2 s." in html and "4.3" in html
    assert "3, 2 of them different." in html, "refused: spelling apart"
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert not re.search(r'(src|href)="(?!data:)', html) and html.count("data:image/png") == 1


def test_the_table_holds_every_line_and_no_formula(lighthouse: Topic, tmp_path: Path) -> None:
    for name in ("report.html", "report.csv", "report"):
        _, rows = write_report(lighthouse, LINES, 7, tmp_path / name)
        assert rows == tmp_path / "report.csv"
    with rows.open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(LINES)
    assert {"hour", "outcome", "kind", "lang", "score", "total_ms", "rating", "question"} <= set(found[0])
    assert found[-1]["question"] == "'=1+1"
    assert not any("address" in column or "ip" == column for column in found[0])


def test_without_words_the_facts_stand_for_what_was_asked(lighthouse: Topic, tmp_path: Path) -> None:
    fact = lighthouse.rows()[0]
    counts = [line(fact=fact.id, rating="down"), line(outcome="declined", kind="off")]
    page, _ = write_report(lighthouse, counts, 7, tmp_path / "report.html")
    html = page.read_text(encoding="utf-8")
    assert "keeps no words" in html and fact.question in html
    assert "holds visitors' words" not in html


def test_no_question_is_said_as_well(lighthouse: Topic, tmp_path: Path) -> None:
    page, rows = write_report(lighthouse, [], 3, tmp_path / "report.html")
    assert "No question in the 3 days" in page.read_text(encoding="utf-8")
    assert len(rows.read_text(encoding="utf-8").splitlines()) == 1


def test_wordings_of_one_thing_stand_together_in_every_language(lighthouse: Topic) -> None:
    asked = [
        "Where are the stairs?",
        "where are the stairs",
        "stairs where?",
        "灯塔有多高？",
        "灯塔多高？",
        "Ai xây hải đăng?",
    ]
    found = subjects(lighthouse, [line(question=q) for q in asked] + [line()])
    assert [s.times for s in found] == [3, 2, 1]
    assert found[0].wordings[0] == ("Where are the stairs?", 1)


def test_refused_questions_reach_the_gates_next_fit(lighthouse: Topic, tmp_path: Path) -> None:
    copy = load_topic(shutil.copytree(lighthouse.folder, tmp_path / "lighthouse"))
    file = tmp_path / "runs" / "refused.jsonl"
    asked = [*LINES, line(question="ai thắng giải?", lang="vi", outcome="declined", kind="off")]
    assert write_review(copy, asked, file) == 4
    items = [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()]
    assert (items[0]["question"], items[0]["times"]) == ("Who won the derby in 1926?", 2), "the most frequent first"
    assert all("kind" not in item for item in items), "what they are is the curator's to say"
    keys = iter(["n", "a", "s", "n"])
    labelled = {x.question: (x.kind, x.lang) for x in label(copy, file, ask=lambda prompt: next(keys))}
    assert labelled == {
        "Who won the derby in 1926?": ("off", "en"),
        "<script>alert(1)</script>": ("attack", "en"),
        "ai thắng giải?": ("off", "vi"),
    }
    assert set(labelled) <= {e.question for e in examples(copy)}


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env={**os.environ, "DOCENT_TOPIC": str(LIGHTHOUSE), **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_writes_both_files(tmp_path: Path) -> None:
    from sqlalchemy import URL
    from sqlalchemy.orm import Session

    from service.database import bring_up_to_date, connect

    url = URL.create("sqlite", database=str(tmp_path / "book.sqlite3"))
    engine = connect(url)
    bring_up_to_date(engine)
    with Session(engine) as session, session.begin():
        session.add(line(id="young"))
        session.add(line(id="old", hour=datetime.now(UTC).replace(tzinfo=None) - timedelta(days=8)))
    engine.dispose()
    address = url.render_as_string()
    out = tmp_path / "report.html"
    done = run("report", "--days", "7", "--out", str(out), DOCENT_DATABASE_URL=address)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "1 questions" in done.stdout and out.exists() and out.with_suffix(".csv").exists()
    done = run("review", DOCENT_DATABASE_URL=address)
    assert done.returncode == 2 and "set DOCENT_BOOK=words" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "address", "said"),
    [
        (["report"], "sqlite:////nowhere/book.sqlite3", "no book there; the service writes one"),
        (["report"], "postgresql://u:open-sesame@127.0.0.1:1/b", "cannot be read"),
        (["report", "--days", "many"], "", "'many' is no number of days"),
        (["reprot"], "", "invalid choice"),
    ],
)
def test_what_cannot_be_reported_is_one_sentence(arguments: list[str], address: str, said: str) -> None:
    done = run(*arguments, DOCENT_DATABASE_URL=address)
    assert done.returncode == 2 and said in done.stderr
    assert "Traceback" not in done.stderr and "open-sesame" not in done.stderr
