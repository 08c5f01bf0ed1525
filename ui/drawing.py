"""What a visit looks like: its turns as HTML for Gradio's message list, in which no word of anybody has a meaning."""

from __future__ import annotations

from ui.client import Texts
from ui.visit import Turn, Visit
from ui.words import literal, plain, typeset, unbroken


def conversation(visit: Visit) -> list[dict[str, str]]:
    """Every turn as two messages. Only the newest answer asks whether it helped."""
    return [message for turn in visit.turns for message in _messages(turn, visit, newest=turn is visit.turns[-1])]


def _messages(turn: Turn, visit: Visit, newest: bool) -> tuple[dict[str, str], dict[str, str]]:
    texts = visit.topic.texts.get(turn.language, visit.texts)
    parts = [_said(plain(turn.answer), turn.language)] if turn.answer else []
    if turn.stopped:
        parts.append(_said(texts.stopped, turn.language, "k-stopped"))
    sources = "".join(
        f'<button class="k-from" lang="{turn.language}" value="{literal(source.id)}">'
        f"<span>{literal(f'{texts.source}: {source.title}')}</span></button>"
        for source in turn.sources
    )
    thumbs = _thumbs(turn.id, visit.texts) if turn.id and newest and visit.topic.feedback else ""
    aloud = _aloud(turn, visit) if newest and not visit.busy else ""
    if sources or thumbs or aloud:
        parts.append(f'<div class="k-tools"><div class="k-sources">{sources}</div>{aloud}{thumbs}</div>')
    return (
        {"role": "user", "content": _said(turn.question, turn.language)},
        {"role": "assistant", "content": "".join(parts) or _said(texts.thinking, turn.language, "k-thinking")},
    )


def _aloud(turn: Turn, visit: Visit) -> str:
    """A button that reads the answer, where there is a voice for its language; the page's script names it anew."""
    if not turn.answer or turn.language not in visit.topic.speech.speak:
        return ""
    label = f"<span>{literal(visit.texts.read_aloud)}</span>"
    return f'<button class="k-aloud" value="{turn.language}">{label}</button>'


def _thumbs(answer: str, texts: Texts) -> str:
    """Two buttons without a word to see; the page's script names them anew when the language changes."""
    up, down = (
        f'<button class="k-thumb" name="{rating}" value="{literal(answer)}" title="{literal(label)}"></button>'
        for rating, label in (("up", texts.helpful), ("down", texts.not_helpful))
    )
    return f'<div class="k-thumbs">{up}{down}</div>'


def greeting(visit: Visit) -> str:
    """What the guide says before anything was asked."""
    words = unbroken(visit.texts.greeting, visit.topic.title[visit.language])
    return _said(words, visit.language, "k-greeting")


def header(visit: Visit) -> str:
    """Who speaks, about what, and that it is a computer."""
    texts, title = visit.texts, visit.topic.title[visit.language]
    return (
        f'<p class="k-guide">{literal(texts.guide)}</p><h1>{literal(title)}</h1>'
        f'<p class="k-notice">{literal(texts.computer_notice)}</p>'
    )


def _said(text: str, language: str, role: str = "k-said") -> str:
    """Words in their language, as one block of HTML in which no sign has a meaning."""
    return f'<div class="{role}" lang="{language}">{literal(typeset(text)).replace(chr(10), "<br>")}</div>'
