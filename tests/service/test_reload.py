"""A new release is taken while visitors ask: nobody is dropped, and a broken one changes nothing."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.app import build_app
from service.engine import ScriptedEngine
from service.errors import EngineGone
from service.settings import Settings
from service.state import State
from tests.conftest import LIGHTHOUSE, ROOT
from topics.evidence import Evidence

OFFERED = {"question": "Tell me how high the tower of the lighthouse is"}


@pytest.fixture
def releases(stand_in_release: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that points `live` at a new release; with `linked`, at one on the weights of the one before."""
    (tmp_path / "releases").mkdir()

    def publish(name: str, *, linked: bool = False) -> Path:
        folder, link = tmp_path / "releases" / name, tmp_path / "releases" / "live"
        before = link.resolve()
        shutil.copytree(stand_in_release, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "release": name, "answering": "generate"}))
        if linked:
            (folder / "weights" / "model.safetensors").unlink()
            os.link(before / "weights" / "model.safetensors", folder / "weights" / "model.safetensors")
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
        return folder

    return publish


class Slow(ScriptedEngine):
    """Takes its time to start, so that a test can look on; or does not start at all."""

    def __init__(self, *, starts: bool = True) -> None:
        super().__init__()
        self.starts, self.begun, self.may_start = starts, False, asyncio.Event()

    async def start(self) -> None:
        self.begun = True
        await self.may_start.wait()
        if not self.starts:
            raise EngineGone("no memory for it")
        await super().start()


@pytest.fixture
def app(releases: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setattr("service.reload._ON_THE_WAY_S", 0.1)
    releases("first")
    settings = Settings(
        topic=str(LIGHTHOUSE),
        release=str(tmp_path / "releases" / "live"),
        engine="scripted",
        answer_deadline_s=3,
        cached_answers=0,
    )
    return build_app(settings, engine=ScriptedEngine(word_s=0.2))


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://museum") as client:
            yield client


@pytest.fixture
def state(app: FastAPI) -> State:
    docent: State = app.state.docent
    return docent


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


async def test_while_the_new_release_is_loaded_the_old_one_answers(
    state: State, client: httpx.AsyncClient, releases: Callable[..., Path]
) -> None:
    await until(lambda: state.keeper.ready)
    old, new = state.guide.engine, Slow()
    state.reloader.build_engine = lambda settings, weights: new
    releases("second")
    state.reloader.ask()
    await until(lambda: new.begun)
    before = (await client.post("/ask", json=OFFERED)).json()
    assert (before["source"], before["release"]) == ("model", "first")
    assert (await client.get("/ready")).json()["release"] == "first"
    new.may_start.set()
    await until(lambda: state.guide.release == "second")
    after = (await client.post("/ask", json=OFFERED)).json()
    assert (after["source"], after["release"]) == ("model", "second")
    assert (await client.get("/ready")).json()["release"] == "second"
    await until(lambda: not old.alive)
    assert state.keeper.ready


async def test_a_long_answer_outlives_its_release(
    state: State, client: httpx.AsyncClient, releases: Callable[..., Path]
) -> None:
    await until(lambda: state.keeper.ready)
    old, new = state.guide.engine, ScriptedEngine()
    state.reloader.build_engine = lambda settings, weights: new
    in_flight = asyncio.create_task(client.post("/ask", json=OFFERED))
    await until(lambda: old.running > 0)
    releases("second")
    state.reloader.ask()
    await until(lambda: state.guide.release == "second")
    assert old.running > 0 and old.alive
    reply = (await in_flight).json()
    assert (reply["source"], reply["release"]) == ("model", "first")
    await until(lambda: not old.alive)


async def test_facts_on_the_same_weights_need_no_new_engine(
    state: State, client: httpx.AsyncClient, releases: Callable[..., Path]
) -> None:
    await until(lambda: state.keeper.ready)
    engine = state.guide.engine
    folder = releases("second", linked=True)
    now = state.guide.evidence
    rows = [r.model_copy(update={"answer": r.answer.replace("38 metres", "39 metres")}) for r in now.rows]
    Evidence(now.topic, rows, now.confidence).save(folder)
    state.reloader.ask()
    await until(lambda: state.guide.release == "second")
    assert state.guide.engine is engine and state.keeper.guide is state.guide and engine.alive
    reply = (await client.post("/ask", json={"question": "How high is Gull Rock Lighthouse?"})).json()
    assert "39" in reply["answer"]


@pytest.mark.parametrize("damage", ["manifest.json", "gate.skops", "evidence.npz", "decided.npz", "engine"])
async def test_a_broken_release_is_refused_and_the_old_one_stays(
    state: State,
    client: httpx.AsyncClient,
    releases: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    await until(lambda: state.keeper.ready)
    dead = Slow(starts=False)
    dead.may_start.set()
    state.reloader.build_engine = lambda settings, weights: dead
    folder = releases("second")
    if damage != "engine":
        (folder / damage).write_text("{")
    with caplog.at_level(logging.ERROR, "service.reload"):
        state.reloader.ask()
        await until(lambda: "is not taken, and first stays" in caplog.text)
    assert state.guide.release == "first" and state.keeper.ready and state.guide.engine.alive
    assert (await client.post("/ask", json=OFFERED)).json()["source"] == "model"
    # Mended and asked again, it is taken.
    state.reloader.build_engine = lambda settings, weights: ScriptedEngine()
    shutil.rmtree(folder)
    releases("second")
    state.reloader.ask()
    await until(lambda: state.guide.release == "second")


async def test_a_service_that_ends_while_it_loads_leaves_no_engine_running(
    app: FastAPI, state: State, releases: Callable[..., Path]
) -> None:
    new = Slow()
    state.reloader.build_engine = lambda settings, weights: new
    async with app.router.lifespan_context(app):
        await until(lambda: state.keeper.ready)
        releases("second")
        state.reloader.ask()
        await until(lambda: new.begun)
    assert not new.alive and not state.guide.engine.alive


def test_sighup_changes_the_release_of_a_running_service(releases: Callable[..., Path], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    releases("first")
    settings = {
        "DOCENT_TOPIC": str(LIGHTHOUSE),
        "DOCENT_RELEASE": str(tmp_path / "releases" / "live"),
        "DOCENT_ENGINE": "scripted",
        "DOCENT_PORT": str(port),
    }
    program = subprocess.Popen([sys.executable, "-m", "service"], cwd=ROOT, env={**os.environ, **settings})

    def served() -> str | None:
        assert program.poll() is None
        with contextlib.suppress(httpx.HTTPError):
            reply = httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5)
            return str(reply.json()["release"]) if reply.status_code == 200 else None
        return None

    def wait_for(release: str) -> None:
        until = time.monotonic() + 120
        while served() != release and time.monotonic() < until:
            time.sleep(0.1)
        assert served() == release

    try:
        wait_for("first")
        releases("second")
        program.send_signal(signal.SIGHUP)
        wait_for("second")
        program.send_signal(signal.SIGTERM)
        assert program.wait(60) == 0
    finally:
        program.kill()
