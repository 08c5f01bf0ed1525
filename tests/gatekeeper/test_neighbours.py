"""The nearest known question, by rare n-grams."""

import numpy as np
from scipy.sparse import csr_matrix

from gatekeeper.neighbours import Neighbours

# The first n-gram stands in every question and so does not count.
TABLE = np.array([[9, 3, 4, 0], [9, 3, 0, 0], [9, 0, 4, 0], [9, 0, 0, 2], [9, 0, 0, 0]], dtype=np.float32)
OURS = np.array([True, True, False, True, False])


def test_common_ngrams_do_not_count_and_the_rest_is_a_cosine() -> None:
    table = csr_matrix(TABLE)
    known = Neighbours.fit(table, OURS)
    assert known.rare.tolist() == [False, True, True, True]
    np.testing.assert_allclose(known.nearest(table), [[1, 0.8], [1, 0], [0.8, 1], [1, 0], [0, 0]], atol=1e-3)
    assert (table.toarray() == TABLE).all()


def test_no_question_is_its_own_neighbour_nor_that_of_its_fact() -> None:
    table = csr_matrix(TABLE)
    known = Neighbours.fit(table, OURS)
    near = known.nearest_but_own(table, OURS, ["a", "a", None, "b", None])
    np.testing.assert_allclose(near, [[0, 0.8], [0, 0], [0.8, 0], [0, 0], [0, 0]], atol=1e-3)
    near = known.nearest_but_own(table, OURS, ["a", "b", None, "c", None])
    np.testing.assert_allclose(near[:2], [[0.6, 0.8], [0.6, 0]], atol=1e-3)


def test_what_is_stored_finds_the_same() -> None:
    table = csr_matrix(TABLE)
    known = Neighbours.fit(table, OURS)
    assert (Neighbours.from_state(known.state()).nearest(table) == known.nearest(table)).all()
