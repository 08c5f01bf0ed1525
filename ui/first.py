"""The very first bytes of the page: Gradio's HTML with our style, script and covers in it.

Gradio itself would add style and script after it has drawn, with a flash; a visitor would look at nothing meanwhile.
"""

from __future__ import annotations

import html
import json
import re
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import segno

from ui.client import Colours, Texts, Topic
from ui.settings import Settings
from ui.words import LONGEST_UNBROKEN, unbroken

STATIC = Path(__file__).resolve().parent / "static"

_STYLE = ("page", "covers", "keyboard")
_SCRIPT = ("core", "covers", "announce", "telex", "keyboard", "page", "visit", "aloud", "listen", "staff", "main")
_MANY_LANGUAGES = 3
"""Beyond so many, the attract screen shows languages in two columns."""


def first_page(gradio_page: str, topic: Topic | None, settings: Settings, root: str) -> str:
    """Gradio's HTML as visitors get it, mounted at `root`; without a topic it rests and says no word."""
    language = topic.first_language if topic else ""
    page = re.sub(r"<meta\s[^>]*(?:og:|twitter:)[^>]*/>|<link rel=\"manifest\"[^>]*/>", "", gradio_page)
    page = page.replace('lang="en"', f'lang="{language}"', 1)
    page = page.replace("</head>", _head(topic) + "</head>", 1)
    covers, data, script = _covers(topic), _data(topic, settings, root), _joined("script", _SCRIPT, "js")
    page = re.sub(r"(<body[^>]*>)", lambda body: body[1] + covers, page, count=1)
    before, end, after = page.rpartition("</body>")
    scripts = f'<script type="application/json" id="k-data">{data}</script><script>{script}</script>'
    return before + scripts + end + after


def _head(topic: Topic | None) -> str:
    title = f"{_first_texts(topic).guide} · {topic.title[topic.first_language]}" if topic else "…"
    colours = topic.colours if topic else Colours()
    icon = (STATIC / "mark.svg").read_text("utf-8").replace("currentColor", colours.primary)
    return (
        f"<title>{html.escape(title)}</title>"
        '<meta name="color-scheme" content="light">'
        f'<link rel="icon" href="data:image/svg+xml,{quote(icon)}">'
        f"<style>{_joined('style', _STYLE, 'css')}"
        f":root{{--k-primary:{colours.primary};--k-accent:{colours.accent};--k-bg:{colours.background}}}</style>"
    )


def _joined(folder: str, names: Iterable[str], suffix: str) -> str:
    """Parts that belong together, in one piece: a script's parts share names with each other and with nobody else."""
    text = "\n".join((STATIC / folder / f"{name}.{suffix}").read_text("utf-8") for name in names)
    return f'(() => {{\n"use strict";\n{text}\n}})();' if suffix == "js" else text


def _covers(topic: Topic | None) -> str:
    template = string.Template((STATIC / "first.html").read_text("utf-8"))
    drawings = {
        "mark": (STATIC / "mark.svg").read_text("utf-8"),
        "resting": (STATIC / "resting.svg").read_text("utf-8"),
    }
    if topic is None:
        nothing = dict.fromkeys(template.get_identifiers(), "")
        return template.substitute(nothing | drawings | {"rests": "k-open"})
    texts = _first_texts(topic)
    before, name, after = (html.escape(part) for part in _attract(topic, topic.first_language))
    buttons = "".join(
        f'<button type="button" value="{language.code}" lang="{language.code}">{html.escape(language.name)}</button>'
        for language in topic.languages
    )
    return template.substitute(
        drawings,
        attracts="k-open",
        rests="",
        attract=f"{before}<strong>{name}</strong>{after}",
        length="k-long" if len(name) > LONGEST_UNBROKEN else "",
        touch_to_begin=html.escape(texts.touch_to_begin),
        languages=buttons,
        many="k-many" if len(topic.languages) > _MANY_LANGUAGES else "",
        computer_notice=html.escape(texts.computer_notice),
        words_kept=html.escape(texts.words_kept),
    )


def _first_texts(topic: Topic) -> Texts:
    return topic.texts[topic.first_language]


def _attract(topic: Topic, language: str) -> tuple[str, str, str]:
    """The attract sentence: before the subject's name, the name, and after it; the name is drawn larger."""
    sentence, title = topic.texts[language].attract, topic.title[language]
    before, name, after = sentence.partition(title)
    return before, unbroken(name, title), after


def _data(topic: Topic | None, settings: Settings, root: str) -> str:
    """What the page's script needs before, and after, the service can be asked."""
    data: dict[str, Any] = {
        "known": topic is not None,
        "root": root,
        "idle_s": settings.idle_s,
        "warning_s": settings.warning_s,
        "text_size": settings.text_size,
        "staff": settings.staff_pin is not None,
        "speak": topic.speech.speak if topic else (),
        "volume": settings.volume,
        "languages": [language.model_dump() for language in topic.languages] if topic else [],
        "texts": {code: texts.model_dump() for code, texts in topic.texts.items()} if topic else {},
        "long_name": LONGEST_UNBROKEN,
        "attract": {code: _attract(topic, code) for code in topic.texts} if topic else {},
        "codes": _codes(topic) if topic else {},
    }
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")


def _codes(topic: Topic) -> dict[str, str]:
    """The museum's own page as a code for telephones, by language; never a word of a visitor in it."""
    addresses = {code: texts.take_away_address for code, texts in topic.texts.items() if texts.take_away_address}
    return {code: segno.make(address, error="m").svg_data_uri(scale=8, border=2) for code, address in addresses.items()}
