"""Service and kiosk together, in the foreground: `make kiosk`. Ctrl-C or SIGTERM ends both.

Each is its own process, so that the screen outlives a restart of the model.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import FrameType

ENDING_S = 15


def main() -> int:
    service_port = os.environ.get("DOCENT_PORT", "8000")
    ui_port = os.environ.get("DOCENT_UI_PORT", "7860")
    url = f"http://127.0.0.1:{service_port}"
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    # SIGHUP is what a closing terminal sends; the service takes it for a wish to load the new release.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    kiosk_env = {**os.environ, "DOCENT_UI_SERVICE_URL": os.environ.get("DOCENT_UI_SERVICE_URL", url)}
    programs = {
        "service": subprocess.Popen([sys.executable, "-m", "service"]),
        "kiosk": subprocess.Popen([sys.executable, "-m", "ui"], env=kiosk_env),
    }
    told = False
    try:
        while not stopping:
            ended = next((name for name, program in programs.items() if program.poll() is not None), None)
            if ended and not stopping:
                code = programs[ended].returncode
                print(f"kiosk: the {ended} ended with exit {code}; what it said stands above", file=sys.stderr)
                return code or 1
            if not told and _answers(f"{url}/ready"):
                print(f"\n  The guide is at http://127.0.0.1:{ui_port} (Ctrl-C ends it)\n", flush=True)
                told = True
            time.sleep(0.5)
    finally:
        _end(programs)
    return 0


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(programs: dict[str, subprocess.Popen[bytes]]) -> None:
    for program in programs.values():
        if program.poll() is None:
            program.terminate()
    until = time.monotonic() + ENDING_S
    for program in programs.values():
        try:
            program.wait(timeout=max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            program.kill()


if __name__ == "__main__":
    sys.exit(main())
