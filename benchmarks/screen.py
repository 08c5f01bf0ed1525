"""The kiosk's page in a real browser: how soon it can be seen and touched, and whether a long day wears it out.

    python benchmarks/screen.py --url http://127.0.0.1:7860             # a minute
    python benchmarks/screen.py --url … --screens 8 --topic topics/ho_chi_minh
    python benchmarks/screen.py --url … --soak 60 --pid PID             # a visit a minute; PID: the kiosk
    python benchmarks/screen.py --outage                                # starts service and kiosk itself, and kills one

A running kiosk is needed (make kiosk), but for the last. Numbers are medians of so many loads; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

LOADS = 5
PAINT = """() => new Promise((done) => { let shift = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((each) => { shift += each.value; }))
        .observe({type: 'layout-shift', buffered: true});
    setTimeout(() => done({paint: performance.getEntriesByName('first-contentful-paint')[0].startTime, shift,
        requests: performance.getEntriesByType('resource').length + 1}), 3000); })"""
TOUCH = """() => new Promise((done) => { const began = performance.now();
    new MutationObserver(() => document.querySelector('.k-thinking, .k-said') && done(performance.now() - began))
        .observe(document.body, {subtree: true, childList: true});
    document.querySelector('#k-chip-0').click(); })"""
# From the touch on Ask to the first words of a new answer, at most half a minute; and whether they are an answer's.
FIRST_WORD = """() => new Promise((done) => { const began = performance.now();
    const said = () => [...document.querySelectorAll('#k-chat [data-testid=bot] .k-said')];
    const before = said().length;
    const {resting} = JSON.parse(document.querySelector('#k-data').textContent).texts[document.documentElement.lang];
    const tell = () => done({ms: performance.now() - began, answers: said().pop()?.innerText !== resting});
    new MutationObserver(() => said().length > before && tell())
        .observe(document.body, {subtree: true, childList: true});
    setTimeout(tell, 30000);
    document.querySelector('#k-ask').click(); })"""
ROUNDS = 6


async def new_page(browser: Browser, url: str, slower: int) -> Page:
    """A fresh visitor's page on a processor so many times slower."""
    context = await browser.new_context(viewport={"width": 1080, "height": 1920}, has_touch=True)
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    await page.goto(url)
    return page


async def begin(page: Page) -> None:
    """Touch the museum's own language."""
    await page.tap("#k-attract-languages button")
    await page.locator("#k-attract").wait_for(state="hidden")
    await page.locator("#k-chip-0").wait_for()


async def first_look(browser: Browser, url: str, slower: int) -> dict[str, float]:
    """When something can be seen, how much it moves, and how soon a touch is answered."""
    seen: list[dict[str, Any]] = []
    for _ in range(LOADS):
        page = await new_page(browser, url, slower)
        measured = await page.evaluate(PAINT)
        await begin(page)
        measured["touch_ms"] = await page.evaluate(TOUCH)
        seen.append(measured)
        await page.context.close()
    return {
        "slower": slower,
        "first_contentful_paint_ms": round(statistics.median(each["paint"] for each in seen)),
        "layout_shift": round(max(each["shift"] for each in seen), 4),
        "touch_to_thinking_ms": round(statistics.median(each["touch_ms"] for each in seen)),
        "requests": max(each["requests"] for each in seen),
    }


async def side_by_side(browser: Browser, url: str, screens: int, topic: Path) -> dict[str, float]:
    """How soon the first word comes when so many screens ask at the same moment, again and again."""
    questions = _questions(topic)
    pages = [await new_page(browser, url, 1) for _ in range(screens)]
    for page in pages:
        await begin(page)
    seen: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        for page in pages:
            await page.fill("#k-box input", questions.pop())
        seen += await asyncio.gather(*(page.evaluate(FIRST_WORD) for page in pages))
        for page in pages:
            await page.locator("#k-ask").wait_for()
    waited = sorted(each["ms"] for each in seen)
    return {
        "screens": screens,
        "questions": len(waited),
        "unanswered": sum(not each["answers"] for each in seen),
        "first_word_p50_ms": round(statistics.median(waited)),
        "first_word_p95_ms": round(waited[int(0.95 * (len(waited) - 1))]),
        "first_word_max_ms": round(waited[-1]),
    }


