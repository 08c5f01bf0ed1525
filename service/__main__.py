"""python -m service: settings -> app -> uvicorn. Stops at once, with one sentence, when something is missing."""

from __future__ import annotations

import logging
import signal
import socket
import sys

import uvicorn

from gatekeeper import GateError
from service.app import build_app
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


def main() -> int:
    try:
        settings = read_settings()
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        listener = _listen(settings)
        app = build_app(settings)
    except (SettingsError, TopicError, ReleaseError, GateError, FileNotFoundError) as error:
        print(f"service: {error}", file=sys.stderr)
        return 2
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=10))
    logging.getLogger("service").info("listening on http://%s:%d", settings.host, settings.port)
    # When it has ended, uvicorn raises the signal that ended it once more; a requested end is exit 0.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
