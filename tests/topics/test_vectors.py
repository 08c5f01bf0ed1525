"""Quick vectors are scikit-learn's, number by number."""

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from topics.vectors import QuickVectors

TEXTS = ["the lamp of the tower", "who built the tower", "hải đăng cao bao nhiêu", "a cat a cat a cat"]


def test_quick_vectors_are_those_of_the_vectorizers() -> None:
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True, dtype=np.float32).fit(TEXTS)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit(TEXTS)
    asked = [*TEXTS, "", "xyzzy", "the cat the cat built the lamp", "  THE   Tower "]
    wanted = sparse.hstack([words.transform(asked), letters.transform(asked)]).toarray()
    np.testing.assert_allclose(QuickVectors(words, letters).of(asked).toarray(), wanted, atol=1e-6)
