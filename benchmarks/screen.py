"""The kiosk's page in a real browser: how soon it can be seen and touched, and whether a long day wears it out.

    python benchmarks/screen.py --url http://127.0.0.1:7860             # a minute
    python benchmarks/screen.py --url … --soak 60 --pid PID             # a visit a minute; PID: the kiosk

A running kiosk is needed (make kiosk). Numbers are medians of so many page loads; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
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
    parser.add_argument("--soak", type=float, default=0, help="minutes; a visit a minute")
    parser.add_argument("--pid", type=int, help="the kiosk's process, to read its memory")
    asked = parser.parse_args()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        if asked.soak:
            print(json.dumps(await soak(browser, asked.url, asked.soak, asked.pid)))
        else:
            for slower in (1, 4):
                print(json.dumps(await first_look(browser, asked.url, slower)), flush=True)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