def _questions(topic: Path) -> list[str]:
    """Wordings of the museum's own language in a fixed disorder: some the museum's words answer, some the model."""
    rows = [json.loads(line) for line in (topic / "questions.jsonl").read_text("utf-8").splitlines()]
    own = rows[0]["lang"]
    wordings = [each["text"] for row in rows if row["lang"] == own for each in row.get("paraphrases", [])]
    return random.Random(7).sample(wordings, len(wordings))


async def outage(browser: Browser) -> dict[str, float]:
    """How long a screen goes on without its service, and how soon it is back with it."""
    with _programs() as (url, live, start):
        service = start()
        await _until_live(live)
        page = await new_page(browser, url, 1)
        await begin(page)
        service.kill()
        killed = time.monotonic()
        await page.locator("#k-resting.k-open").wait_for()
        rested = time.monotonic()
        service.wait()
        service = start()
        await _until_live(live)
        back = time.monotonic()
        await page.locator("#k-attract.k-open").wait_for()
        healed = time.monotonic()
        service.terminate()
        service.wait()
    return {"killed_to_resting_s": round(rested - killed, 1), "live_to_attract_s": round(healed - back, 1)}


@contextlib.contextmanager
def _programs() -> Iterator[tuple[str, str, Any]]:
    """A kiosk of its own; yields its address, where its service is looked for, and what starts that service."""
    service_port, kiosk_port = _free_port(), _free_port()
    live = f"http://127.0.0.1:{service_port}/live"
    environ = os.environ | {
        "DOCENT_PORT": str(service_port),
        "DOCENT_UI_PORT": str(kiosk_port),
        "DOCENT_UI_SERVICE_URL": f"http://127.0.0.1:{service_port}",
        "DOCENT_BOOK": "off",
    }
    kiosk = subprocess.Popen([sys.executable, "-m", "ui"], env=environ)
    try:
        yield (
            f"http://127.0.0.1:{kiosk_port}",
            live,
            lambda: subprocess.Popen([sys.executable, "-m", "service"], env=environ),
        )
    finally:
        kiosk.terminate()
        kiosk.wait()


async def _until_live(url: str) -> None:
    while True:
        with contextlib.suppress(urllib.error.URLError, OSError):
            await asyncio.to_thread(urllib.request.urlopen, url, timeout=1)
            return
        await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def soak(browser: Browser, url: str, minutes: float, pid: int | None) -> dict[str, float]:
    """A visit a minute, each ended in the middle of an answer or after it; how memory goes."""
    page = await new_page(browser, url, 1)
    session = await page.context.new_cdp_session(page)
    sizes, heaps, visits, until = [], [], 0, time.monotonic() + 60 * minutes
    while time.monotonic() < until:
        began = time.monotonic()
        await begin(page)
        await page.tap("#k-chip-0")
        if visits % 2:
            await page.locator("#k-ask").wait_for()
        async with page.expect_navigation():
            await page.tap("#k-over")
        visits += 1
        await session.send("HeapProfiler.collectGarbage")
        heaps.append((await session.send("Runtime.getHeapUsage"))["usedSize"] / 1e6)
        sizes.append(_memory_mb(pid) if pid else 0.0)
        await asyncio.sleep(max(0.0, min(60.0, until - began) - (time.monotonic() - began)))
    return {
        "visits": visits,
        "kiosk_mb_first": round(sizes[0]),
        "kiosk_mb_last": round(sizes[-1]),
        "page_mb_first": round(heaps[0], 1),
        "page_mb_last": round(heaps[-1], 1),
    }


def _memory_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:7860")
    parser.add_argument("--screens", type=int, default=0, help="so many ask at once; wants --topic")
    parser.add_argument("--topic", type=Path, default=Path("topics/ho_chi_minh"), help="its wordings are asked")
    parser.add_argument("--outage", action="store_true", help="kill a service and start it again")
    parser.add_argument("--soak", type=float, default=0, help="minutes; a visit a minute")
    parser.add_argument("--pid", type=int, help="the kiosk's process, to read its memory")
    asked = parser.parse_args()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        if asked.soak:
            print(json.dumps(await soak(browser, asked.url, asked.soak, asked.pid)))
        elif asked.screens:
            print(json.dumps(await side_by_side(browser, asked.url, asked.screens, asked.topic)))
        elif asked.outage:
            print(json.dumps(await outage(browser)))
        else:
            for slower in (1, 4):
                print(json.dumps(await first_look(browser, asked.url, slower)), flush=True)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
