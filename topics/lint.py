"""What a curator should mend before training; plain sentences with `file:line`.

Errors would teach something wrong or break a measurement; warnings are advice, found by rule of thumb.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rapidfuzz import fuzz
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from topics.articles import Article, read_articles
from topics.policy import read_policies
from topics.questions import OffTopic, Row, scan
from topics.text import contains, normalise
from topics.topic import Topic

LONGEST_ANSWER = 60
"""Words; a visitor reads an answer standing."""
LONGEST_CHINESE_ANSWER = 150
"""Characters, for answers written without blanks between words."""
NEAR = 92
"""Token-sort similarity, in percent, from which two wordings count as the same in another order (rapidfuzz)."""
ALMOST = 97
"""The same, across facts: one letter or so apart."""
_YEAR = re.compile(r"\b1[0-9]{3}\b|\b20[0-9]{2}\b")
_NUMBER = re.compile(r"\d+")
_FEW_WORDS = 8
"""Below this a language cannot be told with any certainty."""


class Finding(NamedTuple):
    """`error` stops training; the rest is advice."""

    error: bool
    text: str


@dataclass(frozen=True)
class _Line:
    where: str
    row: Row


def lint(topic: Topic) -> list[Finding]:
    """Everything found in a topic folder, errors first. Raises QuestionsError when `questions.jsonl` cannot be read."""
    path = topic.folder / "questions.jsonl"
    good, bad = scan(path, Row)
    found = [Finding(True, str(error)) for error in bad]
    lines = [_Line(f"{path}:{number}", row) for number, row in good]
    found += _repeated_facts(lines)
    lines = [line for line in lines if not line.row.draft]
    if not lines and not bad:
        found.append(Finding(True, f"{path}: no fact in it that is not a draft; write one line of JSON per fact"))
    articles = read_articles(topic.folder / "sources")
    for line in lines:
        found += _fact(topic, line, articles)
    found += _languages(topic, lines)
    found += _wordings(topic, lines)
    found += _near_misses(topic, lines)
    policy = topic.folder / "policy.jsonl"
    if policy.exists():
        found += [Finding(True, str(error)) for error in read_policies(policy, topic.languages)[1]]
    return sorted(found, key=lambda f: not f.error)


def _repeated_facts(lines: Sequence[_Line]) -> Iterator[Finding]:
    first: dict[tuple[str, str], str] = {}
    for line in lines:
        key = (line.row.id, line.row.lang)
        if (there := first.setdefault(key, line.where)) != line.where:
            yield Finding(True, f"{line.where}: fact {key[0]!r} in {key[1]!r} stands already at {there}; merge them")


def _fact(topic: Topic, line: _Line, articles: Mapping[str, Article]) -> Iterator[Finding]:
    """What can be said of a fact by itself."""
    row, where = line.row, f"{line.where}: fact {line.row.id!r}"
    if row.lang not in topic.languages:
        known = ", ".join(topic.languages)
        yield Finding(True, f"{where} is in language {row.lang!r}, and topic.toml lists {known}; add it there")
    if not row.answer.strip():
        yield Finding(True, f"{where} has no answer; write one, or delete the row")
    words, signs = len(row.answer.split()), len(row.answer)
    if words > LONGEST_ANSWER:
        yield Finding(True, f"{where}: the answer has {words} words and may have {LONGEST_ANSWER}; shorten it")
    if words < signs / 20 and signs > LONGEST_CHINESE_ANSWER:
        yield Finding(
            True, f"{where}: the answer has {signs} characters and may have {LONGEST_CHINESE_ANSWER}; shorten it"
        )
    if not row.key:
        yield Finding(False, f"{where} names no key; write the name, year or number that a right answer must contain")
    for key in row.key:
        if not contains(row.answer, key):
            yield Finding(True, f"{where}: the key {key!r} does not stand in the answer; mend one of them")
    article, _, section = row.source.partition("#")
    if not row.source:
        yield Finding(False, f"{where} names no source; write `article#section`")
    elif articles and article not in articles:
        yield Finding(True, f"{where}: there is no sources/{article}.md; write it, or mend `source`")
    elif articles and section and section not in articles[article].sections:
        yield Finding(True, f"{where}: sources/{article}.md has no section {section!r}; mend one of them")
    passages = articles[article].sections.values() if article in articles else ()
    told = set(_YEAR.findall(" ".join([row.question, row.answer, *(p.text for p in passages)])))
    for wording in (w for w in row.paraphrases if w.register_ != "long"):  # a ramble may name any year
        for year in sorted(set(_YEAR.findall(wording.text)) - told):
            text = f"{where}: {wording.text!r} names {year}, which the fact does not; it may ask for another fact"
            yield Finding(False, text)


def _languages(topic: Topic, lines: Sequence[_Line]) -> Iterator[Finding]:
    """Answers that seem to be in another of the topic's languages than their `lang`."""
    if len(topic.languages) < 2:
        return
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # loads its model: only lint needs it

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(topic.languages))
    for line in lines:
        text = line.row.answer
        if len(text.split()) < _FEW_WORDS and text.isascii():
            continue
        if (guess := identifier.classify(text)[0]) != line.row.lang:
            yield Finding(
                False,
                f"{line.where}: fact {line.row.id!r}: the answer seems to be in {guess!r} and is marked "
                f"{line.row.lang!r}; mend one of them",
            )


