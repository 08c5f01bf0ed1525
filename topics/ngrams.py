"""Texts as numbers: the TF-IDF pair, words and letters, that evidence and decided answers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from topics.vectors import QuickVectors

Arrays = dict[str, NDArray[Any]]


class Ngrams:
    """TF-IDF of words (1, 2) and of letters within words, each of unit length (Salton and Buckley 1988).

    Texts are expected as `Topic.match_text` gives them.
    """

    def __init__(self, longest: int = 4, *, words: Any = None, letters: Any = None) -> None:
        """Letters come in runs of two to `longest`; `words` and `letters` are known vocabularies, if any."""
        common: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
        self.words = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), vocabulary=words, **common)
        self.letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, longest), vocabulary=letters, **common)

    def fit(self, texts: Sequence[str]) -> Ngrams:
        self.words.fit(texts)
        self.letters.fit(texts)
        return self._ready()

    def parts(self, texts: Sequence[str]) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Words and letters apart, each of shape (texts, features)."""
        return self._words.of(texts), self._letters.of(texts)

    def together(self, texts: Sequence[str]) -> sparse.csr_array:
        """Words and letters side by side, shape (texts, features)."""
        return self._both.of(texts)

    def arrays(self) -> Arrays:
        """What was learned, for `numpy.savez`."""
        return {
            "longest": np.array(self.letters.ngram_range[1]),
            "words": np.array("\n".join(self.words.get_feature_names_out())),
            "letters": np.array("\n".join(self.letters.get_feature_names_out())),
            "words_idf": self.words.idf_,
            "letters_idf": self.letters.idf_,
        }

    @classmethod
    def from_arrays(cls, stored: Mapping[str, Any]) -> Ngrams:
        """As `arrays` gave it. Raises KeyError or ValueError when something is missing."""
        known = {part: str(stored[part]).split("\n") for part in ("words", "letters")}
        made = cls(int(stored["longest"]), **known)
        made.words.idf_, made.letters.idf_ = stored["words_idf"], stored["letters_idf"]
        return made._ready()

    def _ready(self) -> Ngrams:
        self._words, self._letters = QuickVectors(self.words), QuickVectors(self.letters)
        self._both = QuickVectors(self.words, self.letters)
        return self


def pack(name: str, matrix: sparse.csr_array) -> Arrays:
    """A sparse matrix as arrays under names of its own, for `numpy.savez`."""
    parts = {part: getattr(matrix, part) for part in ("data", "indices", "indptr")}
    return {f"{name}_{part}": values for part, values in parts.items()} | {f"{name}_shape": np.array(matrix.shape)}


def unpack(name: str, stored: Mapping[str, Any]) -> sparse.csr_array:
    """What `pack` packed. Raises KeyError or ValueError."""
    parts = tuple(stored[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    return sparse.csr_array(parts, shape=tuple(stored[f"{name}_shape"]))
