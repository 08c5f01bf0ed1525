"""A new topic folder to begin with: small, complete, and clean for `lint`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from topics.errors import TopicError

_TOML = """# Only id, title and languages are needed; docs/topics.md lists what else there is.
id = "{id}"
title = "{title}"
languages = [{languages}]   # the first is the museum's own
suggestions = ["first_fact"]
"""
_ARTICLE = """# {title}
One or two sentences of introduction.

## A first section
A paragraph in the museum's own words that contains every fact resting on it. {title} is known to this guide by two
example facts.

## References
- The published works this article rests on
"""
_EXAMPLES = (
    (
        "first_fact",
        "How many facts does the guide to {title} begin with?",
        "The guide to {title} begins with two example facts. A curator replaces them with the museum's own.",
        ["two"],
        [
            ("What number of facts is there at the start?", "plain"),
            ("how meny facts", "typo"),
            ("facts at first", "fragment"),
        ],
    ),
    (
        "who_writes",
        "Who writes the facts about {title}?",
        "The museum's curators write the facts about {title}, one line each, and check them twice.",
        ["curators"],
        [
            ("Where do these answers come from?", "plain"),
            ("Who made up all the answers?", "child"),
            ("author of answers", "fragment"),
        ],
    ),
)


def new_topic(folder: Path, *, title: str = "", languages: Sequence[str] = ("en",)) -> Path:
    """Makes `folder` with `topic.toml`, two example facts in the first language and an article.

    Raises TopicError when the folder exists or its name cannot be a topic's id.
    """
    name = folder.name
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise TopicError(f"{name!r} cannot be a topic's name; use small letters a-z, digits and _, such as sea_museum")
    if folder.exists():
        raise TopicError(f"{folder}: exists already; choose another name, or work in that folder")
    title = title or name.replace("_", " ").title()
    (folder / "sources").mkdir(parents=True)
    listed = ", ".join(json.dumps(language) for language in languages)
    (folder / "topic.toml").write_text(_TOML.format(id=name, title=title.replace('"', "'"), languages=listed), "utf-8")
    (folder / "sources" / "first_article.md").write_text(_ARTICLE.format(title=title), encoding="utf-8")
    lines = []
    for id_, question, answer, key, paraphrases in _EXAMPLES:
        row = {
            "id": id_,
            "lang": languages[0],
            "question": question.format(title=title),
            "paraphrases": [{"text": text, "register": register} for text, register in paraphrases],
            "answer": answer.format(title=title),
            "key": key,
            "source": "first_article#a-first-section",
        }
        lines.append(json.dumps(row, ensure_ascii=False))
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
