"""Other people's words: shown as they are written, without links, on one line."""

from __future__ import annotations

import html

import pytest

from ui.words import LONGEST_UNBROKEN, literal, one_line, paragraphs, plain, typeset, unbroken


@pytest.mark.parametrize("text", ["<b>x</b>", "__x__ *y* `z`", "1. one\n2. two", "[a](b)", "a & b", "Bác Hồ, 1890?"])
def test_literal_means_nothing_to_markdown_and_looks_the_same(text: str) -> None:
    safe = literal(text)
    assert html.unescape(safe) == text
    assert not set(safe.replace("&#", "").replace(";", "")) & set("<>[]()*_`!&.#")


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("See [the letter](https://example.org/x).", "See the letter."),
        ("Look: ![pixel](https://example.org/p.png) here", "Look:  here"),
        ("At https://example.org/y, in 1911", "At , in 1911"),
        ("He wrote **The Path** in 1927.", "He wrote The Path in 1927."),
        ("2 * 3 * 4", "2 * 3 * 4"),
    ],
)
def test_answers_lose_links_and_marks(answer: str, shown: str) -> None:
    assert plain(answer) == shown


def test_a_question_is_one_line() -> None:
    assert one_line("  When\n\twas \x00 he\u202e born? ") == "When was he born?"


def test_short_names_stay_whole() -> None:
    assert unbroken("About Ho Chi Minh.", "Ho Chi Minh") == "About Ho\u00a0Chi\u00a0Minh."
    long = "The " + "x" * LONGEST_UNBROKEN
    assert unbroken(long, long) == long


def test_a_passage_is_paragraphs_without_marks() -> None:
    text = "# Head\n\nOne **bold** line\nand [more](https://example.org).\n\n- first\n- second\n"
    assert paragraphs(text) == ["Head", "One bold line and more.", "first second"]
    assert paragraphs("") == []


def test_no_line_begins_with_a_question_mark() -> None:
    assert typeset("Où est-il né ? À Hoang Tru !") == "Où est-il né\u00a0? À Hoang Tru\u00a0!"
    assert one_line(typeset("Où est-il né ?")) == "Où est-il né ?", "asked as the museum wrote it"
