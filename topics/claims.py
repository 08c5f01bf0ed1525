"""What a text claims that can be checked: its numbers, dates and names, in whatever language and spelling.

How a language writes months and numbers stands in `topics/texts/<language>.toml`, under `[reading]`.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from topics.text import fold
from topics.topic import reading

_NUMERIC_DATE = r"(?<!\d)(?:\d{1,2}(?P<a>[/.-])\d{1,2}(?P=a)\d{4}|\d{4}(?P<b>[/.-])\d{1,2}(?P=b)\d{1,2})(?!\d)"
_DIGITS = r"(?<![A-Za-z\d])\d+(?:[.,\u00a0\u202f]\d{3}(?!\d))*(?:[.,]\d+)?"
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_WORD = re.compile(r"[^\W\d_]+")
_TOGETHER = re.compile(r"[\s\-'’.]{1,2}")
"""What stands between the words of one name."""
_QUOTES = " \t\n\"'“”‘’«»„()[]—–-¡¿"
_ENDS = ".!?…:;。！？；："
_DAY_GAP = re.compile(r"(?:st|nd|rd|th|er|º)?,?\s*(?:(?:of|de|del|tháng)\s+)?", re.IGNORECASE)
_YEAR_GAP = re.compile(r",?\s*(?:(?:of|de|del|năm|nam)\s+)?", re.IGNORECASE)
folded = functools.lru_cache(maxsize=50_000)(fold)
"""`fold` of single words, of which a museum's texts have few and say them often."""
_MONTHS, _HIGHEST_DAY, _EARLIEST = range(1, 13), 31, 1000


class Date(NamedTuple):
    """A day, month and year; 0 where one is not said."""

    day: int
    month: int
    year: int


class Claims(NamedTuple):
    """The numbers and dates of a text."""

    numbers: frozenset[str]
    """`19`, `m5` for a month, `1890`; the parts of dates are among them. One is no claim: it may be an article."""
    perhaps: frozenset[str]
    """Numbers in words that mean other things as well: `năm` is five, and year."""
    dates: frozenset[Date]


class _Piece(NamedTuple):
    """A number or a month, and where it stands."""

    begin: int
    end: int
    kind: str
    value: str


class _Reading(NamedTuple):
    """How one language writes months and numbers."""

    pieces: re.Pattern[str]
    months: dict[str, int]
    numbers: dict[str, int]
    one_number: re.Pattern[str]
    doubtful: frozenset[str]
    titles: frozenset[str]
    """`Mr`, `Dr`: capitalised before a name and no part of it."""
    counted: str
    """What must follow a number in words where nothing separates words: one of these characters."""


@functools.cache
def _reading(language: str) -> _Reading:
    table = reading(language)
    months = {w: n for n, names in zip(_MONTHS, table["months"], strict=True) for w in names.split("|")}
    months |= {_unaccented(w): n for w, n in months.items()}
    numbers = {w: int(value) for value, words in table["numbers"].items() for w in words.split("|")}
    number = _any_of(numbers)
    joined = rf"(?:{number})(?:(?:\s+|-|\s+(?:{table.get('and', 'and')})\s+)?(?:{number}))*"
    return _Reading(
        re.compile(f"(?P<date>{_NUMERIC_DATE})|(?P<month>{_any_of(months)})|(?P<digits>{_DIGITS})|(?P<words>{joined})"),
        {w.casefold(): n for w, n in months.items()},
        numbers,
        re.compile(number),
        frozenset(table.get("doubtful", "").split("|")),
        frozenset(table.get("titles", "").split("|")),
        table.get("counted", ""),
    )


