"""A web page, saved or by address, as clean sentences with their section and reference. Wikipedia's layout is known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
from bs4 import BeautifulSoup, Tag
from sentencex import segment

from topics.errors import TopicError
from topics.text import fold

MOST_BYTES = 20_000_000
_NOISE = (
    "script, style, noscript, nav, header, footer, aside, form, table, figure, figcaption, sup.reference, "
    ".reference, .mw-editsection, .navbox, .infobox, .hatnote, .toc, .metadata, .reflist, .references, "
    ".mw-empty-elt, .thumb, .gallery, .shortdescription, .noprint, math"
)
_LAST_SECTIONS = {
    "references",
    "notes",
    "see also",
    "external links",
    "further reading",
    "bibliography",
    "sources",
    "citations",
    "footnotes",
    "notes et references",
    "voir aussi",
    "liens externes",
    "bibliographie",
    "xem them",
    "tham khao",
    "lien ket ngoai",
    "chu thich",
    "参考文献",
    "外部链接",
    "参见",
    "referencias",
    "vease tambien",
    "enlaces externos",
}
_BRACKETS = re.compile(r"\[(?:\d+|[a-z]|note \d+|citation needed)\]", re.IGNORECASE)


class Sentence(NamedTuple):
    """A sentence, the section it stands in, and the page it comes from."""

    text: str
    section: str
    reference: str


def read_page(source: str, *, language: str = "en", client: httpx.Client | None = None) -> list[Sentence]:
    """The sentences of a saved page or of an http(s) address. Raises TopicError when there is no text to be had."""
    page, address = _fetch(source, client)
    soup = BeautifulSoup(page, "lxml")
    title = _text(soup.find("h1") or soup.title) or address
    # A page saved from the web usually says where it came from.
    canonical = soup.find("link", rel="canonical")
    href = canonical.get("href") if isinstance(canonical, Tag) else None
    reference = f"{title}, {href or address}"
    for noise in soup.select(_NOISE):
        noise.decompose()
    body = soup.select_one("#mw-content-text .mw-parser-output, .mw-parser-output, article, main") or soup.body or soup
    found = [Sentence(text, section, reference) for section, text in _sentences(body, title, language)]
    if not found:
        raise TopicError(
            f"{source}: no running text in it; save the page as HTML once it is fully shown, and give that file"
        )
    return found


def _fetch(source: str, client: httpx.Client | None) -> tuple[bytes, str]:
    if not re.match(r"https?://", source):
        try:
            return Path(source).read_bytes(), Path(source).name
        except (FileNotFoundError, IsADirectoryError):
            raise TopicError(
                f"{source}: there is no such file; give a saved page, or an address that begins with https://"
            ) from None
    try:
        with client or httpx.Client(
            follow_redirects=True, timeout=20, headers={"User-Agent": "Docent (a museum's guide)"}
        ) as http:
            answer = http.get(source)
            answer.raise_for_status()
    except httpx.HTTPError as error:
        raise TopicError(f"{source}: cannot be read ({error}); save the page in a browser and give the file") from error
    if len(answer.content) > MOST_BYTES:
        raise TopicError(
            f"{source}: {len(answer.content):,} bytes, and at most {MOST_BYTES:,} are read; give a part of it"
        )
    return answer.content, source


def _sentences(body: Tag, title: str, language: str) -> Iterator[tuple[str, str]]:
    section = title
    for block in body.find_all(["h2", "h3", "h4", "p", "li", "blockquote"]):
        text = _text(block)
        if block.name in ("h2", "h3", "h4"):
            if block.name == "h2" and fold(text) in _LAST_SECTIONS:
                return
            section = text or section
        elif not block.find(["p", "li"]):  # the innermost block has the words
            for sentence in segment(language, text):
                if _is_sentence(clean := sentence.strip()):
                    yield section, clean


def _text(tag: Tag | None) -> str:
    return " ".join(_BRACKETS.sub("", tag.get_text()).split()) if tag else ""


def _is_sentence(text: str) -> bool:
    """Running text, not a menu entry or a caption."""
    return text.endswith((".", "!", "?", "。", "！", "？", "”", '"', "»")) and (
        len(text.split()) >= 4 or len(text) >= 12
    )
