"""The staff's panel: a hidden gesture, a PIN that is nowhere in the page, and a lock against guessing."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import httpx
import pytest
from playwright.async_api import Page, expect
from pydantic import SecretStr

from tests.ui.conftest import PIN, ROOT, kiosk_here
from tests.ui.service_double import ServiceDouble, texts
from tests.ui.steps import answered, arrive, ask, touch_corner
from ui.pin import LOCKED_S, TRIES, Lock, is_pin_hash, pin_hash
from ui.settings import Settings, SettingsError, read_settings

pytestmark = pytest.mark.timeout(120)

EN = texts("en")


def test_a_pin_is_kept_as_a_hash_that_differs_each_time() -> None:
    one, other = pin_hash(PIN), pin_hash(PIN)
    assert one != other and PIN not in one.split(":")[0] and is_pin_hash(one)
    assert Lock(one).opens(PIN) and not Lock(one).opens("2469")


def test_three_wrong_pins_lock_for_a_minute_and_then_the_right_one_opens() -> None:
    now = [0.0]
    lock = Lock(pin_hash(PIN), clock=lambda: now[0])
    assert [lock.opens("0000") for _ in range(TRIES)] == [False] * TRIES
    assert lock.locked_s() == LOCKED_S
    assert not lock.opens(PIN), "not even the right one while it is locked"
    now[0] = LOCKED_S
    assert lock.opens(PIN) and lock.locked_s() == 0


def test_a_right_pin_forgets_the_wrong_ones_before_it() -> None:
    lock = Lock(pin_hash(PIN))
    for _ in range(3):
        assert not lock.opens("0000") and not lock.opens("1111") and lock.opens(PIN)


@pytest.mark.parametrize("value", [PIN, "scrypt:aa:bb", "md5:00:11", "::"])
def test_a_pin_itself_in_the_settings_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DOCENT_UI_STAFF_PIN", value)
    with pytest.raises(SettingsError, match="python -m ui pin") as refused:
        read_settings()
    assert value not in str(refused.value)


def test_the_command_makes_what_the_settings_take() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "ui", "pin"], cwd=ROOT, input=f"{PIN}\n", capture_output=True, text=True, check=True
    )
    name, _, value = made.stdout.strip().partition("=")
    assert name == "DOCENT_UI_STAFF_PIN" and Settings(staff_pin=value).staff_pin  # type: ignore[arg-type]
    assert Lock(value).opens(PIN)


def test_a_pin_that_nobody_could_type_is_refused() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "ui", "pin"], cwd=ROOT, input="abc\n", capture_output=True, text=True, check=False
    )
    assert made.returncode == 2 and "digits" in made.stderr


@pytest.mark.asyncio(loop_scope="session")
async def test_the_panel_shows_how_the_guide_is_and_restarts_the_screen(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    service.engine = False
    await arrive(page, kiosk_url)
    await ask(page, "Zanzibar?")
    await answered(page)
    await touch_corner(page)
    await expect(page.locator("#k-staff")).to_be_visible()
    for digit in PIN:
        await page.locator("#k-staff-pad").get_by_text(digit, exact=True).tap()
    assert await page.locator("#k-staff-typed").inner_text() == "●" * len(PIN)
    await page.locator("#k-staff-pad button").last.tap()
    await expect(page.locator("#k-staff-health dd")).to_have_text([EN["staff_works"], EN["staff_rests"], "–"])
    async with page.expect_navigation():
        await page.tap("#k-staff-restart")
    await expect(page.locator("#k-attract")).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
async def test_the_screen_goes_dark_and_comes_back(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    await touch_corner(page)
    await page.keyboard.type(PIN)
    await page.locator("#k-staff-pad button").last.tap()
    await expect(page.locator("#k-staff-health dd")).to_have_text([EN["staff_works"], EN["staff_works"], "r7"])
    await page.tap("#k-staff-dark")
    await page.touchscreen.tap(540, 900)
    await expect(page.locator("#k-dark")).to_be_visible()
    async with page.expect_navigation():
        await touch_corner(page)
    await expect(page.locator("#k-attract")).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_forgotten_panel_closes_itself(timed: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(timed, kiosk_url)
    await touch_corner(timed)
    await expect(timed.locator("#k-staff")).to_be_visible()
    async with timed.expect_navigation():
        await timed.clock.fast_forward(61_000)


@pytest.mark.asyncio(loop_scope="session")
async def test_guessing_locks_the_panel_and_the_pin_is_not_in_the_page(page: Page, service: ServiceDouble) -> None:
    with kiosk_here(Settings(service_url=service.url, staff_pin=SecretStr(pin_hash("97531")))) as (_, url):
        await arrive(page, url)
        assert "97531" not in await page.content() and "scrypt" not in await page.content()
        await touch_corner(page)
        for _ in range(TRIES):
            await page.keyboard.type("0000")
            async with page.expect_response("**/kiosk/staff"):
                await page.locator("#k-staff-pad button").last.tap()
        await expect(page.locator("#k-staff-said")).to_contain_text("Too many tries")
        async with httpx.AsyncClient(trust_env=False) as http:
            reply = await http.post(f"{url}/kiosk/staff", json={"pin": "97531"})
        assert reply.status_code == 403 and 0 < reply.json()["locked_s"] <= LOCKED_S
        await page.goto("about:blank")


@pytest.mark.asyncio(loop_scope="session")
async def test_without_a_pin_in_the_settings_there_is_no_panel(page: Page, service: ServiceDouble) -> None:
    with kiosk_here(Settings(service_url=service.url)) as (_, url):
        await arrive(page, url)
        await touch_corner(page)
        await asyncio.sleep(0.3)
        await expect(page.locator("#k-staff")).to_be_hidden()
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.post(f"{url}/kiosk/staff", json={"pin": PIN})).status_code == 404
        await page.goto("about:blank")
