"""`make kiosk`'s program: both processes up, one signal ends both, and a failure is passed on."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import LIGHTHOUSE, ROOT


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start(release: Path, **more: str) -> tuple[subprocess.Popen[str], int, int]:
    service, screen = free_port(), free_port()
    settings = {
        "DOCENT_TOPIC": str(LIGHTHOUSE),
        "DOCENT_RELEASE": str(release),
        "DOCENT_ENGINE": "scripted",
        "DOCENT_PORT": str(service),
        "DOCENT_UI_PORT": str(screen),
        **more,
    }
    program = subprocess.Popen(
        [sys.executable, "deploy/kiosk.py"],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return program, service, screen


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_ends_both(stand_in_release: Path, number: signal.Signals) -> None:
    program, service, screen = start(stand_in_release)
    urls = (f"http://127.0.0.1:{service}/ready", f"http://127.0.0.1:{screen}/")
    until = time.monotonic() + 180
    while not all(map(answers, urls)) and time.monotonic() < until:
        assert program.poll() is None
        time.sleep(0.3)
    time.sleep(1)
    program.send_signal(number)
    said, _ = program.communicate(timeout=40)
    assert program.returncode == 0
    assert f"http://127.0.0.1:{screen}" in said
    assert not any(map(answers, urls))


def test_when_one_cannot_start_the_other_ends_and_the_reason_stands_there(tmp_path: Path) -> None:
    program, _, screen = start(tmp_path / "no-release")
    said, _ = program.communicate(timeout=120)
    assert program.returncode == 2
    assert "there is no such release" in said and "the service ended with exit 2" in said
    assert not answers(f"http://127.0.0.1:{screen}/")


def test_installing_twice_does_nothing() -> None:
    device = next((f.name.removeprefix("installed-") for f in (ROOT / ".venv").glob("installed-*")), None)
    if device is None:
        pytest.skip("the tests run in an environment that make did not build")
    done = subprocess.run(
        ["make", "-s", "-n", "install", f"DEVICE={device}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
