"""What a visitor does at the kiosk, as steps for the tests."""

from __future__ import annotations

import asyncio
import time

from playwright.async_api import Page, expect

ASKED = "#k-chat [data-testid=user]"
SAID = "#k-chat [data-testid=bot]"
ANSWERED = f"{SAID} .k-said"
"""The words of an answer, without the buttons beneath them."""
SHOWN_WORDS = """() => [
    document.body.innerText, document.title,
    ...[...document.querySelectorAll('body *')].flatMap((element) =>
        ['aria-label', 'placeholder', 'title', 'alt', 'value'].map((name) => element.getAttribute(name) || '')),
    ...[...document.querySelectorAll('input, textarea')].map((field) => field.value),
].join('\\n')"""
KEPT_WORDS = "() => JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie"


async def arrive(page: Page, url: str, language: str = "en") -> None:
    """Load the kiosk, touch a language, and wait until the visitor could ask."""
    await page.goto(url)
    await begin(page, language)


async def begin(page: Page, language: str = "en") -> None:
    """Touch a language on the attract screen."""
    await page.tap(f"#k-attract-languages button[value={language}]")
    await expect(page.locator("#k-attract")).to_be_hidden()
    await expect(page.locator("#k-chip-0")).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("lang", language)


async def ask(page: Page, question: str) -> None:
    """Write a question and touch Ask."""
    await page.fill("#k-box input", question)
    await page.tap("#k-ask")


async def answered(page: Page, answers: int = 1) -> str:
    """Wait for the end of the newest answer; its words."""
    await expect(page.locator(SAID)).to_have_count(answers)
    await expect(page.locator("#k-ask")).to_be_visible()
    return await page.locator(SAID).last.inner_text()


async def start_over(page: Page) -> None:
    """Touch Start over and wait for the fresh page."""
    async with page.expect_navigation():
        await page.tap("#k-over")
    await expect(page.locator("#k-attract")).to_be_visible()


async def until_true(page: Page, expression: str) -> None:
    """Look until something on the page is so; the page's own policy forbids Playwright to look from inside."""
    until = time.monotonic() + 20
    while not await page.evaluate(expression):
        assert time.monotonic() < until, f"never: {expression}"
        await asyncio.sleep(0.02)


async def until_shown(page: Page, part: str) -> None:
    """Let the page's own time run ahead (it needs `page.clock`) until `part` can be seen: it looks every 3 seconds."""
    for _ in range(200):
        if await page.locator(part).is_visible():
            return
        await page.clock.fast_forward(3000)
        await asyncio.sleep(0.1)
    await expect(page.locator(part)).to_be_visible()


async def touch_corner(page: Page) -> None:
    """The staff's hidden gesture."""
    for _ in range(5):
        await page.touchscreen.tap(20, 20)


async def later(page: Page, ms: int) -> None:
    """Move the page's time on, past its next look at the service, and wait for the reply.

    A look that is on its way while time jumps counts as missed, and two missed ones put the guide to rest.
    """
    async with page.expect_response("**/kiosk/state"):
        await page.clock.fast_forward(ms)
