"""questions.jsonl and its kin: what is read, and what is said of a broken line."""

from collections import Counter
from pathlib import Path

import pytest

from topics.errors import QuestionsError, TopicError
from topics.lint import lint
from topics.questions import OffTopic, dataset_hash, read_off_topic, read_questions
from topics.topic import HERE, Topic, load_topic

GOOD = '{"id": "a", "question": "Who?", "answer": "Ada.", "lang": "en", "key": ["Ada"], "source": "x#y"}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "b", "question": ', "questions.jsonl:2: not JSON"),
        ('{"id": "b", "lang": "en"}', "questions.jsonl:2: question: field required"),
        (
            '{"id": "b", "question": "Q?", "anwser": "x"}',
            "questions.jsonl:2: anwser: extra inputs are not permitted; delete it, or mend",
        ),
        (
            '{"id": "b", "question": "Q?", "paraphrases": [{"text": "x", "register": "shout"}]}',
            "questions.jsonl:2: paraphrases.0.register",
        ),
        (GOOD, "questions.jsonl:2: fact 'a' in 'en' stands already in line 1; merge"),
        ("[]", "questions.jsonl:2: the line"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(f"{GOOD}\n{line}\n", encoding="utf-8")
    with pytest.raises(QuestionsError) as error:
        read_questions(file)
    assert message in str(error.value)


def test_a_missing_or_empty_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(QuestionsError, match="there is no such file"):
        read_questions(tmp_path / "questions.jsonl")
    (tmp_path / "questions.jsonl").write_text("\n")
    with pytest.raises(QuestionsError, match="no question in it"):
        read_questions(tmp_path / "questions.jsonl")
    (tmp_path / "questions.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(QuestionsError, match="not UTF-8"):
        read_questions(tmp_path / "questions.jsonl")


def test_an_off_topic_line_needs_a_question_alone(tmp_path: Path) -> None:
    (tmp_path / "off.jsonl").write_text('{"question": "Why is the sky blue?"}\n')
    assert read_off_topic(tmp_path / "off.jsonl", tmp_path / "near_misses.jsonl") == [
        OffTopic(question="Why is the sky blue?")
    ]


def test_the_dataset_hash_does_not_depend_on_order(lighthouse: Topic) -> None:
    rows = lighthouse.rows()
    assert dataset_hash(rows) == dataset_hash(rows[::-1])
    assert dataset_hash(rows) != dataset_hash(rows[1:])


def test_a_topic_needs_three_lines_only(tmp_path: Path) -> None:
    (tmp_path / "topic.toml").write_text('id = "x"\ntitle = "The Sea"\nlanguages = ["en"]\n')
    topic = load_topic(tmp_path)
    assert "The Sea" in topic.text("greeting", "en")
    assert "The Sea" in topic.persona


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("id = ", "not valid TOML"),
        ('id = "x"\ntitle = "T"\n', "languages: field required"),
        ('id = "x"\ntitle = "T"\nlanguages = ["xx"]\n', "no texts for language 'xx'"),
        ('id = "x"\ntitle = "T"\nlanguages = ["en"]\ntitel = "T"\n', "titel: extra inputs"),
    ],
)
def test_a_wrong_topic_says_what_to_change(tmp_path: Path, toml: str, message: str) -> None:
    (tmp_path / "topic.toml").write_text(toml)
    with pytest.raises(TopicError) as error:
        load_topic(tmp_path)
    assert message in str(error.value)


def test_an_unknown_topic_lists_the_known_ones() -> None:
    with pytest.raises(TopicError, match="ho_chi_minh"):
        load_topic("atlantis")


def test_the_default_topic_is_clean_and_large_enough() -> None:
    topic = load_topic("ho_chi_minh")
    rows = topic.rows()
    taught = [r for r in rows if not r.held]
    assert not [f for f in lint(topic) if f.error]
    assert not [r.id for r in rows if r.draft]
    facts = Counter(r.lang for r in taught)
    assert facts["en"] >= 720 and facts["vi"] >= 200 and facts["fr"] >= 80 and facts["zh"] >= 80 and facts["es"] >= 40
    assert len({r.id for r in rows if r.held}) >= 40
    assert all(len(r.wordings()) >= (9 if r.lang == "en" else 5) for r in taught), "the question and its paraphrases"
    assert all(len(r.wordings(held=True)) == 2 for r in taught)
    for row in rows:
        article, _, _ = row.source.partition("#")
        assert (topic.folder / "sources" / f"{article}.md").is_file()
    off_topic = Counter(o.kind for o in read_off_topic(HERE / "off_topic.jsonl"))
    assert off_topic.total() >= 6000 and off_topic["visit"] >= 300 and off_topic["attack"] >= 600
    assert len(read_off_topic(topic.folder / "near_misses.jsonl")) >= 1500
    ids = {r.id for r in taught}
    assert set(topic.suggestions) <= ids


def test_a_second_museum_is_clean_and_stands_on_its_own() -> None:
    topic = load_topic("marie_curie")
    rows = topic.rows()
    assert not [f for f in lint(topic) if f.error]
    assert len({r.id for r in rows}) >= 120
    assert {r.id for r in rows if r.lang == "en"} == {r.id for r in rows if r.lang == "fr"}
    assert set(topic.suggestions) <= {r.id for r in rows}
    assert all(r.source for r in rows)
    assert all(len(r.wordings(held=True)) == 2 for r in rows)


def test_every_language_has_the_same_texts() -> None:
    import tomllib

    tables = {f.stem: tomllib.loads(f.read_text(encoding="utf-8")) for f in (HERE / "texts").glob("*.toml")}
    assert len(tables) >= 2
    for language, table in tables.items():
        assert table.keys() == tables["en"].keys(), language


def test_the_held_out_set_is_the_frozen_one() -> None:
    """Wordings that measure must not follow what is measured; changing them is a decision, with a new hash."""
    import hashlib

    topic = load_topic("ho_chi_minh")
    held = [
        f"{row.id} {row.lang} {wording}"
        for row in topic.rows()
        for wording in (row.wordings() if row.held else row.wordings(held=True))
    ]
    digest = hashlib.sha256("\n".join(sorted(held)).encode()).hexdigest()
    assert digest in (topic.folder.parents[1] / "docs" / "content-review.md").read_text(encoding="utf-8")
