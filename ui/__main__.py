"""`python -m ui`: read the settings, take the port, serve until told to end. `python -m ui pin`: the hash of a PIN."""

from __future__ import annotations

import getpass
import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from ui.kiosk import build_app
from ui.pin import pin_hash
from ui.settings import Settings, SettingsError, read_settings

PIN_DIGITS = range(4, 13)
"""How long a PIN may be: what the panel's keys can type, and not too quickly tried."""


def main(arguments: list[str]) -> int:
    """The program that the command line asks for."""
    if arguments == ["pin"]:
        return print_pin_hash()
    if arguments:
        print("ui: say `python -m ui` for the kiosk, or `python -m ui pin` for a PIN's hash", file=sys.stderr)
        return 2
    return serve()


def print_pin_hash() -> int:
    """Ask for a PIN, twice at a terminal, and print the line for the settings."""
    pin = getpass.getpass("PIN: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    if sys.stdin.isatty() and getpass.getpass("Once more: ") != pin:
        print("ui: the two differ; begin again", file=sys.stderr)
        return 2
    if not (pin.isascii() and pin.isdigit() and len(pin) in PIN_DIGITS):
        print(f"ui: a PIN has {PIN_DIGITS.start} to {PIN_DIGITS.stop - 1} digits and nothing else", file=sys.stderr)
        return 2
    print(f"DOCENT_UI_STAFF_PIN={pin_hash(pin)}")
    return 0


def serve() -> int:
    """Serve until SIGINT or SIGTERM, then 0; 2 with one sentence when the settings cannot be used."""
    try:
        settings = read_settings()
        listening = take_port(settings)
    except SettingsError as error:
        print(f"ui: {error}", file=sys.stderr)
        return 2
    # Other people's INFO is left out: httpx writes a line at each look whether the service lives.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("ui").setLevel(logging.INFO)
    app = build_app(settings)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="on")
    # uvicorn ends cleanly and then sends itself the signal again, which would make a wanted end look like a fault.
    for wanted_end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted_end, lambda *_: sys.exit(0))
    print(f"The kiosk is at http://{settings.host}:{settings.port}", flush=True)
    Server(config, app.let_go).run(sockets=[listening])
    return 0


class Server(uvicorn.Server):
    """Lets go of open pages as soon as it is told to end."""

    def __init__(self, config: uvicorn.Config, let_go: Callable[[], None]) -> None:
        super().__init__(config)
        self._let_go = let_go

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT or SIGTERM has come."""
        self._let_go()
        super().handle_exit(sig, frame)


def take_port(settings: Settings) -> socket.socket:
    """A socket bound to the kiosk's address; a `SettingsError` names the setting to change where that fails."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SettingsError(f"DOCENT_UI_HOST: {settings.host!r} is not an address of this machine.") from error
    listening = socket.socket(family, kind)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"DOCENT_UI_PORT: port {settings.port} of {settings.host} cannot be used"
            f" ({error.strerror}); end the program that holds it, or set another port."
        ) from error
    return listening


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
