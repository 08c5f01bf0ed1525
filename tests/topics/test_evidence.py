"""The nearest museum facts."""

from pathlib import Path

import pytest

from topics.calibration import calibrate
from topics.errors import TopicError
from topics.evidence import Evidence
from topics.topic import Topic


@pytest.fixture(scope="module")
def evidence(lighthouse: Topic) -> Evidence:
    rows = lighthouse.rows()
    return Evidence(lighthouse, rows, calibrate(lighthouse, rows))


@pytest.mark.parametrize(
    ("question", "language", "fact"),
    [
        ("What did they name the cat?", "en", "cat"),
        ("how tall is gull rock in metres", "en", "height"),
        ("con mèo tên gì vậy", "vi", "cat"),
        ("thap cao may met", "vi", "height"),
    ],
)
def test_the_nearest_fact_comes_first(evidence: Evidence, question: str, language: str, fact: str) -> None:
    assert evidence.search(question, language)[0].row.id == fact


def test_every_museum_wording_is_found_with_certainty(evidence: Evidence) -> None:
    for row in evidence.rows:
        for wording in row.wordings():
            match = evidence.search(wording, row.lang)[0]
            assert (match.row.id, match.confidence) == (row.id, 1.0)


def test_a_question_is_answered_in_the_language_asked_for(evidence: Evidence) -> None:
    match = evidence.search("What was the cat called?", "vi")[0]
    assert match.row.lang == "vi" and match.row.id == "cat"


def test_a_fact_missing_in_the_language_is_never_replaced_by_another(evidence: Evidence) -> None:
    matches = evidence.search("Who was the first keeper of Gull Rock Lighthouse?", "vi")
    assert matches[0].confidence == 0.0
    assert all(m.row.lang == "vi" for m in matches)


def test_held_out_wordings_and_facts_are_not_in_the_index(evidence: Evidence, lighthouse: Topic) -> None:
    held = {w for r in lighthouse.rows() for w in (r.wordings() if r.held else r.wordings(held=True))}
    assert held and not [w for w in held if evidence.exact(w, "en")]
    assert "storm" not in {r.id for r in evidence.rows}


def test_it_is_stored_without_code_and_gives_the_same_answers(
    evidence: Evidence, lighthouse: Topic, tmp_path: Path
) -> None:
    evidence.save(tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {"facts.jsonl", "evidence.json", "evidence.npz"}
    again = Evidence.load(lighthouse, tmp_path)
    assert again.search("who built it", "en") == evidence.search("who built it", "en")


@pytest.mark.parametrize("question", ["", "?", "😀😀", "\u200b", "a" * 5000, "xyzzy qwrt"])
def test_any_text_gets_an_answer_and_no_certainty(evidence: Evidence, question: str) -> None:
    assert all(m.confidence < 0.9 for m in evidence.search(question, "en"))


def test_facts_changed_by_hand_in_a_release_are_refused(evidence: Evidence, lighthouse: Topic, tmp_path: Path) -> None:
    evidence.save(tmp_path)
    facts = tmp_path / "facts.jsonl"
    facts.write_text(facts.read_text(encoding="utf-8").replace("Biscuit", "Bosun"), encoding="utf-8")
    with pytest.raises(TopicError, match=r"not the facts that evidence.npz was made of.*make publish-facts"):
        Evidence.load(lighthouse, tmp_path)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off"])
def test_a_damaged_index_is_refused_with_the_command_that_mends_it(
    evidence: Evidence, lighthouse: Topic, tmp_path: Path, damage: bytes
) -> None:
    evidence.save(tmp_path)
    (tmp_path / "evidence.npz").write_bytes(damage)
    with pytest.raises(TopicError, match="not a whole index.*make publish-facts"):
        Evidence.load(lighthouse, tmp_path)
