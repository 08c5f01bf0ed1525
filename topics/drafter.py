"""Proposals for new facts, made by any OpenAI-compatible endpoint out of the museum's own articles.

A proposal is marked `"draft": true` and is never trained on, nor told to a visitor, until a person removes the mark.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from openai import OpenAI, OpenAIError
from pydantic import ValidationError

from topics.articles import read_articles
from topics.errors import TopicError
from topics.lint import LONGEST_ANSWER
from topics.questions import Row
from topics.text import contains, normalise
from topics.topic import Topic

log = logging.getLogger(__name__)

_TASK = """You help a museum's curator. Below is a section of an article about {title}. Propose {count} facts that
a visitor may ask for and that this section answers. Use nothing that the section does not say.
Reply with a JSON list and nothing else. Each item:
{{"id": "short_snake_case", "question": "names {title}", "answer": "one to three plain sentences, at most 45 words",
"key": ["the name, year or number that a right answer must contain, copied from the answer"],
"paraphrases": [{{"text": "the same question in other words", "register": "plain"}}, … one of each register:
plain, typo, child, fragment, long]}}
Write in the language with the code {language}.

Section "{heading}":
{text}
"""


class Section(NamedTuple):
    """A section of an article and how `source` names it."""

    source: str
    heading: str
    text: str


def sections(folder: Path, article: str | None = None) -> list[Section]:
    """The sections under `sources/`, references left out. Raises TopicError when there is none."""
    found = [
        Section(f"{name}#{where}", passage.section, passage.text)
        for name, found_article in read_articles(folder).items()
        for where, passage in found_article.sections.items()
        if article in (None, name) and where != "references" and passage.text
    ]
    if not found:
        raise TopicError(
            f"{folder}/{article or '*'}.md: no section in it; write `## A heading` and a paragraph below it"
        )
    return found


def draft(
    topic: Topic, parts: list[Section], *, client: OpenAI, model: str, count: int = 3, language: str | None = None
) -> Iterator[Row]:
    """Proposals for each section; those that break a rule are dropped with a warning.

    Raises TopicError when nobody answers at the endpoint.
    """
    language = language or topic.languages[0]
    taken = {r.id for r in topic.rows(drafts=True)}
    asked = {normalise(r.question) for r in topic.rows(drafts=True)}
    for part in parts:
        task = _TASK.format(
            title=topic.name(language), count=count, language=language, heading=part.heading, text=part.text
        )
        try:
            reply = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": task}], temperature=0.7
            )
        except OpenAIError as error:
            raise TopicError(
                f"{client.base_url}: does not draft ({error}); check the address, the key and --model"
            ) from error
        for item in _items(reply.choices[0].message.content or "", part.source):
            row = _row(item, part.source, language)
            if row is None or normalise(row.question) in asked:
                continue
            if row.id in taken:
                row = row.model_copy(update={"id": f"{row.id}_{len(taken)}"})
            taken.add(row.id)
            asked.add(normalise(row.question))
            yield row


def _items(reply: str, source: str) -> list[object]:
    """The JSON list in a reply, whatever a model wraps around it."""
    start, end = reply.find("["), reply.rfind("]")
    try:
        items = json.loads(reply[start : end + 1])
    except json.JSONDecodeError:
        log.warning("%s: the reply holds no JSON list; nothing drafted", source)
        return []
    return items if isinstance(items, list) else []


def _row(item: object, source: str, language: str) -> Row | None:
    fields = item if isinstance(item, dict) else {}
    wanted = {k: fields[k] for k in ("id", "question", "answer", "key", "paraphrases") if k in fields}
    try:
        row = Row.model_validate({**wanted, "lang": language, "source": source, "draft": True})
    except ValidationError as error:
        log.warning("%s: a proposal dropped: %s", source, error.errors()[0]["msg"].lower())
        return None
    if not row.answer or len(row.answer.split()) > LONGEST_ANSWER or not all(contains(row.answer, k) for k in row.key):
        log.warning("%s: %r dropped: its answer is empty, too long, or lacks its key", source, row.question)
        return None
    return row
