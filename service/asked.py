"""What visitors asked, wordings of the same thing put together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sklearn.cluster import AgglomerativeClustering
from sklearn.feature_extraction.text import TfidfVectorizer

from service.database import Noted
from topics.topic import Topic

MOST = 2000
"""Wordings that are put together; the memory this takes grows with their square (32 MB)."""
# Mean cosine distance at which two groups stay two. Adjusted Rand index over 1,782 wordings (150 facts of the default
# topic and 300 questions of others): .16 at .6, .24 at .7, .26 at .75, .25 at .8.
_APART = 0.75


class Subject(NamedTuple):
    """Questions that say about the same."""

    wordings: list[tuple[str, int]]
    """As visitors wrote them, with how often; the most frequent first."""
    lines: list[Noted]

    @property
    def times(self) -> int:
        return len(self.lines)


def wordings(topic: Topic, lines: Sequence[Noted]) -> list[Subject]:
    """Lines with the same words put together, spelling and the subject's names apart; the most frequent first."""
    alike: dict[str, list[Noted]] = defaultdict(list)
    for line in lines:
        if line.question:
            alike[topic.match_text(line.question) or line.question].append(line)
    return sorted(map(_subject, alike.values()), key=lambda s: -s.times)


def subjects(topic: Topic, lines: Sequence[Noted]) -> list[Subject]:
    """Lines that ask about the same, as far as their words show it; the most frequent first.

    Looks at the `MOST` most frequent wordings. Lines without words are left out.
    """
    found = wordings(topic, lines)[:MOST]
    if len(found) < 2:
        return found
    texts = [topic.match_text(s.wordings[0][0]) or s.wordings[0][0] for s in found]
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(texts)
    # Rows have length one, so their product is the cosine.
    apart = 1 - (vectors @ vectors.T).toarray()
    groups = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=_APART)
    together: dict[int, list[Noted]] = defaultdict(list)
    for group, subject in zip(groups.fit_predict(apart), found, strict=True):
        together[int(group)] += subject.lines
    return sorted(map(_subject, together.values()), key=lambda s: -s.times)


def _subject(lines: list[Noted]) -> Subject:
    return Subject(Counter(line.question or "" for line in lines).most_common(), lines)
