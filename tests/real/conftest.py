"""The real thing: a release made by training, `python -m service` with vLLM on the CPU, asked over HTTP."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.conftest import LIGHTHOUSE, MINI, ROOT, Finished
from tests.ui.conftest import browser, gallery, page, start_kiosk  # noqa: F401
from topics.release import MANIFEST, Manifest, write_manifest
from topics.topic import Topic
from training.release import release
from training.run import RunFolder


class Running(NamedTuple):
    """A server of our own, in a process of its own."""

    url: str
    program: subprocess.Popen[bytes]


@contextlib.contextmanager
def running_service(topic: Path, folder: Path, **more: str) -> Iterator[Running]:
    """`python -m service` on a free port, ready; ended with SIGTERM, and the exit must be clean."""
    port = free_port()
    settings = {"DOCENT_TOPIC": str(topic), "DOCENT_RELEASE": str(folder), "DOCENT_PORT": str(port), **more}
    with running([sys.executable, "-m", "service"], port, "/ready", settings) as service:
        yield service
        service.program.send_signal(signal.SIGTERM)
        assert service.program.wait(30) == 0


@contextlib.contextmanager
def service_at(topic: Path, folder: Path, **more: str) -> Iterator[str]:
    """The address of a `running_service`."""
    with running_service(topic, folder, **more) as service:
        yield service.url


@contextlib.contextmanager
def running(command: list[str], port: int, ready: str, settings: dict[str, str]) -> Iterator[Running]:
    """A server from the moment that its address `ready` is green."""
    program = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings})
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{url}{ready}", program, 240)
        yield Running(url, program)
    finally:
        if program.poll() is None:
            program.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait(url: str, program: subprocess.Popen[bytes], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        assert program.poll() is None, f"the service ended with {program.returncode}"
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"{url} is not green after {limit_s} s")


@pytest.fixture(scope="session")
def released(finished: Finished, lighthouse: Topic, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("real")
    made = release(
        lighthouse, finished.recipe, RunFolder(finished.folder), lighthouse.rows(), finished.result, root=root
    ).folder
    # The model speaks whenever it may, so that what is tested is the model and not the museum's own words.
    manifest = Manifest.model_validate_json((made / MANIFEST).read_text(encoding="utf-8"))
    write_manifest(made, manifest.model_copy(update={"answering": "generate"}))
    return made


@pytest.fixture(scope="session")
def museum(released: Path) -> Iterator[str]:
    """The address of a service with a real engine; without the cache, whose warming would count among the requests."""
    with service_at(LIGHTHOUSE, released, DOCENT_CACHED_ANSWERS="0") as url:
        yield url


@pytest.fixture(scope="session")
def babbling(released: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Topic and release of a guide that never ends: its end token is one that it never says."""
    folder = tmp_path_factory.mktemp("babbling")
    shutil.copytree(LIGHTHOUSE, folder / "topic")
    with (folder / "topic" / "topic.toml").open("a", encoding="utf-8") as file:
        file.write("\n[generation]\nmax_tokens = 900\n")
    shutil.copytree(released, folder / "release", ignore=shutil.ignore_patterns("weights"))
    shutil.copytree(MINI, folder / "release" / "weights")
    for name, end in (("config", 0), ("generation_config", 0), ("tokenizer_config", "<|pad|>")):
        file_ = folder / "release" / "weights" / f"{name}.json"
        key = "eos_token" if name == "tokenizer_config" else "eos_token_id"
        file_.write_text(json.dumps({**json.loads(file_.read_text()), key: end}))
    return folder / "topic", folder / "release"
