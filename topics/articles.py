"""`sources/*.md`: the museum's own articles, and the passage that a fact rests on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from topics.text import fold

_HEADING = re.compile(r"^## +(.+)$", re.MULTILINE)


class Passage(NamedTuple):
    """A section of an article; heading and text are empty where a fact names the article alone."""

    title: str
    section: str
    text: str


class Article(NamedTuple):
    """An article by its sections."""

    title: str
    sections: dict[str, Passage]
    """By anchor."""


def read_articles(folder: Path) -> dict[str, Article]:
    """Every article of a topic's `sources/`, by file name without `.md`; none when there is no such folder."""
    found: dict[str, Article] = {}
    for file in sorted(folder.glob("*.md")):
        head, *parts = _HEADING.split(file.read_text(encoding="utf-8"))
        first = head.strip().partition("\n")[0]
        title = first.removeprefix("# ").strip() if first.startswith("# ") else file.stem
        pairs = zip(parts[::2], parts[1::2], strict=True)
        found[file.stem] = Article(title, {anchor(h): Passage(title, h.strip(), text.strip()) for h, text in pairs})
    return found


def passage(articles: Mapping[str, Article], source: str) -> Passage | None:
    """The passage that `article#section` names, or None when there is no such article."""
    name, _, section = source.partition("#")
    article = articles.get(name)
    return article and article.sections.get(section, Passage(article.title, "", ""))


def anchor(heading: str) -> str:
    """How a section is named in `source`: `The ship in 1911` becomes `the-ship-in-1911`."""
    return re.sub(r"[^a-z0-9]+", "-", fold(heading)).strip("-")
