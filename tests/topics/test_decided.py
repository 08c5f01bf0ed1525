"""Decided answers: a visitor in need, loaded questions, the visit."""

from pathlib import Path

import pytest

from topics.decided import Decided
from topics.topic import Topic


@pytest.fixture(scope="module")
def decided(lighthouse: Topic) -> Decided:
    return Decided.of_topic(lighthouse, lighthouse.rows())


@pytest.mark.parametrize(
    ("question", "policy"),
    [
        ("i cant find my mum!!", "lost_child"),
        ("My little boy has disappeared", "lost_child"),
        ("was the keeper a drunk?", "keeper_a_drunk"),
        ("How high is Gull Rock Lighthouse?", None),
        ("What is the capital of Mongolia?", None),
        ("", None),
    ],
)
def test_the_nearest_example_decides(decided: Decided, question: str, policy: str | None) -> None:
    found = decided.match(question)
    assert (found.id if found else None) == policy


@pytest.mark.parametrize(
    ("question", "language", "words"),
    [
        ("When do you open on Sundays?", "en", "opening hours"),
        ("Where are the toilets, please?", "en", "toilets"),
        ("Where are the toilets, please?", "fr", "toilettes"),
        ("may i take photos with flash", "en", "pictures"),
        ("nhà vệ sinh ở đâu", "vi", "nhà vệ sinh"),
    ],
)
def test_the_visit_is_answered_by_subject_and_language(
    decided: Decided, question: str, language: str, words: str
) -> None:
    assert words in decided.visit(question, language)


def test_a_topic_says_its_own_hours(lighthouse: Topic) -> None:
    ours = lighthouse.model_copy(update={"visit": {"en": {"hours": "The lighthouse is open from ten to four."}}})
    assert (
        Decided.of_topic(ours).visit("When do you open on Sundays?", "en") == "The lighthouse is open from ten to four."
    )


def test_a_release_keeps_them(decided: Decided, lighthouse: Topic, tmp_path: Path) -> None:
    decided.save(tmp_path)
    again = Decided.load(lighthouse, tmp_path)
    assert again.policies == decided.policies and again.visits == decided.visits
    for question in ("My little boy has disappeared", "How high is Gull Rock Lighthouse?"):
        assert again.match(question) == decided.match(question)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file"])
def test_a_damaged_file_is_refused(decided: Decided, lighthouse: Topic, tmp_path: Path, damage: bytes) -> None:
    decided.save(tmp_path)
    (tmp_path / "decided.npz").write_bytes(damage)
    with pytest.raises(ValueError, match="decided.npz"):
        Decided.load(lighthouse, tmp_path)


def test_every_museum_helps_a_visitor_in_need(decided: Decided) -> None:
    found = decided.match("someone has fainted next to the glass case")
    assert found and found.help and set(found.answer) >= {"en", "vi", "fr", "zh", "es"}


def test_a_topics_own_row_replaces_the_shared_one(decided: Decided) -> None:
    assert [p.id for p in decided.policies].count("lost_child") == 1
    assert decided.match("I can't find my mum").answer["en"] == "Please go to the nearest member of staff."  # type: ignore[union-attr]


def test_a_topic_without_policies_decides_nothing(lighthouse: Topic) -> None:
    assert Decided(lighthouse, [], []).match("I can't find my mum") is None
    assert Decided(lighthouse, [], []).visit("When do you open?", "en")
