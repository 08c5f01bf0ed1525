"""The ASGI shell around Gradio: few doors, a strict content policy, and a first screen in the very first bytes."""

from __future__ import annotations

import html
import json
import re
import string
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.client import Topic
from ui.watch import Watch
from ui.words import unbroken

STATIC = Path(__file__).resolve().parent / "static"
STATE_PATH = "/kiosk/state"

# Everything else is closed: Gradio also offers an upload without login, a list of past runs and its own manual.
# `run/predict` looks like the general door to every function, but without it no unqueued event arrives.
_OPEN_PATHS = frozenset(
    {"/", "/config", "/theme.css", STATE_PATH}
    | {f"/gradio_api/{name}" for name in ("cancel", "reset", "app_id", "startup-events", "run/predict")}
)
_OPEN_FOLDERS = ("/assets/", "/static/", "/gradio_api/queue/", "/gradio_api/heartbeat/")

# Inline, because Gradio's page carries its configuration in inline scripts; never eval.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Shell:
    """Wraps Gradio's app. What is not on the list is a 404, whoever asks."""

    def __init__(self, app: ASGIApp, watch: Watch, let_go: Callable[[], None]) -> None:
        self._app = app
        self._watch = watch
        self.let_go = let_go
        """Ends the heartbeats of open pages, which never end by themselves and would hold up a shutdown."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http" or not _is_open(scope["path"]):
            await _closed(scope, receive, send)
        elif scope["path"] == "/":
            await self._page(scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gradio's page with our style, script and first screen in it: Gradio itself would add them after a flash."""
        if self._watch.topic is None:
            await self._watch.ready()
        topic = self._watch.topic
        body = bytearray()
        start: Message = {}

        async def collect(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = bytes(body)
            if start["status"] == 200 and Headers(raw=start["headers"])["content-type"].startswith("text/html"):
                page = first_page(page.decode(), topic).encode()
            headers = MutableHeaders(raw=start["headers"])
            headers["Content-Length"] = str(len(page))
            headers["Cache-Control"] = "no-store"
            await _with_headers(send)(start)
            await send({"type": "http.response.body", "body": page})

        await self._app(scope, receive, collect)


def first_page(gradio_page: str, topic: Topic | None) -> str:
    """Gradio's HTML as visitors get it; without a topic it shows the resting screen and no words."""
    language = topic.first_language if topic else ""
    page = re.sub(r"<meta\s[^>]*(?:og:|twitter:)[^>]*/>|<link rel=\"manifest\"[^>]*/>", "", gradio_page)
    page = page.replace('lang="en"', f'lang="{language}"', 1)
    page = page.replace("</head>", _head(topic) + "</head>", 1)
    return re.sub(r"(<body[^>]*>)", lambda body: body[1] + _body(topic), page, count=1)


def _head(topic: Topic | None) -> str:
    title = f"{_first(topic, 'guide')} · {topic.title[topic.first_language]}" if topic else "…"
    icon = (STATIC / "mark.svg").read_text("utf-8").replace("currentColor", "#8C1D18")
    return (
        f"<title>{html.escape(title)}</title>"
        '<meta name="color-scheme" content="light">'
        f'<link rel="icon" href="data:image/svg+xml,{quote(icon)}">'
        f"<style>{(STATIC / 'kiosk.css').read_text('utf-8')}</style>"
        f'<script type="application/json" id="k-data">{_data(topic)}</script>'
        f"<script>{(STATIC / 'kiosk.js').read_text('utf-8')}</script>"
    )


def _body(topic: Topic | None) -> str:
    title = topic.title[topic.first_language] if topic else ""
    words = {
        "guide": _first(topic, "guide"),
        "title": title,
        "computer_notice": _first(topic, "computer_notice"),
        "greeting": unbroken(_first(topic, "greeting"), title) if title else "",
    }
    return string.Template((STATIC / "first.html").read_text("utf-8")).substitute(
        {name: html.escape(text) for name, text in words.items()},
        resting=(STATIC / "resting.svg").read_text("utf-8"),
        rests="" if topic else "k-open",
    )


def _first(topic: Topic | None, name: str) -> str:
    """A text in the museum's own language; nothing where no topic was ever heard of."""
    return str(getattr(topic.texts[topic.first_language], name)) if topic else ""


def _data(topic: Topic | None) -> str:
    """What the page's script needs before, and after, the service can be asked: the resting words by language."""
    resting = {
        code: {"title": texts.offline_title, "hint": texts.offline_hint}
        for code, texts in (topic.texts.items() if topic else ())
    }
    data = {"known": topic is not None, "resting": resting}
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or (path.startswith(_OPEN_FOLDERS) and ".." not in path)


async def _closed(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    await PlainTextResponse("Not found", status_code=404, headers=_HEADERS)(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(raw=message["headers"]).update(_HEADERS)
        await send(message)

    return sending
