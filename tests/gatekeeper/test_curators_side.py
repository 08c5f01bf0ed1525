"""What a curator does with the gate: reads its report, labels refused questions, asks for near-misses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gatekeeper import GateError, TopicFilter
from gatekeeper.fitting import examples
from gatekeeper.label import label, proposals
from gatekeeper.report import share, write_report
from topics.topic import Topic, load_topic

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(lighthouse: Topic, tmp_path: Path) -> Topic:
    return load_topic(shutil.copytree(lighthouse.folder, tmp_path / "lighthouse"))


def test_the_report_is_one_file_with_all_parts(
    lighthouse: Topic, gate_of_lighthouse: TopicFilter, tmp_path: Path
) -> None:
    gate_of_lighthouse.save(tmp_path / "before.skops")
    write_report(lighthouse, tmp_path / "gate.html", before=tmp_path / "before.skops")
    page = (tmp_path / "gate.html").read_text(encoding="utf-8")
    for part in (
        "published recipe, random split",
        "folds grouped by fact",
        "worst mistakes",
        "Against the gate before",
    ):
        assert part in page
    assert "0 of" in page  # the same gate: nothing changed sides
    assert "http" not in page and page.count("data:image/png") == 1


def test_a_share_comes_with_its_interval() -> None:
    assert share([True] * 9 + [False]) == "90% (60%–98%, n 10)"
    assert share([]) == "–"


def test_labels_are_kept_at_once_and_learned_from(copy: Topic, tmp_path: Path) -> None:
    file = tmp_path / "refused.jsonl"
    asked = ["how tall is this thing", "who won the derby", "where may I smoke", "skip me", "never reached"]
    lines = [{"question": q} for q in asked]
    lines.append({"question": "how tall is this thing"})
    file.write_text("\n".join(map(json.dumps, lines)))
    keys = iter(["o", "n", "v", "s", "q"])
    kinds = [line.kind for line in label(copy, file, ask=lambda prompt: next(keys))]
    assert kinds == ["topic", "off", "visit"]
    learned = {e.question: e.kind for e in examples(copy)}
    assert learned["how tall is this thing"] == "topic" and learned["who won the derby"] == "off"
    # A second look asks only about what has no label yet.
    prompts: list[str] = []
    assert list(label(copy, file, ask=lambda prompt: prompts.append(prompt) or "q")) == []
    assert len(prompts) == 1 and "skip me" in prompts[0]


def test_a_labelled_file_asks_nothing(copy: Topic, tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text('{"question": "who won the derby", "kind": "off"}\n')
    assert [line.question for line in label(copy, file, ask=lambda prompt: "x" * 0)] == ["who won the derby"]


def test_a_broken_line_is_named(copy: Topic, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"question": "a"}\nnonsense\n')
    with pytest.raises(GateError, match=r"bad\.jsonl:2"):
        list(label(copy, tmp_path / "bad.jsonl"))


def test_near_misses_are_proposed_and_not_twice(copy: Topic) -> None:
    first = list(proposals(copy))
    assert {"task"} <= {p.about for p in first}
    assert all(p.kind == "off" for p in first)
    lines = "".join(p.model_dump_json() + "\n" for p in first)
    (copy.folder / "near_misses.jsonl").write_text(lines, encoding="utf-8")
    assert list(proposals(copy)) == []


def test_a_verdict_is_explained_in_the_terminal(gate_of_lighthouse: TopicFilter, tmp_path: Path) -> None:
    gate_of_lighthouse.save(tmp_path / "gate.skops")
    command = [sys.executable, "-m", "gatekeeper", "try", "--gate", str(tmp_path / "gate.skops")]
    done = subprocess.run(
        [*command, "How high is Gull Rock Lighthouse?"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("let in: topic, score ")
    assert "(the subject is named)" in done.stdout
