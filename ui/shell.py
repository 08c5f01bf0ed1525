"""The ASGI shell around Gradio: few doors, a strict content policy, and a first screen in the very first bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from ui.doors import FEEDBACK_PATH, LISTEN_PATH, SOURCES_FOLDER, SPEAK_PATH, STAFF_PATH, STATE_PATH
from ui.first import first_page
from ui.settings import Settings
from ui.watch import Watch

# Everything else is closed: Gradio also offers an upload without login, a list of past runs and its own manual.
# `run/predict` looks like the general door to every function, but without it no unqueued event arrives.
_OPEN_PATHS = frozenset(
    {"/", "/config", "/theme.css", STATE_PATH, FEEDBACK_PATH, SPEAK_PATH, LISTEN_PATH, STAFF_PATH}
    | {f"/gradio_api/{name}" for name in ("cancel", "reset", "app_id", "startup-events", "run/predict")}
)
_OPEN_FOLDERS = ("/assets/", "/static/", "/gradio_api/queue/", "/gradio_api/heartbeat/", SOURCES_FOLDER)

# Inline, because Gradio's page carries its configuration in inline scripts; never eval. Blobs are sentences read aloud.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LISTENING = {**_HEADERS, "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)"}
"""Of the page alone, and only where spoken questions are understood."""


class Shell:
    """Wraps Gradio's app. What is not on the list is a 404, whoever asks."""

    def __init__(self, app: FastAPI, watch: Watch, settings: Settings, let_go: Callable[[], None]) -> None:
        self._app = app
        self._watch = watch
        self._settings = settings
        self.let_go = let_go
        """Ends the heartbeats of open pages, which never end by themselves and would hold up a shutdown."""

    def running(self) -> AbstractAsyncContextManager[object]:
        """What happens at the start and the end, for an app that mounts this one: nobody else would do it."""
        return self._app.router.lifespan_context(self._app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http" or not _is_open(_own_path(scope)):
            await _closed(scope, receive, send)
        elif _own_path(scope) == "/":
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
                page = first_page(page.decode(), topic, self._settings, scope.get("root_path", "")).encode()
            headers = MutableHeaders(raw=start["headers"])
            headers["Content-Length"] = str(len(page))
            headers["Cache-Control"] = "no-store"
            await _with_headers(send, _LISTENING if topic and topic.speech.listen else _HEADERS)(start)
            await send({"type": "http.response.body", "body": page})

        await self._app(scope, receive, collect)


def _own_path(scope: Scope) -> str:
    """The path as the kiosk knows it, wherever another app has mounted it."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) or "/"


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or (path.startswith(_OPEN_FOLDERS) and ".." not in path)


async def _closed(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    await PlainTextResponse("Not found", status_code=404, headers=_HEADERS)(scope, receive, send)


def _with_headers(send: Send, dress: Mapping[str, str] = _HEADERS) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(raw=message["headers"]).update(dress)
        await send(message)

    return sending
