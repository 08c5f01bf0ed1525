"""What the measures of a match are worth, learned from the museum's own wordings.

Each wording is left out once, and in each round whole facts as well, so that new wordings and questions without an
answer are both seen. From them come the order of the facts, the probability that the first is right (Platt 1999), and
the cut-offs, which are chosen by what they cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from topics.evidence import Confidence, signals
from topics.matching import Floats, Index, Nearest
from topics.questions import Row
from topics.topic import Topic

ROUNDS = 5
MOST = 4000
"""Left-out wordings that are asked at most; more change nothing but the time."""
_RANKED = 20
"""Facts per wording from which the order is learned."""


class _Asked(NamedTuple):
    """A left-out wording."""

    near: Nearest
    right: NDArray[np.bool_]
    """Which of the near facts it asks for, shape (facts,)."""
    absent: bool
    """Whether its fact was left out as well."""


def calibrate(
    topic: Topic,
    rows: Sequence[Row],
    *,
    wrong_sure: float = 0.02,
    wrong_told: float = 0.04,
    told_without_fact: float = 0.15,
    seed: int = 0,
) -> Confidence:
    """The confidence of a topic's facts; the standing one where there are too few to learn from.

    `sure` is the lowest probability above which at most `wrong_sure` of the matches are wrong. `likely` is the lowest
    at which at most `wrong_told` of the questions that have an answer are told another one, and at most
    `told_without_fact` of those that have none are told one.
    """
    asked = _left_out(topic, [r for r in rows if not r.held], np.random.default_rng(seed))
    found = np.concatenate([a.right[:_RANKED] for a in asked]) if asked else np.zeros(0, dtype=bool)
    if len(set(found)) < 2:
        return Confidence()
    tables = np.vstack([a.near.table[:_RANKED] for a in asked])
    ranker = LogisticRegression(C=10, max_iter=1000).fit(tables, found).coef_[0]
    scores = [np.asarray(a.near.table @ ranker) for a in asked]
    right = np.array([a.right[s.argmax()] for a, s in zip(asked, scores, strict=True)])
    seen = np.array([signals(a.near, s) for a, s in zip(asked, scores, strict=True)])
    model = LogisticRegression(C=10, max_iter=1000).fit(seen, right)
    probability = model.predict_proba(seen)[:, 1]
    absent = np.array([a.absent for a in asked])
    return Confidence(
        ranker=tuple(map(float, ranker)),
        weights=tuple(map(float, model.coef_[0])),
        intercept=float(model.intercept_[0]),
        sure=_precise(probability, right, wrong_sure),
        likely=max(
            _quiet(probability[~absent], right[~absent], wrong_told),
            _quiet(probability[absent], right[absent], told_without_fact),
        ),
    )


def _left_out(topic: Topic, rows: Sequence[Row], chance: np.random.Generator) -> list[_Asked]:
    every = sum(not w.held for r in rows for w in r.paraphrases)
    share = min(1.0, MOST / max(every, 1))
    asked: list[_Asked] = []
    for fold in range(ROUNDS):
        missing = {r.id for r in rows if chance.random() < 1 / 6}
        kept, questions = [], []
        for row in rows:
            out = {i for i, w in enumerate(row.paraphrases) if i % ROUNDS == fold and not w.held}
            questions += [(row.paraphrases[i].text, row) for i in sorted(out) if chance.random() < share]
            if row.id not in missing:
                rest = tuple(w for i, w in enumerate(row.paraphrases) if i not in out)
                kept.append(row.model_copy(update={"paraphrases": rest}))
        if not kept:
            continue
        ids = np.array([r.id for r in kept])
        index = Index.fit(kept, topic.match_text)
        for text, row in questions:
            near = index.nearest(text, row.lang)
            if len(near.rows):
                asked.append(_Asked(near, ids[near.rows] == row.id, row.id in missing))
    return asked


def _precise(probability: Floats, right: NDArray[np.bool_], wrong: float) -> float:
    """The lowest probability above which at most a share `wrong` of the matches is wrong."""
    order = np.argsort(-probability)
    share = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share <= wrong)
    return float(probability[order[good[-1]]]) if len(good) else 1.0


def _quiet(probability: Floats, right: NDArray[np.bool_], wrong: float) -> float:
    """The lowest probability above which the wrong matches are at most a share `wrong` of all questions."""
    order = np.argsort(-probability)
    good = np.flatnonzero(np.cumsum(~right[order]) <= wrong * len(order))
    return float(probability[order[good[-1]]]) if len(good) else 1.0
