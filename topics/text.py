"""Spelling differences that must not count: case, accents, punctuation, look-alike letters."""

from __future__ import annotations

import re
import unicodedata

# Letters that NFKD leaves whole, and the Cyrillic and Greek letters most often passed off as Latin ones.
_LOOKALIKES = str.maketrans("đøłаеорсухіјοα", "dolaeopcyxijoa")
_ZERO_WIDTH = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_CJK = re.compile("([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
_NOT_WORD = re.compile(r"[^\w]+")


def fold(text: str) -> str:
    """Lower case without accents: `Nghệ An` and `nghe an` become the same string."""
    decomposed = unicodedata.normalize("NFKD", _ZERO_WIDTH.sub("", text).lower())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(_LOOKALIKES)


def normalise(text: str) -> str:
    """`fold`, and every run of punctuation or blanks becomes one blank: the form in which questions are compared."""
    return _NOT_WORD.sub(" ", fold(text)).strip()


def comparable(text: str) -> str:
    """`normalise`, and every Chinese, Japanese or Korean character a word of its own: those scripts have no blanks."""
    return " ".join(_CJK.sub(r" \1 ", normalise(text)).split())


def contains(text: str, key: str) -> bool:
    """Whether `key` occurs in `text`, spelling differences aside: `19` is not in `1969`; `plant` is in `planted`."""
    wanted = comparable(key)
    end = "" if len(wanted.split(" ")[-1]) >= 5 and wanted[-1:].isalpha() else " "
    return f" {wanted}{end}" in f" {comparable(text)} "
