"""What stops the service at once, with one sentence that names the file and the command that mends it."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.settings import Settings, SettingsError, read_settings
from tests.conftest import LIGHTHOUSE

ROOT = Path(__file__).resolve().parents[2]


def start(**settings: str) -> subprocess.CompletedProcess[str]:
    import os

    environment = {
        **os.environ,
        "DOCENT_TOPIC": str(LIGHTHOUSE),
        "DOCENT_ENGINE": "scripted",
        "DOCENT_PORT": str(_free_port()),
        **settings,
    }
    return subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def stopped(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


def test_no_release(tmp_path: Path) -> None:
    stopped(
        start(DOCENT_RELEASE=str(tmp_path / "none")), "there is no such release", "make train-adapter TOPIC=lighthouse"
    )


def test_a_release_without_manifest(copy_of_release: Callable[[], Path]) -> None:
    release = copy_of_release()
    (release / "manifest.json").unlink()
    stopped(start(DOCENT_RELEASE=str(release)), "no manifest.json", "make train-adapter")


def test_a_damaged_manifest(copy_of_release: Callable[[], Path]) -> None:
    release = copy_of_release()
    (release / "manifest.json").write_text("{")
    stopped(start(DOCENT_RELEASE=str(release)), "manifest.json: damaged", "make train-adapter")


def test_a_wrong_fingerprint(copy_of_release: Callable[[], Path]) -> None:
    release = copy_of_release()
    manifest = release / "manifest.json"
    import json

    table = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**table, "prompt_fingerprint": "0" * 16}))
    stopped(start(DOCENT_RELEASE=str(release)), "trained on prompt 0000000000000000", "make train-adapter")


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("gate.skops", "make train-gatekeeper"),
        ("facts.jsonl", "make train-gatekeeper"),
        ("evidence.npz", "make train-gatekeeper"),
        ("weights/config.json", "make train-adapter"),
        ("weights/model.safetensors", "make train-adapter"),
    ],
)
def test_a_missing_file(copy_of_release: Callable[[], Path], missing: str, command: str) -> None:
    release = copy_of_release()
    (release / missing).unlink()
    stopped(start(DOCENT_RELEASE=str(release)), command)


def test_a_damaged_gate(copy_of_release: Callable[[], Path]) -> None:
    release = copy_of_release()
    (release / "gate.skops").write_bytes(b"not a gate")
    stopped(start(DOCENT_RELEASE=str(release)), "gate.skops: not a gate file, or damaged", "make train-gatekeeper")


def test_a_port_in_use(stand_in_release: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        stopped(
            start(DOCENT_RELEASE=str(stand_in_release), DOCENT_PORT=port),
            f"DOCENT_PORT={port}",
            "end the program that holds it",
        )


def test_a_release_of_another_topic(stand_in_release: Path) -> None:
    stopped(
        start(DOCENT_RELEASE=str(stand_in_release), DOCENT_TOPIC="ho_chi_minh"),
        "'lighthouse'",
        "DOCENT_TOPIC=lighthouse",
    )


def test_settings_come_from_the_environment_and_are_checked() -> None:
    assert read_settings({}) == Settings()
    assert read_settings({"DOCENT_PORT": "9000", "DOCENT_UI_PORT": "1", "PATH": "x"}).port == 9000
    with pytest.raises(SettingsError, match="DOCENT_PROT: no such setting"):
        read_settings({"DOCENT_PROT": "9000"})
    with pytest.raises(SettingsError, match="DOCENT_BENCH=1 is for this machine alone"):
        read_settings({"DOCENT_BENCH": "1", "DOCENT_HOST": "0.0.0.0", "DOCENT_ALLOW_ANONYMOUS": "1"})
    with pytest.raises(SettingsError, match="DOCENT_PORT='many'"):
        read_settings({"DOCENT_PORT": "many"})
