"""Does what the guide is about to say agree with the museum's own words? Deterministic, no model, under a millisecond.

Numbers, dates and names (`topics/claims.py`) are looked for in the fact, told in any language. What the fact does not
say is unsupported; where the fact says something else of that kind which the answer leaves out, it is contradicted.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

from topics.claims import Claims, Date, claims, folded, name_phrases
from topics.questions import Row
from topics.text import comparable, contains, normalise
from topics.topic import Topic

Check = Literal["supported", "unsupported", "contradicted"]
_FEW = 12
"""Numbers up to this one count things and people."""
_ENDING = 5
"""Letters of a name from which an ending may follow it: `Vietnam` and `Vietnamese`, `China` and `Chinese`."""


class _Evidence(NamedTuple):
    """What the museum says of one fact, in all its languages together."""

    claims: Claims
    names: frozenset[str]
    """Capitalised words, folded, and those that stand together as one as well: `Ha Noi` is `Hanoi`."""
    words: frozenset[str]
    """The other words, in the fact's own language and with their accents: `Party` may be `party`."""
    text: str
    told: Claims
    """Those of the answer to be told, without its translations."""
    told_names: frozenset[str]


class FactCheck:
    """Compares answers with the facts of one topic."""

    def __init__(self, topic: Topic, rows: Sequence[Row]) -> None:
        """`rows` are all that the museum tells; a fact's translations vouch for it as well."""
        self._topic = topic
        self._translations: dict[str, list[Row]] = {}
        for row in rows:
            self._translations.setdefault(row.id, []).append(row)
        # A fact is read when it is first asked for: all of them would take seconds at every start.
        self._evidence = functools.lru_cache(maxsize=None)(self._of_fact)
        self._of_row = functools.lru_cache(maxsize=None)(_of_row)
        self._capitals = _capitals(rows)
        self._everywhere = _names(topic.everywhere)
        self._own = frozenset(_joined(name) for name in (*topic.title.values(), *topic.aliases))
        self._free_texts = (*topic.title.values(), *topic.aliases, *topic.everywhere)
        self._same = [([f" {comparable(n)} " for n in names], _names(names), names) for names in topic.same]

    def answer(self, text: str, fact: Row) -> Check:
        """The verdict on a whole answer, which must hold the fact's key strings as well."""
        if not normalise(text):
            return "unsupported"
        verdict = self._compare(text, fact, whole=True)
        missing = [key for key in fact.key if not _told(key, text, fact.lang)]
        if missing and verdict == "unsupported" and any(_is_claim(key) for key in missing):
            return "contradicted"  # another number or name in place of the one that matters
        return "unsupported" if missing and verdict == "supported" else verdict

    def part(self, text: str, fact: Row) -> Check:
        """The verdict on a part of an answer, such as its first sentence."""
        return self._compare(text, fact, whole=False)

    def _compare(self, text: str, fact: Row, *, whole: bool) -> Check:
        evidence = self._evidence(fact)
        said = claims(text, fact.lang)
        foreign = said.numbers - evidence.claims.numbers - evidence.claims.perhaps
        left_out = evidence.told.numbers - said.numbers
        if not whole or not any(n.isdigit() and int(n) <= _FEW for n in left_out):
            foreign -= {"2"}  # `the two of them` counts what is spoken of, unless the museum counts as well
        if foreign and left_out or any(not _fits(date, evidence.claims) for date in said.dates):
            return "contradicted"
        if foreign or self._foreign_name(text, fact.lang, evidence, whole=whole):
            return "unsupported"
        return "supported"

    def _foreign_name(self, text: str, language: str, evidence: _Evidence, *, whole: bool) -> bool:
        phrases = [self._others(p) for p in name_phrases(text, language, self._capitals)]
        said = {word for phrase in phrases for word in (*phrase, "".join(phrase))}
        # The museum's own country may be named anywhere, but not in place of a name that is left out.
        free = frozenset() if whole and evidence.told_names - said else self._everywhere
        for phrase in phrases:
            unknown = [w for w in phrase if w not in free and not _stands(w, evidence)]
            if unknown and "".join(phrase) not in evidence.names | free:
                return True
        return any(name in text and name not in evidence.text for name in self._topic.names)

    def _others(self, phrase: list[str]) -> list[str]:
        """The phrase without the subject's own names, which any answer may use."""
        for size in range(len(phrase), 0, -1):
            for i in range(len(phrase) - size + 1):
                if "".join(phrase[i : i + size]) in self._own:
                    return self._others(phrase[:i]) + self._others(phrase[i + size :])
        return phrase

    def _of_fact(self, fact: Row) -> _Evidence:
        rows = [fact, *(r for r in self._translations.get(fact.id, ()) if r.lang != fact.lang)]
        each = [self._of_row(r) for r in rows]
        spelt = "".join(f" {e.comparable} " for e in each)
        same = [(names, texts) for forms, names, texts in self._same if any(form in spelt for form in forms)]
        told = {w for p in name_phrases(fact.answer, fact.lang, self._capitals) for w in self._others(p)}
        plain = {w.casefold() for w in _words(f"{fact.question} {fact.answer}")}
        return _Evidence(
            Claims(*(frozenset().union(*kind) for kind in zip(*(e.claims for e in each), strict=True))),
            frozenset().union(*(e.names for e in each), *(names for names, _ in same)),
            frozenset(plain | {folded(w) for w in plain if len(w) >= _ENDING}),
            " ".join([*(e.text for e in each), *(t for _, texts in same for t in texts), *self._free_texts]),
            claims(fact.answer, fact.lang),
            frozenset(told),
        )