def _any_of(words: Iterable[str]) -> str:
    """A pattern for any of the words where it is no part of another; in scripts without blanks, wherever it stands."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for word in sorted(words, key=len, reverse=True):
        begin = r"(?<!\d)" if word[0].isdigit() else "" if _CJK.match(word) else r"(?<!\w)"
        # `May` is a month and `may` is none; what has no capital of its own may get one where a sentence begins.
        case = "" if word[0].isupper() or _CJK.search(word) else "i"
        groups.setdefault((begin, case, "" if _CJK.match(word[-1]) else r"(?!\w)"), []).append(re.escape(word))
    return "|".join(f"{begin}(?{case}:{'|'.join(each)}){end}" for (begin, case, end), each in groups.items())


def claims(text: str, language: str) -> Claims:
    """The numbers and dates that `text` states."""
    how, text = _reading(language), unicodedata.normalize("NFC", text)
    pieces = list(_pieces(text, how))
    dates = frozenset(_dates(text, [p for p in pieces if p.kind != "perhaps"]))
    parts = {str(p) for d in dates for p in (d.day, d.year) if p}
    numbers = {p.value for p in pieces if p.kind == "number"} - {"1"} | (parts - {"1"})
    months = {f"m{p.value}" for p in pieces if p.kind == "month"} | {f"m{d.month}" for d in dates if d.month}
    return Claims(frozenset(numbers | months), frozenset(p.value for p in pieces if p.kind == "perhaps"), dates)


def _pieces(text: str, how: _Reading) -> Iterator[_Piece]:
    for found in how.pieces.finditer(text):
        said, begin, end = found[0], found.start(), found.end()
        match found.lastgroup:
            case "month":
                yield _Piece(begin, end, "month", str(how.months[said.casefold()]))
            case "digits":
                whole = re.sub(r"[.,\u00a0\u202f](?=\d{3}(?!\d))", "", said).replace(",", ".")
                yield _Piece(begin, end, "number", whole.lstrip("0") or "0")
            case "words":
                # A capital inside a sentence: part of a name, such as `Văn Ba`.
                named = said[0].isupper() and not _opens(text, begin)
                if not how.counted or text[end : end + 1] in how.counted:
                    kind = "perhaps" if named or said.casefold() in how.doubtful else "number"
                    yield from (_Piece(begin, end, kind, str(n)) for n in _in_words(said, how))
            case _:
                yield _Piece(begin, end, "date", said)


def _in_words(said: str, how: _Reading) -> list[int]:
    """`twenty-one` is 21, `two three` is 2 and 3; `hai mươi` is 2 times 10."""
    values = [how.numbers[w.casefold()] for w in how.one_number.findall(said)]
    if len(values) > 3 and all(v < 10 for v in values):
        return [int("".join(map(str, values)))]  # a year digit by digit: 一九四五
    found: list[int] = []
    for value in values:
        last = found[-1] if found else 0
        if found and value in (10, 100, 1000, 10000) and 0 < last % value < value:
            found[-1] = last - last % value + last % value * value
        elif found and last % 10 ** len(str(value)) == 0:
            found[-1] = last + value
        else:
            found.append(value)
    return found


def _dates(text: str, pieces: Sequence[_Piece]) -> Iterator[Date]:
    """Every date of which two parts are said."""
    for at, piece in enumerate(pieces):
        if piece.kind == "date":
            yield _numeric(piece.value)
        if piece.kind != "month":
            continue
        before = pieces[at - 1] if at else None
        day, year, end, rest = 0, 0, piece.end, pieces[at + 1 : at + 3]
        if before and _is_day(before) and _DAY_GAP.fullmatch(text, before.end, piece.begin):
            day = int(before.value)
        elif rest and _is_day(rest[0]) and not text[end : rest[0].begin].strip():
            day, end, rest = int(rest[0].value), rest[0].end, rest[1:]
        if before and _is_year(before) and text[before.end : piece.begin] == "年":
            year = int(before.value)
        elif rest and _is_year(rest[0]) and _YEAR_GAP.fullmatch(text, end, rest[0].begin):
            year = int(rest[0].value)
        if day or year:
            yield Date(day, int(piece.value), year)


def _is_day(piece: _Piece) -> bool:
    return piece.kind == "number" and piece.value.isdigit() and 1 <= int(piece.value) <= _HIGHEST_DAY


def _is_year(piece: _Piece) -> bool:
    return piece.kind == "number" and piece.value.isdigit() and int(piece.value) >= _EARLIEST


def _numeric(said: str) -> Date:
    """`19/5/1890` and `1890-05-19`; the day stands before the month unless it cannot."""
    first, second, third = map(int, re.split("[/.-]", said))
    if first >= _EARLIEST:
        return Date(third, second, first)
    return Date(first, second, third) if second <= 12 else Date(second, first, third)


def name_phrases(text: str, language: str, known: Collection[str] | None = None) -> list[list[str]]:
    """The names in a text, each as its words, folded.

    A name is capitalised inside a sentence, or, where one begins, among the `known` (folded) ones; months are none.
    Without `known`, every capitalised word is one.
    """
    how, text = _reading(language), unicodedata.normalize("NFC", text)
    text = how.pieces.sub(lambda m: " " * len(m[0]) if m.lastgroup == "month" else m[0], text)
    phrases: list[list[str]] = []
    last = -1
    for found in _WORD.finditer(text):
        word = folded(found[0])
        if len(word) < 2 or not found[0][0].isupper() or _CJK.search(word):
            continue
        if word in how.titles or (known is not None and word not in known and _opens(text, found.start())):
            continue
        if last >= 0 and _TOGETHER.fullmatch(text, last, found.start()):
            phrases[-1].append(word)
        else:
            phrases.append([word])
        last = found.end()
    return phrases


def _opens(text: str, at: int) -> bool:
    """Whether something begins there, so that a capital says nothing: a sentence, or what is quoted."""
    before = text[:at].rstrip(_QUOTES)
    return not before or before[-1] in _ENDS or "\n" in text[len(before) : at] or text[at - 1] in '"“«„('


def _unaccented(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).replace("đ", "d").replace("Đ", "D")
