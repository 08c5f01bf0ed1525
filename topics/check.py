"""Does a generated answer agree with the museum's own words? Deterministic, no model, well under a millisecond.

A first form: the key strings, the numbers and the names. A number or key that the museum gives and the answer
gives differently is a contradiction; a number or name the museum does not have is unsupported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from topics.questions import Row
from topics.text import contains, fold, normalise

Check = Literal["supported", "unsupported", "contradicted"]

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ),
        1,
    )
    for name in names.split()
}
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
    if number > 1
}
_NAME = re.compile(r"(?<![.!?…]\s)(?<!^)\b[^\W\d_a-z]\w+")
"""A capitalised word that does not begin a sentence."""


def numbers(text: str) -> set[str]:
    """Every number said in `text`, months and small number words included: `19 May 1890` gives 19, m5 and 1890."""
    folded = re.sub(r"\bthang (\d{1,2})\b", r" m\1 ", re.sub(r"(?<=\d)[.,](?=\d{3}\b)", "", fold(text)))
    found = {n.lstrip("0") or "0" for n in re.findall(r"(?<![a-z\d])\d+", folded)} | set(
        re.findall(r"\bm\d{1,2}\b", folded)
    )
    words = set(re.findall(r"[a-z]+", folded))
    # `may` is a month only beside a number: "He may have …" is not a date.
    dated = set(re.findall(r"\d+(?:st|nd|rd|th)? (?:of )?([a-z]+)|([a-z]+) \d", folded))
    beside = {w for pair in dated for w in pair if w}
    found |= {f"m{_MONTHS[w]}" for w in beside if w in _MONTHS}
    return found | {_NUMBER_WORDS[w] for w in words if w in _NUMBER_WORDS}


def names(text: str) -> set[str]:
    """Capitalised words inside sentences, folded."""
    return {normalise(n) for n in _NAME.findall(text)}


def check(answer: str, fact: Row, known: Sequence[str] = ()) -> Check:
    """Compares `answer` with the fact it should tell; `known` are further texts whose names may be used."""
    if not normalise(answer):
        return "unsupported"
    evidence = " ".join([fact.answer, *known])
    extra = numbers(answer) - numbers(evidence)
    if extra and numbers(fact.answer) - numbers(answer):
        return "contradicted"
    if any(not contains(answer, key) for key in fact.key) or extra:
        return "unsupported"
    said = f" {normalise(evidence)} "
    if any(f" {name} " not in said for name in names(answer)):
        return "unsupported"
    return "supported"