class _OfRow(NamedTuple):
    """What one row says, in its language."""

    text: str
    comparable: str
    claims: Claims
    names: frozenset[str]


def _of_row(row: Row) -> _OfRow:
    text = f"{row.question}\n{row.answer}"
    return _OfRow(text, comparable(text), claims(text, row.lang), _names([text], row.lang))


def _capitals(rows: Sequence[Row]) -> frozenset[str]:
    """Words that the museum writes with a capital inside its sentences, and never without one; folded."""
    texts = [(t, r.lang) for r in rows for t in (r.question, r.answer)]
    inside = {w for text, lang in texts for phrase in name_phrases(text, lang, ()) for w in phrase}
    return frozenset(inside - {folded(w) for text, _ in texts for w in _words(text) if w.islower()})


def _names(texts: Sequence[str], language: str = "en") -> frozenset[str]:
    """Every capitalised word, folded, and up to three that stand together as one."""
    found = set()
    for phrase in (p for text in texts for p in name_phrases(text, language)):
        found |= {"".join(phrase[i : i + size]) for size in (1, 2, 3) for i in range(len(phrase))}
    return frozenset(found)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", text))


def _joined(name: str) -> str:
    return normalise(name).replace(" ", "")


def _told(key: str, text: str, language: str) -> bool:
    """Whether a key string stands in an answer, its dates and numbers in whatever form."""
    if contains(text, key):
        return True
    wanted, said = claims(key, language), claims(text, language)
    return bool(wanted.numbers) and wanted.numbers <= said.numbers | said.perhaps


def _fits(said: Date, known: Claims) -> bool:
    """Whether the museum gives this date; where it gives none as exactly, one of which less is said."""
    alike = [d for d in known.dates if d.month == said.month]
    exact = [d for d in alike if all(theirs for ours, theirs in zip(said, d, strict=True) if ours)]
    return not alike or any(
        all(not ours or not theirs or ours == theirs for ours, theirs in zip(said, d, strict=True))
        for d in exact or alike
    )


def _stands(word: str, evidence: _Evidence) -> bool:
    if word in evidence.names or word in evidence.words:
        return True
    others = evidence.names | evidence.words
    return len(word) >= _ENDING and any(_same_but_for_ending(*sorted((word, n), key=len)) for n in others)


def _same_but_for_ending(short: str, long: str) -> bool:
    if len(short) < _ENDING or len(long) - len(short) > 4:
        return False
    return long.startswith(short) or (len(long) - len(short) >= 2 and long.startswith(short[:-1]))


def _is_claim(key: str) -> bool:
    return any(c.isdigit() or c.isupper() for c in key)
