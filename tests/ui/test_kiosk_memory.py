"""After Start over a visitor's words are nowhere in the kiosk's process: not in a visit, not in Gradio's books."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import types
import uuid
from collections.abc import Iterator

import pytest
from playwright.async_api import Page, expect

from tests.ui.conftest import kiosk_here
from tests.ui.service_double import ServiceDouble
from tests.ui.steps import arrive, start_over
from ui.settings import Settings
from ui.shell import Shell

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def kiosk(service: ServiceDouble) -> Iterator[tuple[Shell, str]]:
    """A kiosk in this process, where its memory can be looked through; and its address."""
    with kiosk_here(Settings(service_url=service.url)) as app_and_url:
        yield app_and_url


def places(app: Shell, words: str) -> list[str]:
    """What holds a text with these words, among everything that can be reached from the kiosk."""
    modules = {id(vars(module)) for module in list(sys.modules.values()) if isinstance(module, types.ModuleType)}
    found: list[str] = []
    seen: dict[int, object] = {}  # keeps what it has seen alive, so that no id is used twice
    todo: list[tuple[object, str]] = [(app, "kiosk")]
    while todo:
        thing, holder = todo.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if isinstance(thing, str | bytes):
            found += [holder] if words.encode() in (thing.encode() if isinstance(thing, str) else thing) else []
        elif not isinstance(thing, types.ModuleType | types.FrameType | type) and id(thing) not in modules:
            todo += [(inner, f"{holder[-200:]} > {type(thing).__name__}") for inner in gc.get_referents(thing)]
    return found


@pytest.mark.parametrize("during_an_answer", [False, True])
async def test_start_over_forgets_everywhere(
    page: Page, service: ServiceDouble, kiosk: tuple[Shell, str], during_an_answer: bool
) -> None:
    app, url = kiosk
    words = f"zanzibar{uuid.uuid4().hex}"
    await arrive(page, url)
    await page.fill("#k-box input", words)
    await page.tap("#k-ask")
    await expect(page.locator("#k-chat [data-testid=bot]")).to_contain_text("Ho Chi Minh")
    if not during_an_answer:
        await expect(page.locator("#k-ask")).to_be_visible()
    assert await asyncio.to_thread(places, app, words), "the search finds what is there"
    await start_over(page)
    # A function that happens to run hides what it holds, so one clean look proves little; and what is gone cannot come
    # back. So: within a minute there are three clean looks in a row; a look may take seconds on a busy machine.
    until, clean = time.monotonic() + 60, 0
    while clean < 3:
        left = await asyncio.to_thread(places, app, words)
        clean = 0 if left else clean + 1
        assert not left or time.monotonic() < until, left
        await asyncio.sleep(0.3)
