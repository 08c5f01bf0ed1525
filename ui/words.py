"""What becomes of other people's words before they reach the screen: shown as written, never acted upon."""

from __future__ import annotations

import re
import string

LONGEST_UNBROKEN = 16
"""A longer name must be allowed to break, or it leaves the screen."""

_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ADDRESS = re.compile(r"<?\b(?:https?://|www\.)[^\s<>)]*[^\s<>).,;:!?]>?", re.IGNORECASE)
_EMPHASIS = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", re.DOTALL)
_LINE_MARK = re.compile(r"^\s*(?:#+|>|[-*+]|\d+\.)\s+", re.MULTILINE)
# Gradio's message list reads Markdown and HTML, and turns addresses into links that leave the kiosk. As a number,
# no sign means anything to it, and every sign looks the same on the screen.
_AS_NUMBERS = str.maketrans({sign: f"&#{ord(sign)};" for sign in string.punctuation})


def literal(text: str) -> str:
    """`text` for the message list, shown sign by sign, whatever Markdown or HTML it spells."""
    lines = (line.strip() for line in text.strip().splitlines())
    return "\n".join(lines).translate(_AS_NUMBERS)


def plain(answer: str) -> str:
    """An answer without the links, images and addresses that a kiosk has no use for."""
    without_links = _LINK.sub(r"\1", _IMAGE.sub("", answer))
    without_addresses = _ADDRESS.sub("", without_links)
    return _EMPHASIS.sub(r"\2", without_addresses).strip()


def paragraphs(text: str) -> list[str]:
    """A museum's Markdown as plain paragraphs; headings and lists keep their words."""
    lines = (_LINE_MARK.sub("", block) for block in re.split(r"\n\s*\n", text))
    return [" ".join(plain(line).split()) for line in lines if line.strip()]


def one_line(question: str) -> str:
    """A question as it is asked: on one line, single spaces, no control characters."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in question).split())


def typeset(text: str) -> str:
    """The text with French spacing kept together: no line begins with a question mark."""
    return re.sub(r" (?=[?!:;»])", "\u00a0", text)


def unbroken(sentence: str, name: str) -> str:
    """The sentence with a short name kept on one line."""
    return sentence.replace(name, name.replace(" ", "\u00a0")) if len(name) <= LONGEST_UNBROKEN else sentence
