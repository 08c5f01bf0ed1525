"""python -m service: settings -> app -> uvicorn. Stops at once, with one sentence, when something is missing.

python -m service key                                    a key for DOCENT_API_KEYS
python -m service report --days 7 --out report.html      what visitors asked, as HTML and CSV
python -m service review --out refused.jsonl             what was refused, for `python -m gatekeeper label`
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import secrets
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn
from pythonjsonlogger.json import JsonFormatter

from gatekeeper import GateError
from service.app import build_app
from service.database import BookError, book_url
from service.door import digest
from service.report import read, write_report, write_review
from service.settings import Settings, SettingsError, read_settings
from topics.errors import TopicError
from topics.release import ReleaseError
from topics.topic import load_topic


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
    logging.getLogger("alembic").setLevel(logging.WARNING)  # says at every start what it takes for granted


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


def _report(args: argparse.Namespace) -> int:
    settings = read_settings()
    topic = load_topic(settings.topic)
    lines = read(book_url(settings, topic), topic, args.days)
    page, rows = write_report(topic, lines, args.days, args.out)
    print(f"{page} and {rows}: {len(lines):,} questions")
    return 0


def _review(args: argparse.Namespace) -> int:
    settings = read_settings()
    topic = load_topic(settings.topic)
    lines = read(book_url(settings, topic), topic, args.days)
    if lines and not any(line.question for line in lines):
        raise BookError("the book keeps no words of these days, so there is nothing to review; set DOCENT_BOOK=words")
    found = write_review(topic, lines, args.out)
    print(f"{args.out}: {found:,} questions; now `python -m gatekeeper label {args.out} --topic {topic.folder}`")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=lambda args: _serve())
    commands = parser.add_subparsers(metavar="key | report | review")
    key = commands.add_parser("key", help="make a key for DOCENT_API_KEYS")
    key.set_defaults(run=lambda args: _new_key())
    days = argparse.ArgumentParser(add_help=False)
    days.add_argument("--days", type=_days, default=7, help="how many days back (default: 7)")
    report = commands.add_parser("report", parents=[days], help="what the operator's book says, as HTML and CSV")
    report.add_argument("--out", type=Path, default=Path("runs/report.html"), help="default: %(default)s")
    report.set_defaults(run=_report)
    review = commands.add_parser("review", parents=[days], help="refused questions, for the gate's next fit")
    review.add_argument("--out", type=Path, default=Path("runs/refused.jsonl"), help="default: %(default)s")
    review.set_defaults(run=_review)
    return parser


def _days(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 3660):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days; write one from 1 to 3660")
    return int(text)


def main() -> int:
    args = _parser().parse_args()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it serves: it is about to read the newest release anyway
    try:
        return int(args.run(args))
    except (SettingsError, BookError, TopicError, ReleaseError, GateError, FileNotFoundError, PermissionError) as error:
        print(f"service: {error}", file=sys.stderr)
        return 2


def _serve() -> int:
    settings = read_settings()
    _log(settings)
    listener = _listen(settings)
    app = build_app(settings)
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
