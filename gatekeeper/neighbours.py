"""How near a question comes to the nearest known question of the museum's, and to the nearest of others'.

A linear model weighs n-grams one by one; a neighbour weighs them together (Cover and Hart 1967).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize

COMMON = 0.01
"""N-grams in more than this share of the questions are left out: they tell little and cost most of the time."""


class Neighbours:
    """Known questions, by their rarer n-grams."""

    def __init__(self, rare: NDArray[Any], ours: csr_matrix, others: csr_matrix) -> None:
        """`rare` are the columns that count; `ours` and `others` are n-grams by questions."""
        self.rare, self.ours, self.others = rare, ours, others

    @classmethod
    def fit(cls, table: csr_matrix, ours: NDArray[np.bool_]) -> Neighbours:
        """`table` has shape (questions, n-grams), `ours` (questions,)."""
        rare = np.flatnonzero(np.diff(table.tocsc().indptr) <= max(COMMON * table.shape[0], 2)).astype(np.int32)
        known = normalize(table[:, rare])
        # As they are stored: a gate that was saved must decide as before.
        known.data = known.data.astype(np.float16).astype(np.float32)
        return cls(rare, known[ours].T.tocsr(), known[~ours].T.tocsr())

    def nearest(self, table: csr_matrix) -> NDArray[np.float32]:
        """Cosine with the nearest of ours and with the nearest of others', shape (questions, 2)."""
        seen = normalize(table[:, self.rare])
        return np.column_stack([_highest(seen @ self.ours), _highest(seen @ self.others)])

    def nearest_but_own(
        self, table: csr_matrix, ours: NDArray[np.bool_], facts: Sequence[str | None]
    ) -> NDArray[np.float32]:
        """The same for the questions of `fit`, none of which may be its own neighbour, nor that of its fact."""
        numbers = {fact: i for i, fact in enumerate(dict.fromkeys(facts)) if fact is not None}
        group = np.array([numbers.get(f, len(numbers) + i) if f else len(numbers) + i for i, f in enumerate(facts)])
        seen = normalize(table[:, self.rare])
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


def _highest(
    cosines: csr_matrix, rows: NDArray[Any] | None = None, columns: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """The highest of each row, those left out whose row and column are of one group."""
    cosines = cosines.tocsr()
    if rows is not None and columns is not None:
        row_of = np.repeat(rows, np.diff(cosines.indptr))
        cosines.data[row_of == columns[cosines.indices]] = 0
    if not cosines.shape[1]:
        return np.zeros(cosines.shape[0], dtype=np.float32)
    return np.asarray(cosines.max(axis=1).toarray()).ravel().astype(np.float32)