class _Said(NamedTuple):
    text: str
    line: _Line
    held: bool


def _wordings(topic: Topic, lines: Sequence[_Line]) -> Iterator[Finding]:
    """Wordings that ask for two facts, stand twice, or make the held-out set easy; and answers that contradict."""
    by_language: dict[str, list[_Said]] = defaultdict(list)
    for line in lines:
        row = line.row
        said = [(row.question, row.held), *((w.text, row.held or w.held) for w in row.paraphrases)]
        by_language[row.lang] += [_Said(text, line, held) for text, held in said]
    for said_in in by_language.values():
        # Names of the subject count as one word: `Uncle Ho's wife` and `President Ho's wife` are the same wording.
        for one, other in _alike([topic.match_text(s.text) for s in said_in]):
            if finding := _compare(said_in[one], said_in[other]):
                yield finding


def _compare(one: _Said, other: _Said) -> Finding | None:
    first, second = one.line.row, other.line.row
    where = f"{other.line.where}: fact {second.id!r}: "
    equal = normalise(one.text) == normalise(other.text)
    if first.id == second.id:
        if one.held != other.held:
            return Finding(
                equal, f"{where}{other.text!r} is held out and {one.text!r} trained, or the reverse; change one"
            )
        return Finding(False, f"{where}{other.text!r} stands there twice; delete one") if equal else None
    numbers = [set(_NUMBER.findall(row.answer)) for row in (first, second)]
    there = f"{first.id!r} ({one.line.where})"
    alike = fuzz.token_sort_ratio(normalise(one.text), normalise(other.text)) >= ALMOST
    if alike and (one.text, other.text) == (first.question, second.question) and numbers[0] != numbers[1]:
        return Finding(True, f"{where}contradicts {there}: the same question, other numbers; keep one")
    if equal:
        return Finding(True, f"{where}{other.text!r} also asks for fact {there}; give it to one of them")
    if not alike:
        return None  # `When was he arrested?` and `Why was he arrested?`
    return Finding(False, f"{where}{other.text!r} is close to {one.text!r} of fact {there}; tell them apart")


def _alike(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of texts that are equal or nearly so: neighbours by character n-grams, then compared word by word.

    Numbers decide: `in 1911` and `in 1912` are not alike.
    """
    if len(texts) < 2:
        return
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32).fit_transform(texts)
    vectors = sparse.csr_array(vectors)
    for start in range(0, len(texts), 500):
        near = sparse.coo_array(vectors[start : start + 500] @ vectors.T)
        kept = (near.row + start < near.col) & (near.data > 0.85)
        for i, j in zip((near.row[kept] + start).tolist(), near.col[kept].tolist(), strict=True):
            same_numbers = _NUMBER.findall(texts[i]) == _NUMBER.findall(texts[j])
            if same_numbers and fuzz.token_sort_ratio(texts[i], texts[j]) >= NEAR:
                yield i, j


def _near_misses(topic: Topic, lines: Iterable[_Line]) -> Iterator[Finding]:
    path = topic.folder / "near_misses.jsonl"
    if not path.exists():
        return
    good, bad = scan(path, OffTopic)
    yield from (Finding(True, str(error)) for error in bad)
    ours = {normalise(w): line for line in lines for w in (*line.row.wordings(), *line.row.wordings(held=True))}
    seen: dict[str, int] = {}
    for number, miss in good:
        text = normalise(miss.question)
        if text in ours:
            there = ours[text]
            yield Finding(
                True, f"{path}:{number}: {miss.question!r} asks for fact {there.row.id!r} ({there.where}); delete one"
            )
        if (first := seen.setdefault(text, number)) != number:
            yield Finding(False, f"{path}:{number}: {miss.question!r} stands already in line {first}; delete one")
