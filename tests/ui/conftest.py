"""Fixtures for everything that looks at the kiosk: a scripted service, a running kiosk, a browser's page.

`start_kiosk(service_url)` and `page` know nothing of the scripted service, so they serve the real one as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    async_playwright,
    expect,
)

from tests.ui.service_double import ServiceDouble
from ui.kiosk import build_app
from ui.pin import pin_hash
from ui.settings import Settings
from ui.shell import Shell

os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    # A microphone that beeps, and may be listened to without asking, as on the kiosk machine.
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
START_LIMIT_S = 120
"""Gradio alone takes seconds to import, and the machine may be training a model meanwhile."""

expect.set_options(timeout=20_000)  # the machine may be training a model meanwhile
PIN = "2468"
WARNING_S = 120
"""How long a test's kiosk asks whether anybody is there: the page's clock runs on while a busy machine looks."""
StartKiosk = Callable[..., contextlib.AbstractContextManager[str]]


@contextlib.contextmanager
def kiosk_at(service_url: str, **settings: str) -> Iterator[str]:
    """`python -m ui` against a service; yields the kiosk's address, ends it with SIGTERM and expects a clean exit."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DOCENT_UI_")}
    environ |= {"DOCENT_UI_PORT": str(port), "DOCENT_UI_SERVICE_URL": service_url, **settings}
    process = subprocess.Popen([sys.executable, "-m", "ui"], cwd=ROOT, env=environ)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert code == 0


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until:
        assert process.poll() is None, f"the kiosk ended with {process.returncode}"
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{url}/kiosk/state", trust_env=False)
            return
        time.sleep(0.25)
    raise AssertionError(f"no kiosk at {url} after {START_LIMIT_S} s")


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """An app of this process on a free port; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + START_LIMIT_S
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@contextlib.contextmanager
def kiosk_here(settings: Settings) -> Iterator[tuple[Shell, str]]:
    """A kiosk in this process, in a second rather than in five; and its address."""
    app = build_app(settings)
    with served(app) as url:
        yield app, url
        app.let_go()


@pytest.fixture(scope="session")
def start_kiosk() -> StartKiosk:
    """`with start_kiosk(service_url) as url:` runs a kiosk of its own."""
    return kiosk_at


@pytest.fixture(scope="session")
def _one_double() -> Iterator[ServiceDouble]:
    double = ServiceDouble()
    double.start()
    yield double
    double.stop()


@pytest.fixture
def service(_one_double: ServiceDouble) -> Iterator[ServiceDouble]:
    """The scripted service, running and with an empty memory."""
    _one_double.reset()
    yield _one_double
    _one_double.start_again()


@pytest.fixture(scope="session")
def kiosk_url(_one_double: ServiceDouble) -> Iterator[str]:
    """A kiosk in front of the scripted service, with a staff's panel."""
    with kiosk_at(_one_double.url, DOCENT_UI_STAFF_PIN=pin_hash(PIN), DOCENT_UI_WARNING_S=str(WARNING_S)) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for everybody; whoever asks for a page gets one that knows nothing of the others."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield browser
        await browser.close()


NewPage = Callable[[], Awaitable[Page]]
UPRIGHT: ViewportSize = {"width": 1080, "height": 1920}


@pytest_asyncio.fixture(loop_scope="session")
async def new_page(browser: Browser) -> AsyncIterator[NewPage]:
    """Makes empty pages, each in a browser profile of its own."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    async def make() -> Page:
        contexts.append(await browser.new_context(viewport=UPRIGHT, has_touch=True))
        return _watched(await contexts[-1].new_page(), faults)

    yield make
    for context in contexts:
        await context.close()
    assert faults == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gallery(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser profile that many visitors use, as on a kiosk; it holds the page's parts and so loads sooner."""
    context = await browser.new_context(viewport=UPRIGHT, has_touch=True)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(gallery: BrowserContext) -> AsyncIterator[Page]:
    """An empty page. At the end: no error in its console, and nobody outside asked."""
    faults: list[str] = []
    page = _watched(await gallery.new_page(), faults)
    await page.set_viewport_size(UPRIGHT)
    yield page
    await page.close()
    assert faults == []


@pytest_asyncio.fixture(loop_scope="session")
async def timed(new_page: NewPage) -> Page:
    """A page whose time the test moves on; a profile has one time for all its pages."""
    page = await new_page()
    await page.clock.install()
    return page


def _watched(page: Page, faults: list[str]) -> Page:
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("console", lambda line: faults.append(f"console: {line.text}") if _is_fault(line) else None)
    page.on("request", lambda request: faults.append(f"outside: {request.url}") if _outside(request) else None)
    return page


def _is_fault(line: ConsoleMessage) -> bool:
    # Gradio says the first of its own requests when a page is left, or its kiosk ends, in the middle of one.
    own = (
        "AbortError: signal is aborted",
        "Unexpected error Connection errored out",
        "Failed to load resource: net::ERR_CONNECTION_REFUSED",
        # A wrong PIN, and a passage that is not there.
        "Failed to load resource: the server responded with a status of 403",
        "Failed to load resource: the server responded with a status of 404",
        # A speech engine that gives nothing.
        "Failed to load resource: the server responded with a status of 503",
    )
    return line.type == "error" and not line.text.startswith(own)


def _outside(request: Request) -> bool:
    return not re.match(r"(http://127\.0\.0\.1[:/]|file:|data:|about:|blob:)", request.url)
