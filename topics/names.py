"""The subject's names in a visitor's question, made one word, small misspellings included."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz.distance import OSA
from rapidfuzz.process import extractOne

from topics.text import comparable

SUBJECT = "subjectname"
"""What every name of the topic's subject becomes before words are counted."""
_LONG = 9
"""Letters of a name, blanks aside, from which one slip is forgiven: shorter names are too near to other words."""


class Names:
    """Replaces names in text that went through `topics.text.comparable`."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = sorted({comparable(n) for n in names} - {""}, key=len, reverse=True)
        self._exact = re.compile(rf"\b(?:{'|'.join(map(re.escape, self.names))})\b") if self.names else None
        self._joined = [j for n in self.names if len(j := n.replace(" ", "")) >= _LONG]
        self._most_words = max((len(n.split()) for n in self.names), default=0) + 1
        self._lengths = {length + d for length in map(len, self._joined) for d in (-1, 0, 1)}

    def replaced(self, text: str) -> str:
        """`ho chi mihn city` becomes `subjectname city`: names exactly, then names with one letter amiss."""
        if self._exact is None:
            return text
        text = self._exact.sub(SUBJECT, text)
        return self._near(text) if self._joined else text

    def _near(self, text: str) -> str:
        words = text.split()
        found: list[str] = []
        i = 0
        while i < len(words):
            for size in range(min(self._most_words, len(words) - i), 0, -1):
                piece = "".join(words[i : i + size])
                if len(piece) in self._lengths and SUBJECT not in piece and self._is_near(piece):
                    found.append(SUBJECT)
                    i += size
                    break
            else:
                found.append(words[i])
                i += 1
        return " ".join(found)

    def _is_near(self, piece: str) -> bool:
        return extractOne(piece, self._joined, scorer=OSA.distance, score_cutoff=1) is not None
