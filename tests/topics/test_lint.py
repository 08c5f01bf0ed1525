"""What lint says of a topic folder: every fault by file and line, errors first."""

import json
from pathlib import Path
from typing import Any

import pytest

from topics.__main__ import main
from topics.lint import lint
from topics.topic import Topic, load_topic

GOOD: dict[str, Any] = {
    "id": "built",
    "lang": "en",
    "question": "When was the tower built?",
    "paraphrases": [{"text": "In what year did they put the tower up?", "register": "plain"}],
    "answer": "The tower was built in 1871 by forty men from the village.",
    "key": ["1871"],
    "source": "tower#building",
}


def museum(folder: Path, *rows: dict[str, Any], languages: str = '"en", "vi"') -> Topic:
    (folder / "sources").mkdir(exist_ok=True)
    (folder / "sources" / "tower.md").write_text("# Tower\n\n## Building\nIn 1871.\n")
    (folder / "topic.toml").write_text(f'id = "tower"\ntitle = "The Tower"\nlanguages = [{languages}]\n')
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (GOOD, *rows)))
    return load_topic(folder)


def said(text: str, *, held: bool = False) -> dict[str, Any]:
    return {"text": text, "register": "plain", "held": held}


def test_a_good_topic_is_clean(tmp_path: Path, lighthouse: Topic) -> None:
    assert lint(museum(tmp_path)) == []
    assert not [f for f in lint(lighthouse) if f.error]


OTHER = {**GOOD, "id": "other", "question": "Who climbed it first?", "paraphrases": []}


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ({**OTHER, "answer": "word " * 61 + "1871"}, True, "has 62 words and may have 60"),
        ({**OTHER, "key": ["1999"]}, True, "the key '1999' does not stand in the answer"),
        ({**OTHER, "key": []}, False, "names no key"),
        ({**OTHER, "answer": " ", "key": []}, True, "has no answer"),
        ({**OTHER, "source": ""}, False, "names no source"),
        ({**OTHER, "source": "garden#roses"}, True, "there is no sources/garden.md"),
        ({**OTHER, "source": "tower#cellar"}, True, "sources/tower.md has no section 'cellar'"),
        ({**OTHER, "lang": "de"}, True, "is in language 'de', and topic.toml lists en, vi"),
        ({**OTHER, "colour": "red"}, True, "colour: extra inputs are not permitted"),
        (GOOD, True, "fact 'built' in 'en' stands already at"),
        ({**OTHER, "question": "When was the tower built?"}, True, "also asks for fact 'built'"),
        (
            {**OTHER, "question": "When was the tower built?", "answer": "It was built in 1872.", "key": ["1872"]},
            True,
            "contradicts 'built'",
        ),
        ({**OTHER, "paraphrases": [said("the tower was built when")]}, False, "is close to 'When was the tower"),
        ({**OTHER, "paraphrases": [said("Who went up in 1931?")]}, False, "names 1931, which the fact does not"),
        ({**OTHER, "paraphrases": [said("who climbed it first")]}, False, "stands there twice"),
        (
            {**OTHER, "paraphrases": [said("Which man went up?"), said("which man went up", held=True)]},
            True,
            "'which man went up' is held out and 'Which man went up?' trained",
        ),
        (
            {**OTHER, "answer": "Ngọn tháp do bốn mươi người trong làng xây dựng vào năm 1871."},
            False,
            "seems to be in 'vi' and is marked 'en'",
        ),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_file_and_line(tmp_path: Path, row: dict[str, Any], error: bool, message: str) -> None:
    findings = [f for f in lint(museum(tmp_path, row)) if message in f.text]
    assert len(findings) == 1, message
    assert findings[0].error == error
    assert findings[0].text.startswith(f"{tmp_path.resolve() / 'questions.jsonl'}:2: ")


def test_numbers_keep_two_questions_apart(tmp_path: Path) -> None:
    one = {
        **OTHER,
        "paraphrases": [said("What happened to the lamp in 1912?")],
        "answer": "It broke in 1912, and in 1871.",
    }
    two = {**OTHER, "id": "two", "question": "Is it open?", "paraphrases": [said("What happened to the lamp in 1871?")]}
    assert not [f for f in lint(museum(tmp_path, one, two)) if "is close to" in f.text or "also asks" in f.text]


def test_near_misses_and_policies_are_read_too(tmp_path: Path) -> None:
    topic = museum(tmp_path)
    (tmp_path / "near_misses.jsonl").write_text('{"question": "when was the tower built"}\n{"qestion": "x"}\n')
    (tmp_path / "policy.jsonl").write_text(
        '{"id": "lost", "examples": ["help"], "answer": {"en": "Go to the desk."}}\n'
    )
    texts = "\n".join(f.text for f in lint(topic))
    assert "near_misses.jsonl:1: 'when was the tower built' asks for fact 'built'" in texts
    assert "near_misses.jsonl:2: question: field required" in texts
    assert "policy.jsonl:1: policy 'lost' has no answer in vi; write one" in texts


def test_the_command_ends_with_one_for_errors_and_nought_for_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    museum(tmp_path, {**OTHER, "source": ""})
    assert main(["lint", "--topic", str(tmp_path)]) == 0
    assert "0 errors, 1 warnings" in capsys.readouterr().out
    museum(tmp_path, {**OTHER, "key": ["1999"]})
    assert main(["lint", "--topic", str(tmp_path)]) == 1
    assert "1 errors" in capsys.readouterr().out
