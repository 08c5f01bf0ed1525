"""Spelling differences that must not count."""

import pytest

from topics.text import contains, fold, normalise


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Nghệ An", "nghe an"),
        ("ĐIỆN BIÊN PHỦ", "dien bien phu"),
        ("H\u043e Chi Minh", "ho chi minh"),
        ("a\u200bb", "ab"),
    ],
)
def test_accents_case_and_lookalikes_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_normalise_leaves_words_only() -> None:
    assert normalise("  Where, exactly,\nwas HE born?! ") == "where exactly was he born"


@pytest.mark.parametrize(
    ("text", "key", "there"),
    [
        ("He was born in 1890.", "1890", True),
        ("He was born in 18901.", "1890", False),
        ("on 19 May", "1969", False),
        ("in 1969", "19", False),
        ("in Nghệ An province", "Nghe An", True),
        ("photographs were retouched", "retouch", True),
        ("the annals", "an", False),
    ],
)
def test_a_key_is_found_as_words(text: str, key: str, there: bool) -> None:
    assert contains(text, key) is there
