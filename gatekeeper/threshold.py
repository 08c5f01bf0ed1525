"""From a classifier's probabilities to two cuts: who is let in, who is turned away, and who is asked back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]


class Platt(NamedTuple):
    """Sigmoid calibration (Platt 1999): the probability at the gallery's own mix of traffic."""

    slope: float = 1.0
    offset: float = 0.0

    @classmethod
    def fit(cls, probability: Floats, on: NDArray[np.bool_], weight: Floats) -> Platt:
        """`probability`, `on` and `weight` have shape (questions,); the weights sum to 1."""
        model = LogisticRegression(C=1e6).fit(logit(probability)[:, None], on, sample_weight=weight * len(on))
        return cls(float(model.coef_[0, 0]), float(model.intercept_[0]))

    def apply(self, probability: Floats) -> Floats:
        """Calibrated probabilities, shape (questions,)."""
        return np.asarray(1 / (1 + np.exp(-(self.slope * logit(probability) + self.offset))))


class Cuts(NamedTuple):
    """Scores below `turn_away` are turned away, from `let_in` on let in; between them the guide may ask back."""

    let_in: float
    turn_away: float


def cuts(score: Floats, on: NDArray[np.bool_], weight: Floats, false_refusals: float) -> Cuts:
    """The cuts for a false-refusal budget.

    `turn_away` is the highest score that turns away at most `false_refusals` of the on-topic questions. `let_in` is
    where letting in and not letting in cost the same at this mix: half (the reject option of Chow 1970), and never
    below `turn_away`.
    """
    turn_away = float(np.quantile(score[on], false_refusals, method="lower"))
    return Cuts(max(0.5, turn_away), min(turn_away, 0.5))


def logit(probability: Floats) -> Floats:
    """Log odds, kept finite."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p / (1 - p)))
