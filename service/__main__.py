"""python -m service: settings -> app -> uvicorn. Stops at once, with one sentence, when something is missing.

`python -m service key` makes a key for `DOCENT_API_KEYS`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import signal
import socket
import sys
from types import FrameType

import uvicorn
from pythonjsonlogger.json import JsonFormatter

from gatekeeper import GateError
from service.app import build_app
from service.door import digest
from service.settings import Settings, SettingsError, read_settings
from topics.errors import TopicError
from topics.release import ReleaseError


def _listen(settings: Settings) -> socket.socket:
    try:
        return socket.create_server((settings.host, settings.port), backlog=2048)
    except OSError as error:
        raise SettingsError(
            f"DOCENT_PORT={settings.port}: cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
            "end the program that holds it, or set DOCENT_PORT to another number"
        ) from error


def _log(settings: Settings) -> None:
    handler = logging.StreamHandler()
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter("{asctime}{levelname}{name}{message}", style="{"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=settings.log_level, handlers=[handler])


class _Server(uvicorn.Server):
    """Says that it is ending before it does; `SIGHUP` makes it take a new release."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        reloader = self.config.app.state.docent.reloader  # type: ignore[union-attr]
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.ask)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.config.app.state.docent.keeper.drain()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)


def _new_key() -> int:
    key = secrets.token_urlsafe(32)
    print(f"the key, for the client:     {key}\nits digest, for the service: sha256:{digest(key)}")
    return 0


def main() -> int:
    if sys.argv[1:] == ["key"]:
        return _new_key()
    if sys.argv[1:]:
        print("service: there are `python -m service` and `python -m service key`", file=sys.stderr)
        return 2
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it serves: it is about to read the newest release anyway
    try:
        settings = read_settings()
        _log(settings)
        listener = _listen(settings)
        app = build_app(settings)
    except (SettingsError, TopicError, ReleaseError, GateError, FileNotFoundError) as error:
        print(f"service: {error}", file=sys.stderr)
        return 2
    server = _Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=math.ceil(settings.drain_s)
        )
    )
    logging.getLogger("service").info("listening on http://%s:%d", settings.host, settings.port)
    # When it has ended, uvicorn raises the signal that ended it once more; a requested end is exit 0.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
