"""How near a question comes to the nearest known question of the museum's, and to the nearest of others'.

A linear model weighs n-grams one by one; a neighbour weighs them together (Cover and Hart 1967).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

COMMON = 0.01
"""N-grams in more than this share of the questions are left out: they tell little and cost most of the time."""


class Neighbours:
    """Known questions, by their rarer n-grams."""

    def __init__(self, rare: NDArray[np.bool_], ours: csr_matrix, others: csr_matrix) -> None:
        """`rare` (n-grams,) says which count; `ours` and `others` are n-grams by questions, the common ones empty."""
        self.rare, self.ours, self.others = rare, ours, others

    @classmethod
    def fit(cls, table: csr_matrix, ours: NDArray[np.bool_]) -> Neighbours:
        """`table` has shape (questions, n-grams), `ours` (questions,)."""
        rare = np.diff(table.tocsc().indptr) <= max(COMMON * table.shape[0], 2)
        known = _of_length_one(table, rare)
        # As they are stored: a gate that was saved must decide as before.
        known.data = known.data.astype(np.float16).astype(np.float32)
        return cls(rare, known[ours].T.tocsr(), known[~ours].T.tocsr())

    def nearest(self, table: csr_matrix) -> NDArray[np.float32]:
        """Cosine with the nearest of ours and with the nearest of others', shape (questions, 2)."""
        seen = _of_length_one(table, self.rare)
        return np.column_stack([_highest(seen @ self.ours), _highest(seen @ self.others)])

    def nearest_but_own(
        self, table: csr_matrix, ours: NDArray[np.bool_], facts: Sequence[str | None]
    ) -> NDArray[np.float32]:
        """The same for the questions of `fit`, none of which may be its own neighbour, nor that of its fact."""
        numbers = {fact: i for i, fact in enumerate(dict.fromkeys(facts)) if fact is not None}
        group = np.array([numbers.get(f, len(numbers) + i) if f else len(numbers) + i for i, f in enumerate(facts)])
        seen = _of_length_one(table, self.rare)
        return np.column_stack(
            [_highest(seen @ self.ours, group, group[ours]), _highest(seen @ self.others, group, group[~ours])]
        )

    def state(self) -> dict[str, Any]:
        """What is known, as plain arrays."""
        stored: dict[str, Any] = {"rare": self.rare}
        for name, matrix in (("ours", self.ours), ("others", self.others)):
            stored[name] = {
                "data": matrix.data.astype(np.float16),
                "indices": matrix.indices.astype(np.int32),
                "indptr": matrix.indptr.astype(np.int32),
                "shape": list(matrix.shape),
            }
        return stored

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Neighbours:
        """As `state` gave it. Raises KeyError or ValueError when something is missing."""
        known = (
            csr_matrix((m["data"].astype(np.float32), m["indices"], m["indptr"]), shape=tuple(m["shape"]))
            for m in (state["ours"], state["others"])
        )
        return cls(state["rare"], *known)


def _of_length_one(table: csr_matrix, rare: NDArray[np.bool_]) -> csr_matrix:
    """The rows by their rare n-grams alone. Picking columns or scikit-learn's `normalize` would cost a third of a
    millisecond a question each."""
    keep = rare[table.indices]
    rows = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))[keep]
    data = table.data[keep]
    length = np.sqrt(np.bincount(rows, data.astype(np.float64) ** 2, table.shape[0]))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=table.shape[0]))]).astype(np.int32)
    return csr_matrix(((data / length[rows]).astype(np.float32), table.indices[keep], starts), table.shape)


def _highest(
    cosines: csr_matrix, rows: NDArray[Any] | None = None, columns: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """The highest of each row, those left out whose row and column are of one group."""
    if rows is not None and columns is not None:
        row_of = np.repeat(rows, np.diff(cosines.indptr))
        cosines.data[row_of == columns[cosines.indices]] = 0
    best = np.zeros(cosines.shape[0], dtype=np.float32)
    filled = np.diff(cosines.indptr) > 0
    if filled.any():
        best[filled] = np.maximum.reduceat(cosines.data, cosines.indptr[:-1][filled])
    return best
