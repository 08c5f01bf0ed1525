"""An optional second opinion for doubtful questions, from a local sentence-embedding model.

The first stage knows words, the second meaning. It is asked only where the first is in doubt, because it costs several
milliseconds. Without a model the gate decides as if this file did not exist. `docs/decisions/0011-second-opinion.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from gatekeeper.threshold import logit

Floats = NDArray[np.float64]
Encoder = Callable[[Sequence[str]], NDArray[np.float32]]
"""Questions to vectors of length one, shape (questions, dimensions)."""
SURE = 0.95
"""First-stage scores from which no second opinion is asked for."""


def load_encoder(folder: Path) -> Encoder:
    """A sentence-transformers model from a local folder. Raises FileNotFoundError when there is none."""
    if not (folder / "modules.json").is_file():
        raise FileNotFoundError(
            f"{folder}: no modules.json, so this is not a sentence-transformers model; give the folder of one"
        )
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)

    def encode(questions: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(model.encode(list(questions), normalize_embeddings=True, show_progress_bar=False))

    return encode


class SecondStage(NamedTuple):
    """Logistic regression on embeddings, and how its score and the first stage's make one."""

    weights: Floats
    """Shape (dimensions,)."""
    intercept: float
    first: float
    second: float
    offset: float

    @classmethod
    def fit(
        cls,
        embeddings: NDArray[np.float32],
        on: NDArray[np.bool_],
        groups: NDArray[Any],
        first_scores: Floats,
        *,
        weight: Floats,
        traffic: Floats,
        seed: int = 0,
    ) -> SecondStage:
        """All arrays have one row per question; `first_scores` are out of fold, and so are the ones they meet here."""
        alone = np.zeros(len(on))
        for train, test in GroupKFold(5, shuffle=True, random_state=seed).split(on, on, groups):
            alone[test] = (
                _model()
                .fit(embeddings[train], on[train], sample_weight=weight[train])
                .decision_function(embeddings[test])
            )
        both = LogisticRegression(C=1e3).fit(
            np.column_stack([logit(first_scores), alone]), on, sample_weight=traffic * len(on)
        )
        whole = _model().fit(embeddings, on, sample_weight=weight)
        return cls(
            whole.coef_[0], float(whole.intercept_[0]), float(both.coef_[0, 0]), float(both.coef_[0, 1]),
            float(both.intercept_[0]),
        )  # fmt: skip

    def apply(self, first_scores: Floats, embeddings: NDArray[np.float32]) -> Floats:
        """Scores that weigh both opinions, shape (questions,)."""
        alone = embeddings @ self.weights + self.intercept
        return np.asarray(1 / (1 + np.exp(-(self.first * logit(first_scores) + self.second * alone + self.offset))))


def _model() -> LogisticRegression:
    return LogisticRegression(C=10.0, max_iter=500)
