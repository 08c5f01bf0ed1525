"""In which of the topic's languages a question is written: logistic regression on letters, learned from the facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from topics.ngrams import Arrays
from topics.questions import Row
from topics.vectors import QuickVectors


class LanguageGuess:
    """Accents count here; a topic in one language needs no guess."""

    def __init__(self, languages: Sequence[str], letters: TfidfVectorizer, weights: Any, bias: Any) -> None:
        """`weights` (languages, features) and `bias` (languages,) as `fit` learns them."""
        self._languages, self._letters, self._weights, self._bias = list(languages), letters, weights, bias
        self._quick = QuickVectors(letters)

    @classmethod
    def fit(cls, rows: Sequence[Row]) -> LanguageGuess:
        """Learns from all wordings and answers."""
        texts = [w for r in rows for w in (*r.wordings(), r.answer)]
        said_in = [r.lang for r in rows for _ in (*r.wordings(), r.answer)]
        letters = cls._vectorizer()
        table = letters.fit_transform(texts)
        languages = sorted(set(said_in))
        if len(languages) == 1:
            return cls(languages, letters, np.zeros((1, table.shape[1]), np.float32), np.zeros(1))
        model = LogisticRegression(C=20, class_weight="balanced", max_iter=300).fit(table, said_in)
        weights, bias = model.coef_, model.intercept_
        if len(languages) == 2:  # one boundary, seen from the second language
            weights, bias = np.vstack([-weights, weights]), np.concatenate([-bias, bias])
        return cls([str(c) for c in model.classes_], letters, weights.astype(np.float32), bias)

    def guess(self, text: str, otherwise: str) -> str:
        """The likeliest language; `otherwise` where there is no text."""
        if len(self._languages) == 1 or not text.strip():
            return otherwise
        scores = self._quick.of([text]) @ self._weights.T + self._bias
        return self._languages[int(scores.argmax())]

    def arrays(self) -> Arrays:
        """What was learned, for `numpy.savez`."""
        return {
            "guess_languages": np.array(self._languages),
            "guess_letters": np.array("\n".join(self._letters.get_feature_names_out())),
            "guess_idf": self._letters.idf_,
            "guess_weights": self._weights,
            "guess_bias": self._bias,
        }

    @classmethod
    def from_arrays(cls, stored: Mapping[str, Any]) -> LanguageGuess:
        """As `arrays` gave it. Raises KeyError or ValueError when something is missing."""
        letters = cls._vectorizer(vocabulary=str(stored["guess_letters"]).split("\n"))
        letters.idf_ = stored["guess_idf"]
        return cls([str(n) for n in stored["guess_languages"]], letters, stored["guess_weights"], stored["guess_bias"])

    @staticmethod
    def _vectorizer(**known: Any) -> TfidfVectorizer:
        return TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True, dtype=np.float32, **known)
