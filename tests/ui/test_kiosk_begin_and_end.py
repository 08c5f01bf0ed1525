"""How a visit begins and ends: attract, languages, the question whether anybody is there, and what is left then."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.ui.conftest import WARNING_S, NewPage
from tests.ui.service_double import BORN, LANGUAGES, PASSAGE, SOURCE, SUGGESTIONS, TITLES, ServiceDouble, texts
from tests.ui.steps import KEPT_WORDS, SAID, SHOWN_WORDS, answered, arrive, ask, begin, later, start_over
from ui.settings import Settings

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

EN = texts("en")
IDLE_MS = Settings().idle_s * 1000
WARNING_MS = WARNING_S * 1000
VISITORS = 4
"""Screens at once, where many visits are needed."""


async def test_the_attract_screen_stands_in_the_first_bytes(service: ServiceDouble, kiosk_url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        page = (await http.get(kiosk_url)).text
    title = TITLES["en"].replace(" ", "\u00a0")
    assert f'<h1 id="k-attract-title" class="">Ask me about <strong>{title}</strong></h1>' in page
    assert EN["touch_to_begin"] in page and EN["computer_notice"] in page
    assert re.findall(r'<button type="button" value="(\w+)" lang="(\w+)">([^<]+)<', page) == [
        (code, code, name) for code, name in LANGUAGES.items()
    ]


async def test_a_touch_anywhere_begins_in_the_museums_language(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    await page.goto(kiosk_url)
    await expect(page.locator("#k-attract")).to_be_visible()
    assert await page.evaluate("document.querySelector('gradio-app').inert")
    await page.touchscreen.tap(540, 500)
    await expect(page.locator("#k-attract")).to_be_hidden()
    assert not await page.evaluate("document.querySelector('gradio-app').inert")
    await expect(page.locator("#k-ask")).to_have_text(EN["ask"])


async def test_the_attract_screen_speaks_every_language_in_turn(
    timed: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    await timed.goto(kiosk_url)
    for code in [*LANGUAGES, "en"]:
        await expect(timed.locator("#k-attract-title")).to_contain_text(TITLES[code])
        await expect(timed.locator("#k-attract-touch")).to_have_text(texts(code)["touch_to_begin"])
        await expect(timed.locator("#k-attract-notice")).to_have_text(texts(code)["computer_notice"])
        await later(timed, 7000)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_everything_speaks_the_language_that_was_touched(
    page: Page, service: ServiceDouble, kiosk_url: str, language: str
) -> None:
    own = texts(language)
    await arrive(page, kiosk_url, language)
    await expect(page).to_have_title(f"{own['guide']} · {TITLES[language]}")
    await expect(page.locator("#k-ask")).to_have_text(own["ask"])
    chips = await page.locator(".k-chip").all_inner_texts()
    assert [chip.replace("\u00a0", " ") for chip in chips] == SUGGESTIONS[language]
    await page.tap("#k-size")
    await page.tap("#k-size")
    await expect(page.locator("#k-size")).to_have_text(own["normal_text"])
    await page.tap("#k-chip-0")
    assert BORN[language] in await answered(page)
    assert service.asked[0]["question"] == SUGGESTIONS[language][0] and service.asked[0]["language"] == language
    for cover in ("idle", "phone", "staff", "resting"):  # what lies ready beneath is read out as well
        await page.evaluate(f"document.querySelector('#k-{cover}').classList.add('k-open')")
    if language != "zh":
        await page.evaluate("document.querySelector('#k-keyboard').hidden = false")
    shown = (await page.evaluate(SHOWN_WORDS)).replace("\u00a0", " ")
    for name in ("still_there", "go_on", "take_away_hint", "close", "offline_title", "staff", "helpful"):
        assert own[name] in shown, name
    if language != "en":
        said = {*EN.values(), *SUGGESTIONS["en"], BORN["en"], SOURCE["en"], "conversation", "Clear", "Loading"} - {""}
        left = {word for word in said if re.search(rf"\b{re.escape(word)}", shown)} - {EN["language"]}
        # What is the same word in both languages: PIN, Service.
        assert not {word for word in left if not any(word in sentence for sentence in own.values())}


async def test_nobody_there_is_asked_and_forgotten(timed: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(timed, kiosk_url, "vi")
    await timed.tap("#k-size")
    await ask(timed, "Zanzibar ?")
    await answered(timed)
    words = len(BORN["vi"].split())
    await later(timed, IDLE_MS - 2000)
    await timed.clock.run_for(500)
    await expect(timed.locator("#k-idle")).to_be_hidden()
    await timed.clock.fast_forward(2000 + 400 * words * 2)
    await expect(timed.locator("#k-idle")).to_be_visible()
    assert await timed.evaluate("document.activeElement.id") == "k-stay"
    left = re.fullmatch(r"Màn hình sẽ bắt đầu lại sau (\d+) giây\.", await timed.locator("#k-idle-left").inner_text())
    assert left and 0 < int(left[1]) <= WARNING_S
    async with timed.expect_navigation():
        await timed.clock.fast_forward(WARNING_MS)
    await expect(timed.locator("#k-attract")).to_be_visible()
    assert "Zanzibar" not in await timed.evaluate(SHOWN_WORDS)
    assert await timed.evaluate(KEPT_WORDS) == "{}{}"
    assert await timed.locator("html").get_attribute("lang") == "en"
    assert await timed.locator("html").get_attribute("data-size") == "1"


async def test_a_visitor_may_stay_as_often_as_they_like(timed: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(timed, kiosk_url)
    for times in range(11):
        await later(timed, IDLE_MS + 1000)
        await expect(timed.locator("#k-idle")).to_be_visible()
        await later(timed, WARNING_MS // 2)
        if times % 2:
            await timed.tap("#k-stay")
        else:
            await timed.touchscreen.tap(540, 300)
        await expect(timed.locator("#k-idle")).to_be_hidden()
    assert await timed.locator("#k-chip-0").is_visible()


def test_the_shipped_times_are_long_enough() -> None:
    assert Settings().idle_s >= 60 and Settings().warning_s >= 20
    for settings in ({"warning_s": 19}, {"idle_s": 29}):
        with pytest.raises(ValueError, match="greater than or equal"):
            Settings(**settings)  # type: ignore[arg-type]


async def test_nobody_is_asked_while_an_answer_is_on_its_way(
    timed: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    service.first_word_s = 60
    await arrive(timed, kiosk_url)
    await timed.tap("#k-chip-0")
    await expect(timed.locator("#k-stop")).to_be_visible()
    await later(timed, IDLE_MS + 5000)
    await timed.clock.run_for(600)
    assert await timed.locator("#k-stop").is_visible()
    await expect(timed.locator("#k-idle")).to_be_hidden()


async def test_forty_visits_end_in_the_middle_of_an_answer_and_none_leaks(
    new_page: NewPage, service: ServiceDouble, kiosk_url: str
) -> None:
    """At several screens at once: neither the one before nor the neighbour is seen."""
    service.first_word_s, service.word_s = 0, 0.05

    async def ten_visits(screen: int) -> None:
        page = await new_page()
        await page.goto(kiosk_url)
        for number in range(10):
            await begin(page, "vi" if number % 2 else "en")
            assert await page.locator(SAID).count() == 0
            shown = await page.evaluate(SHOWN_WORDS)
            assert "Zanzibar" not in shown and BORN["en"][:20] not in shown
            await ask(page, f"Zanzibar{screen}{number} __endless__ ?")
            await expect(page.locator(SAID)).to_contain_text("1890")
            await start_over(page)
            shown = await page.evaluate(SHOWN_WORDS) + await page.evaluate(KEPT_WORDS)
            assert "Zanzibar" not in shown and "1890" not in shown

    await asyncio.gather(*map(ten_visits, range(VISITORS)))
    await service.until_cancelled(10 * VISITORS)


async def test_the_passage_behind_an_answer(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url, "vi")
    await page.tap("#k-chip-0")
    await answered(page)
    await page.tap(".k-from")
    await expect(page.locator("#k-passage")).to_be_visible()
    assert await page.locator("#k-passage-text p").all_inner_texts() == PASSAGE.split("\n\n")
    assert await page.locator("#k-passage-text").get_attribute("lang") == "en"
    assert await page.locator("#k-passage-language").inner_text() == "Đoạn này viết bằng: English."
    await page.tap("#k-passage .k-close")
    await expect(page.locator("#k-passage")).to_be_hidden()
    assert await page.locator("#k-passage-text p").count() == 0


async def test_a_passage_that_cannot_be_had_is_said_kindly(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url, "vi")
    await page.tap("#k-chip-0")
    await answered(page)
    await page.evaluate("document.querySelector('.k-from').value = 'gone'")
    await page.tap(".k-from")
    await expect(page.locator("#k-passage-text")).to_have_text(texts("vi")["passage_missing"])


async def test_thumbs_go_to_the_service_without_a_word(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    await ask(page, "Who won the football?")
    await answered(page)
    assert await page.locator(".k-thumb").count() == 0, "only an answer is rated"
    await page.tap("#k-chip-0")
    await answered(page, 2)
    up, down = page.locator(".k-thumb[name=up]"), page.locator(".k-thumb[name=down]")
    await up.tap()
    await up.tap()
    await down.tap()
    await expect(down).to_have_attribute("aria-pressed", "true")
    await expect(up).to_have_attribute("aria-pressed", "false")
    await service.until(lambda: any(thumb["rating"] == "down" for thumb in service.thumbs))
    assert service.thumbs == [{"id": "1", "rating": "up"}, {"id": "1", "rating": "down"}]
    assert await up.get_attribute("title") == EN["helpful"]
    await page.locator("#k-languages label", has_text="Tiếng Việt").tap()
    await expect(up).to_have_attribute("title", texts("vi")["helpful"])
    assert await page.locator(".k-thumbs").inner_text() == ""


async def test_the_code_to_take_home_is_the_museums_page(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url, "vi")
    await ask(page, "Zanzibar ?")
    await answered(page)
    await page.tap("#k-take")
    await expect(page.locator("#k-phone")).to_be_visible()
    assert await page.locator("#k-phone-address").inner_text() == texts("vi")["take_away_address"]
    assert "Zanzibar" not in (await page.locator("#k-phone-code").get_attribute("src") or "")
    await page.keyboard.press("Escape")
    await expect(page.locator("#k-phone")).to_be_hidden()


async def test_no_key_and_no_gesture_leads_out(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    prevented = await page.evaluate(
        """() => [['p', 'ctrl'], ['s', 'ctrl'], ['r', 'ctrl'], ['c', 'ctrl'], ['v', 'ctrl'], ['+', 'ctrl'],
            ['F5'], ['F12'], ['ArrowLeft', 'alt'], ['Home', 'alt'],
            ['a', 'ctrl'], ['a'], ['ArrowLeft'], ['@', 'alt']].map(
        ([key, with_]) => !document.body.dispatchEvent(new KeyboardEvent(
            'keydown', {key, ctrlKey: with_ === 'ctrl', altKey: with_ === 'alt', bubbles: true, cancelable: true})))"""
    )
    assert prevented == [True] * 10 + [False] * 4
    for kind in ("contextmenu", "dragstart", "dragover", "drop", "copy", "cut"):
        assert await page.evaluate(
            f"!document.body.dispatchEvent(new MouseEvent('{kind}', {{bubbles: true, cancelable: true}}))"
        ), kind
    assert await page.locator("a[href]:visible").count() == 0


async def test_two_fingers_do_not_make_the_page_larger(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    session = await page.context.new_cdp_session(page)
    pinch = {"x": 500, "y": 900, "scaleFactor": 3, "gestureSourceType": "touch"}
    await session.send("Input.synthesizePinchGesture", pinch)
    assert await page.evaluate("visualViewport.scale") == 1


async def test_the_clipboard_takes_no_visitors_words(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    await page.fill("#k-box input", "Zanzibar")
    await page.evaluate("document.querySelector('#k-box input').select(); document.execCommand('copy')")
    await start_over(page)
    await begin(page)
    await page.focus("#k-box input")
    await page.evaluate("document.execCommand('paste')")
    await page.keyboard.press("Control+v")
    assert "Zanzibar" not in await page.locator("#k-box input").input_value()
