"""Which examples stand in a prompt before the question: any, some of like length, or the nearest."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from training.errors import RecipeError

WAYS = ("random", "length", "nearest")


class Pair(NamedTuple):
    """A question and the answer that is right."""

    question: str
    answer: str
    lang: str = ""


Nearest = Callable[[Pair, int], list[Pair]]
"""The so many pairs that are most like one, the most alike first."""


class Shelf:
    """Question-answer pairs to take examples from."""

    def __init__(self, pairs: Sequence[Pair], nearest: Nearest, *, seed: int) -> None:
        self.nearest, self.seed = nearest, seed
        self._by_lang: dict[str, list[Pair]] = {}
        for pair in pairs:
            self._by_lang.setdefault(pair.lang, []).append(pair)

    def check(self, asked: Sequence[Pair], most: int) -> None:
        """Raises RecipeError where a language has fewer examples than are asked for."""
        for lang in dict.fromkeys(pair.lang for pair in asked):
            if (there := len(self._by_lang.get(lang, []))) < most:
                raise RecipeError(
                    f"there are {there} examples{f' in {lang}' if lang else ''}, and --k asks for {most}; "
                    "give a lower --k, or more facts"
                )

    def choose(self, way: str, asked: Pair, count: int) -> list[Pair]:
        """`count` examples in the language of the question, the best one last: that is read just before it.

        More examples are the fewer ones and others, so that k alone is varied.
        """
        if way == "nearest":
            best = self.nearest(asked, count)
        else:
            best = self._by_lang[asked.lang].copy()
            random.Random(f"{self.seed} {asked.question}").shuffle(best)
            if way == "length":
                best.sort(key=lambda pair: abs(len(pair.question) - len(asked.question)))
        return best[:count][::-1]


def by_spelling(pairs: Sequence[Pair]) -> Nearest:
    """Likeness by pieces of words (TF-IDF): for pairs that have no index of their own."""
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    known = pieces.fit_transform([pair.question for pair in pairs])

    def nearest(asked: Pair, count: int) -> list[Pair]:
        alike = (known @ pieces.transform([asked.question]).T).toarray().ravel()
        return [pairs[i] for i in np.argsort(-alike, kind="stable")[:count]]

    return nearest
