"""How near a question is to each fact, and the language it is asked in."""

import numpy as np
import pytest

from topics.evidence import Confidence
from topics.language import LanguageGuess
from topics.matching import MEASURES, Index
from topics.topic import Topic


@pytest.fixture(scope="module")
def index(lighthouse: Topic) -> Index:
    return Index.fit(lighthouse.rows(), lighthouse.match_text)


def test_measures_are_shares_and_those_beside_them_distances_from_the_best(index: Index) -> None:
    rows, table = index.nearest("Who built the tower, and of which stone?", "en")
    assert table.shape == (len(rows), 2 * len(MEASURES))
    assert 0 <= table[:, : len(MEASURES)].min() and table[:, : len(MEASURES)].max() <= 1.0001
    assert table[:, len(MEASURES) :].max() == 0


@pytest.mark.parametrize("question", ["", "?", "\u200b", "xyzzy", "word " * 3000])
def test_any_text_can_be_measured(index: Index, question: str) -> None:
    near = index.nearest(question, "en")
    assert np.isfinite(near.table).all()
    assert 0 <= Confidence().of(near) <= 1


def test_a_language_without_facts_has_nothing_near(index: Index) -> None:
    assert not len(index.nearest("Who built it?", "xx").rows)


def test_an_index_stored_as_arrays_measures_the_same(index: Index, lighthouse: Topic) -> None:
    again = Index.from_arrays(index.arrays(), lighthouse.match_text)
    for question, language in (("who made the lamp", "en"), ("thap cao may met", "vi")):
        assert np.array_equal(index.nearest(question, language).table, again.nearest(question, language).table)


def test_the_language_is_guessed_alike_after_storing(lighthouse: Topic) -> None:
    guess = LanguageGuess.fit(lighthouse.rows())
    again = LanguageGuess.from_arrays(guess.arrays())
    for text, language in (("How high is the tower?", "en"), ("Tháp cao bao nhiêu mét?", "vi")):
        assert guess.guess(text, "en") == again.guess(text, "en") == language
    assert guess.guess("  ", "vi") == "vi"
