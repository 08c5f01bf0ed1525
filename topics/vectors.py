"""TF-IDF of a few texts at a time, in the numbers of scikit-learn's vectorizers but without what these check each time.

A question passes seven vectorizers, and their checks took most of its time before the engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer


class QuickVectors:
    """Fitted vectorizers, their features side by side."""

    def __init__(self, *vectorizers: TfidfVectorizer) -> None:
        """All must count sublinearly and give rows of length one (`sublinear_tf=True`, `norm="l2"`)."""
        self._parts = []
        self.width = 0
        for one in vectorizers:
            assert one.sublinear_tf and one.norm == "l2"
            self._parts.append((one.build_analyzer(), one.vocabulary_, one.idf_, self.width))
            self.width += len(one.vocabulary_)

    def of(self, texts: Sequence[str]) -> sparse.csr_array:
        """What `hstack` of the vectorizers' `transform` is, shape (texts, features)."""
        indices, values, ends = [], [], [0]
        for text in texts:
            for analyse, vocabulary, idf, offset in self._parts:
                counts = Counter(number for term in analyse(text) if (number := vocabulary.get(term)) is not None)
                mine = np.array(sorted(counts), dtype=np.int32)
                weights = (1 + np.log([counts[i] for i in mine])) * idf[mine] if len(mine) else np.zeros(0)
                indices.append(mine + offset)
                values.append(weights / (np.linalg.norm(weights) or 1.0))
            ends.append(ends[-1] + sum(map(len, indices[-len(self._parts) :])))
        # scikit-learn's models take 32-bit indices only.
        starts = np.array(ends, dtype=np.int32)
        found = np.concatenate(values).astype(np.float32), np.concatenate(indices).astype(np.int32), starts
        return sparse.csr_array(found, shape=(len(texts), self.width))
