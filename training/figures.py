"""Figures of answers, each with its 95 % interval: shares, BLEU and chrF, what is recited, what is said twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import sacrebleu
from scipy.stats import bootstrap

from topics.text import comparable

_RESAMPLES = 500
_FEW_RESAMPLES = 200
_RECITED = 4
"""Words in a row that are taken for recited; two or three stand in any two texts on a subject."""
_REPEATED = 3


class Interval(NamedTuple):
    """Where a figure lies with a probability of 95 %."""

    low: float
    high: float


def mean_with_interval(values: Iterable[float]) -> tuple[float, Interval]:
    """The mean of independent values, one for each question, and its bootstrap interval."""
    data = np.fromiter(values, dtype=float)
    mean = float(data.mean())
    if len(data) < 2 or np.ptp(data) == 0:
        return mean, Interval(mean, mean)
    found = bootstrap((data,), np.mean, n_resamples=_RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return mean, Interval(float(found.confidence_interval.low), float(found.confidence_interval.high))


def bleu_and_chrf(said: Sequence[str], wanted: Sequence[str]) -> dict[str, Any]:
    """Corpus scores from 0 to 100 as sacrebleu takes them, with bootstrap intervals.

    Chinese characters count as words of their own; other scripts are divided as ever.
    """
    figures: dict[str, Any] = {}
    for name, metric in (("bleu", sacrebleu.BLEU(tokenize="zh")), ("chrf", sacrebleu.CHRF())):
        score, middle, half = _scored(metric, list(said), list(wanted))
        figures[name] = round(score, 2)
        figures[f"{name}_interval"] = [round(max(middle - half, 0), 2), round(min(middle + half, 100), 2)]
    return figures


def _scored(metric: Any, said: list[str], wanted: list[str]) -> tuple[float, float, float]:
    """The score, and middle and half width of its interval."""
    try:
        score = metric.corpus_score(said, [wanted], n_bootstrap=_RESAMPLES)
    except TypeError:
        # sacrebleu cannot average resamples of which some score exactly 0 (an int among float32).
        score = metric.corpus_score(said, [wanted]).score
        chance = np.random.default_rng(0)
        draws = (chance.integers(len(said), size=len(said)) for _ in range(_FEW_RESAMPLES))
        again = [metric.corpus_score([said[i] for i in d], [[wanted[i] for i in d]]).score for d in draws]
        low, high = np.percentile(again, [2.5, 97.5])
        return score, float(low + high) / 2, float(high - low) / 2
    stated = json.loads(score.format(signature=metric.get_signature().format(), is_json=True))
    return score.score, stated.get("confidence_mean", score.score), stated.get("confidence_var", 0.0)


def sentence_bleu(said: Sequence[str], wanted: Sequence[str]) -> float:
    """The mean of sentence BLEU, from 0 to 100: the figure of the published study."""
    metric = sacrebleu.BLEU(tokenize="zh", effective_order=True)
    return float(np.mean([metric.sentence_score(s, [w]).score for s, w in zip(said, wanted, strict=True)]))


class Recited:
    """What stands in the training data, to find it in answers again."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._known = {gram for text in texts for gram in _grams(text, _RECITED)}

    def share(self, answers: Iterable[str]) -> float:
        """The share of the answers' runs of four words that stand in the training data; 0 where there are none."""
        grams = [gram for answer in answers for gram in _grams(answer, _RECITED)]
        return sum(gram in self._known for gram in grams) / max(len(grams), 1)


def repetition(answers: Iterable[str]) -> float:
    """The share of runs of three words that the same answer had said before; 0 where there are none."""
    said = [_grams(answer, _REPEATED) for answer in answers]
    total = sum(map(len, said))
    return 1 - sum(len(set(grams)) for grams in said) / total if total else 0.0


def words(text: str) -> int:
    """How many words; a Chinese character is one."""
    return len(comparable(text).split())


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    said = comparable(text).split()
    return [tuple(said[i : i + n]) for i in range(len(said) - n + 1)]
