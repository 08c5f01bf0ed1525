"""import, read, draft, stats, new: what a curator types, and what a broken file is told."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from datasets import Dataset
from openpyxl import Workbook

from topics.__main__ import main
from topics.errors import TopicError
from topics.importer import Report, read_pairs, to_rows
from topics.lint import lint
from topics.questions import read_off_topic, read_questions
from topics.reader import read_page
from topics.topic import load_topic

PAGE = Path(__file__).parent / "page.html"


@pytest.fixture
def museum(tmp_path: Path) -> Path:
    folder = tmp_path / "tower"
    assert main(["new", str(folder), "--title", "The Tower", "--languages", "en,vi"]) == 0
    return folder


def test_a_new_topic_is_clean_for_lint_and_is_never_written_over(
    museum: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = load_topic(museum)
    assert lint(topic) == []
    assert topic.languages == ("en", "vi") and topic.name("en") == "The Tower"
    assert main(["new", str(museum)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["new", str(museum.parent / "Ünschön")]) == 1
    assert "use small letters" in capsys.readouterr().err


SQUAD = {"data": [{"paragraphs": [{"context": "c", "qas": [
    {"id": "1", "question": "How high is it?", "answers": [{"text": "30 metres", "answer_start": 0}]},
    {"id": "2", "question": "Is it haunted?", "answers": [], "is_impossible": True},
]}]}]}  # fmt: skip


def _files(folder: Path) -> dict[str, Path]:
    made = {name: folder / f"in.{name}" for name in ("csv", "tsv", "jsonl", "json", "xlsx")}
    made["csv"].write_text('﻿Question,Answer\nHow high is it?,"30 metres, about"\nIs it haunted?,\n', encoding="utf-8")
    made["tsv"].write_text("How high is it?\t30 metres\nIs it haunted?\t\n")
    made["jsonl"].write_text(
        '{"prompt": "How high is it?", "response": "30 metres"}\n\n{"prompt": "Is it haunted?", "response": ""}\n'
    )
    made["json"].write_text(json.dumps(SQUAD))
    book = Workbook()
    for cells in (("question", "answer"), ("How high is it?", "30 metres"), ("Is it haunted?", None), (None, None)):
        book.active.append(cells)
    book.save(made["xlsx"])
    made["folder"] = folder / "saved"
    Dataset.from_dict({"question": ["How high is it?", "Is it haunted?"], "answer": ["30 metres", ""]}).save_to_disk(
        made["folder"]
    )
    return made


@pytest.mark.parametrize("shape", ["csv", "tsv", "jsonl", "json", "xlsx", "folder"])
def test_the_usual_shapes_become_facts(
    tmp_path: Path, museum: Path, shape: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(_files(tmp_path)[shape]), "--topic", str(museum), "--append"]) == 0
    rows = read_questions(museum / "questions.jsonl")
    assert [r.id for r in rows] == ["first_fact", "who_writes", "how_high_is_it"]
    assert rows[-1].answer.startswith("30 metres")
    out = capsys.readouterr().out
    assert "2 read, 1 kept, 1 dropped" in out and "1 without an answer" in out


def test_nothing_is_written_over_unasked(tmp_path: Path, museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _files(tmp_path)["csv"]
    before = (museum / "questions.jsonl").read_text()
    assert main(["import", str(file), "--topic", str(museum)]) == 1
    assert "give --append to add to it, or --force to replace it" in capsys.readouterr().err
    assert (museum / "questions.jsonl").read_text() == before
    assert main(["import", str(file), "--topic", str(museum), "--force"]) == 0
    assert [r.id for r in read_questions(museum / "questions.jsonl")] == ["how_high_is_it"]


def test_questions_to_turn_away_need_no_answer(tmp_path: Path) -> None:
    out = tmp_path / "off.jsonl"
    assert main(["import", str(_files(tmp_path)["csv"]), "--off-topic", str(out), "--lang", "fr"]) == 0
    assert [(o.question, o.lang) for o in read_off_topic(out)] == [("How high is it?", "fr"), ("Is it haunted?", "fr")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"alpha,beta,gamma\n1,2,3\n", "no column for the question among alpha, beta, gamma"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"question,answer\n\xff\xfe,x\n", "not UTF-8"),
        ("a.csv", b'question,answer\n"x"y,z\n', "a.csv:2: not CSV"),
        ("a.jsonl", b'{"question": "x"\n', "a.jsonl:1: not JSON"),
        ("a.jsonl", b"[1]\n", "a.jsonl:1: not an object"),
        ("a.json", b'{"rows": 1}', "neither a list of objects nor SQuAD's shape"),
        ("a.xlsx", b"not a workbook", "cannot be opened as a workbook"),
        ("a.docx", b"x", "cannot read .docx"),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_left_behind(
    tmp_path: Path, museum: Path, name: str, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    before = sorted((p.name, p.read_bytes()) for p in museum.glob("*.*"))
    assert main(["import", str(tmp_path / name), "--topic", str(museum), "--append"]) == 1
    assert message in capsys.readouterr().err
    assert sorted((p.name, p.read_bytes()) for p in museum.glob("*.*")) == before


def test_a_dataset_that_cannot_be_reached_says_so() -> None:
    with pytest.raises(TopicError, match="no data set of that name or folder could be loaded"):
        list(read_pairs("nobody/nothing_of_that_name"))


def test_long_answers_and_repetitions_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("question,answer\nWhy?,Because.\nwhy,Again.\nHow?," + "word " * 61 + "\n , x\n")
    report = Report()
    rows = list(to_rows(read_pairs(str(file)), lang="en", report=report))
    assert [r.id for r in rows] == ["why"]
    assert (report.read, report.kept, report.dropped.total()) == (4, 1, 3)
    assert "whose question stands there already (such as a.csv:3)" in str(report)


def test_a_page_becomes_sentences_with_their_section() -> None:
    sentences = read_page(str(PAGE))
    assert [(s.section, s.text) for s in sentences] == [
        ("Gull Rock", "Gull Rock is a lighthouse on a small island."),
        ("Gull Rock", "It was lit in 1871, by J. R. Harper and his wife."),
        ("The lamp", "The lamp burned 3.5 litres of oil a night!"),
        ("The lamp", "Two keepers carried it up the stairs."),
    ]
    assert {s.reference for s in sentences} == {"Gull Rock, https://example.org/wiki/Gull_Rock"}


def test_a_page_without_text_or_without_a_file_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.html"
    empty.write_text("<html><script>var x = 'A sentence in a script.';</script></html>")
    assert main(["read", str(empty)]) == 1
    assert "no running text" in capsys.readouterr().err
    assert main(["read", str(tmp_path / "gone.html")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert main(["read", "http://127.0.0.1:9/x"]) == 1
    assert "save the page in a browser" in capsys.readouterr().err
    assert main(["read", str(PAGE), "--out", str(empty)]) == 1
    assert "--force" in capsys.readouterr().err


REPLY = """Here you are:
[{"id": "steps", "question": "How many steps has The Tower?", "answer": "The Tower has 199 steps.", "key": ["199"],
  "paraphrases": [{"text": "how meny steps", "register": "typo"}]},
 {"id": "steps2", "question": "Who built it?", "answer": "Masons built it.", "key": ["1871"]},
 {"id": "first_fact", "question": "Is it tall?", "answer": "Yes, it is tall.", "key": ["tall"]},
 {"question": "No id?"}]"""


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A server that speaks as much of OpenAI's protocol as a draft needs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert "example facts" in asked["messages"][0]["content"], "the article is in the prompt"
            message = {"role": "assistant", "content": REPLY}
            body = {"id": "1", "object": "chat.completion", "created": 0, "model": asked["model"],
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_drafts_are_added_and_never_trained_on(museum: Path, endpoint: str) -> None:
    assert main(["draft", "--topic", str(museum), "--endpoint", endpoint, "--model", "any"]) == 0
    topic = load_topic(museum)
    drafts = [r for r in topic.rows(drafts=True) if r.draft]
    assert [(r.question, r.source) for r in drafts] == [
        ("How many steps has The Tower?", "first_article#a-first-section"),
        ("Is it tall?", "first_article#a-first-section"),
    ]
    assert len({r.id for r in topic.rows(drafts=True)}) == 4, "an id that was taken gets another name"
    assert [r.id for r in topic.rows()] == ["first_fact", "who_writes"]
    assert lint(topic) == []


def test_an_endpoint_that_is_not_there_says_so(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draft", "--topic", str(museum), "--endpoint", "http://127.0.0.1:9/v1", "--model", "any"]) == 1
    assert "check the address, the key and --model" in capsys.readouterr().err
    assert (
        main(["draft", "--topic", str(museum), "--endpoint", "http://x/v1", "--model", "any", "--article", "none"]) == 1
    )
    assert "no section in it" in capsys.readouterr().err


def test_stats_count_and_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "stats.png"
    assert main(["stats", "--topic", "tests/fixtures/lighthouse", "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "lighthouse: " in out and "fragment" in out and "mean Jaccard" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("tool", ["lint", "stats", "import", "read", "draft", "new"])
def test_every_tool_shows_two_examples(tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([tool, "--help"])
    assert capsys.readouterr().out.count(f"\n  python -m topics {tool} ") == 2
