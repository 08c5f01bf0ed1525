"""A service over the stand-in release, with a scripted engine, asked through ASGI or over a real socket."""

import contextlib
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI

from service.app import build_app
from service.engine import ScriptedEngine
from service.settings import Settings
from tests.conftest import LIGHTHOUSE
from tests.service.postgresql import INSTALLED, cluster, programs

_NUMBERS = itertools.count()


@pytest.fixture
def settings(stand_in_release: Path) -> Settings:
    return Settings(topic=str(LIGHTHOUSE), release=str(stand_in_release), engine="scripted")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def app(settings: Settings, engine: ScriptedEngine) -> FastAPI:
    return build_app(settings, engine=engine)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://museum") as client:
            yield client


@pytest.fixture
def serve() -> Iterator[Callable[[FastAPI], str]]:
    """A function that serves an app on a free port of this machine and gives its address."""
    with contextlib.ExitStack() as stack:
        yield lambda app: stack.enter_context(served(app))


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Address of a real PostgreSQL, with `{name}` for a database's name."""
    installed = programs()
    if installed is None:
        pytest.skip(f"no PostgreSQL server in {INSTALLED}: install Debian's package `postgresql`")
    with cluster(installed) as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database, of each kind that the book may lie in."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'book.sqlite3'}"
    address: str = request.getfixturevalue("postgresql")
    name = f"book_{next(_NUMBERS)}"
    with psycopg.connect(address.format(name="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return address.format(name=name)
