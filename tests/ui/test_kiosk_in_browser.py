"""The kiosk as a visitor meets it: a real browser, a running kiosk, a scripted service."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from tests.ui.conftest import NewPage, kiosk_here
from tests.ui.service_double import BORN, LANGUAGES, SOURCE, SUGGESTIONS, TITLES, ServiceDouble, texts
from tests.ui.steps import (
    ANSWERED,
    ASKED,
    KEPT_WORDS,
    SAID,
    SHOWN_WORDS,
    answered,
    arrive,
    ask,
    begin,
    start_over,
    until_shown,
)
from ui.settings import Settings
from ui.words import one_line

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

EN, VI = texts("en"), texts("vi")


async def speak_vietnamese(page: Page) -> None:
    await page.locator("#k-languages label", has_text="Tiếng Việt").tap()
    await expect(page.locator("#k-ask")).to_have_text(VI["ask"])


async def test_a_visitor_is_greeted_in_the_museums_language(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    assert await page.title() == f"{EN['guide']} · {TITLES['en']}"
    assert await page.locator("html").get_attribute("lang") == "en"
    await expect(page.locator("#k-header h1")).to_have_text(TITLES["en"])
    await expect(page.locator("#k-header")).to_contain_text(EN["computer_notice"])
    greeting = await page.locator("#k-chat .k-greeting").inner_text()
    assert greeting.replace("\u00a0", " ") == EN["greeting"]
    assert await page.locator(".k-chip").all_inner_texts() == SUGGESTIONS["en"]
    assert await page.locator("#k-languages label").all_inner_texts() == list(LANGUAGES.values())


async def test_a_touched_suggestion_is_answered_with_its_source(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    service.first_word_s = 1.0
    await arrive(page, kiosk_url)
    await page.tap("#k-chip-0")
    await expect(page.locator(SAID)).to_have_text(EN["thinking"])
    await expect(page.locator("#k-status")).to_have_text(EN["thinking"])
    await expect(page.locator("#k-chip-1")).to_be_disabled()
    await expect(page.locator(SAID)).to_contain_text("19 May 1890")
    assert await page.locator("#k-stop").is_visible(), "the words come while the answer is still growing"
    words = await answered(page)
    assert BORN["en"] in words and f"{EN['from']}: {SOURCE['en']}" in words
    assert await page.locator(ASKED).inner_text() == SUGGESTIONS["en"][0]
    assert await page.locator(".k-chip").all_inner_texts() == SUGGESTIONS["en"][1:]


async def test_screen_readers_hear_each_sentence_once(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    service.word_s = 0.1
    await arrive(page, kiosk_url)
    await page.evaluate(
        """() => { window.heard = [];
        new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((line) =>
            window.heard.push([line.textContent, Boolean(document.querySelector('#k-stop'))]))))
            .observe(document.querySelector('#k-status'), {childList: true}); }"""
    )
    await page.tap("#k-chip-0")
    await answered(page)
    first, second = BORN["en"].split(". ")
    await expect(page.locator("#k-status")).to_contain_text(second)
    heard = await page.evaluate("window.heard")
    assert [line for line, _ in heard] == [EN["thinking"], f"{first}.", second, f"{EN['from']}: {SOURCE['en']}"]
    assert [growing for _, growing in heard[:3]] == [True, True, False], "a sentence is told as soon as it is whole"
    assert await page.locator("#k-status").get_attribute("aria-atomic") == "false"
    assert await page.locator("#k-chat [role=log]").get_attribute("aria-live") == "off"
    assert await page.locator("#k-chat [data-testid][aria-label]").count() == 0


async def test_a_refusal_is_kind_and_offers_questions(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    await ask(page, "Who won the football?")
    await answered(page)
    assert await page.locator(ANSWERED).inner_text() == EN["refusal"]
    assert await page.locator(".k-chip").all_inner_texts() == SUGGESTIONS["en"][1:]
    assert await page.locator("#k-box input").input_value() == ""


async def test_do_you_mean_can_be_touched(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    await ask(page, "the house?")
    await answered(page)
    assert await page.locator(ANSWERED).inner_text() == EN["unsure"]
    await page.tap("#k-chip-0")
    assert BORN["en"] in await answered(page, 2)
    assert service.asked[1]["question"] == SUGGESTIONS["en"][0]
    assert service.asked[1]["history"] == [{"question": "the house?", "answer": EN["unsure"]}]


async def test_enter_asks(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    await page.fill("#k-box input", "   ")
    await page.press("#k-box input", "Enter")
    await page.fill("#k-box input", "Where was he born?")
    await page.press("#k-box input", "Enter")
    await answered(page)
    assert [body["question"] for body in service.asked] == ["Where was he born?"]


async def test_three_quick_touches_are_one_question(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    await page.evaluate("() => [0, 1, 0].forEach((n) => document.querySelector(`#k-chip-${n}`).click())")
    await page.locator("#k-box input").press("Enter")
    await answered(page)
    await asyncio.sleep(1)
    assert await page.locator(ASKED).count() == 1 and len(service.asked) == 1


async def test_stop_keeps_what_was_said_and_tells_the_service(
    new_page: NewPage, service: ServiceDouble, kiosk_url: str
) -> None:
    """Twenty-four times, at three screens, sooner or later after the first words."""
    service.word_s = 0.1

    async def eight_stops() -> None:
        page = await new_page()
        await arrive(page, kiosk_url)
        for times in range(1, 9):
            await ask(page, "__endless__")
            await expect(page.locator(SAID).nth(times - 1)).to_contain_text("Ho Chi Minh")
            await asyncio.sleep(0.04 * (times % 5))
            await page.tap("#k-stop")
            await answered(page, times)
            words = await page.locator(ANSWERED).last.inner_text()
            assert words.startswith("Ho Chi Minh")
            assert await page.locator(f"{SAID} .k-stopped").last.inner_text() == EN["stopped"]
            assert await page.locator("[data-testid=status-tracker]:visible, .toast-wrap:visible").count() == 0

    await asyncio.gather(*(eight_stops() for _ in range(3)))
    await service.until_cancelled(24)
    assert len(service.asked) == 24
    assert all(body["history"] == [] for body in service.asked), "half an answer is not told as one"


async def test_another_language_during_an_answer(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    service.word_s = 0.1
    await arrive(page, kiosk_url)
    await ask(page, "__endless__")
    await expect(page.locator(SAID)).to_contain_text("Ho Chi Minh was")
    await speak_vietnamese(page)
    await service.until_cancelled(1)
    assert await page.locator(".k-chip").all_inner_texts() == SUGGESTIONS["vi"]
    assert await page.locator(f"{SAID} .k-said").get_attribute("lang") == "en"


async def test_a_late_reply_to_a_language_does_not_bring_stop_back(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    """The reply to the touched language and the end of the answer travel apart, and may arrive in either order."""
    service.word_s = 0.1
    answer_ended = asyncio.Event()

    async def hold_back(route: Route) -> None:
        reply = await route.fetch()
        await answer_ended.wait()
        await route.fulfill(response=reply)

    await arrive(page, kiosk_url)
    await page.route("**/gradio_api/run/predict", hold_back)
    await ask(page, "__endless__")
    await expect(page.locator(SAID)).to_contain_text("Ho Chi Minh was")
    await speak_vietnamese(page)
    async with page.expect_response("**/gradio_api/run/predict"):
        answer_ended.set()
    await asyncio.sleep(1)
    await expect(page.locator("#k-stop")).to_have_count(0)
    await expect(page.locator("#k-ask")).to_have_text(VI["ask"])
    assert await page.locator("#k-chip-0").is_enabled()


@pytest.mark.parametrize("word", ["__down__", "__break__", "__error__"])
async def test_a_failure_is_a_kind_sentence(page: Page, service: ServiceDouble, kiosk_url: str, word: str) -> None:
    await arrive(page, kiosk_url)
    await speak_vietnamese(page)
    await ask(page, f"{word} ?")
    await expect(page.locator(ANSWERED)).to_have_text(VI["resting"])
    await expect(page.locator("#k-ask")).to_be_visible()
    assert await page.locator("#k-chip-0").is_enabled()


async def test_a_replaced_answer_forgets_what_was_streamed(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    await ask(page, "__replace__")
    await answered(page)
    assert await page.locator(ANSWERED).inner_text() == "Checked: he was born in 1890."


async def test_hostile_words_are_shown_and_do_nothing(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    question = "__html__ <img src=x onerror=alert(1)> [a](https://example.org) **b** &lt; <script>alert(2)</script>"
    await arrive(page, kiosk_url)
    await ask(page, question)
    words = await answered(page)
    assert await page.locator(ASKED).inner_text() == question
    assert "<b>bold</b>" in words and "this page" in words and "example.org" not in words
    assert await page.locator("#k-chat :is(a, img, script, b, strong, em, code)").count() == 0
    assert await page.title() == f"{EN['guide']} · {TITLES['en']}"


@pytest.mark.parametrize(
    "question",
    ["\u202ehcnal\u202c מתי נולד? 👩🏽‍🚀", "x" * 300, "__bold__ *x* `y` ~~z~~ # h | t | 1. l - l $a$ \\(b\\)"],
)
async def test_any_question_is_shown_as_it_was_written(
    page: Page, service: ServiceDouble, kiosk_url: str, question: str
) -> None:
    await arrive(page, kiosk_url)
    await ask(page, question)
    await answered(page)
    assert await page.locator(ASKED).inner_text() == one_line(question) == service.asked[0]["question"]
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box, card = await page.locator(ASKED).bounding_box(), await page.locator("#k-chat").bounding_box()
    assert box and card and card["x"] <= box["x"] and box["x"] + box["width"] <= card["x"] + card["width"]


async def test_start_over_leaves_no_word(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    await speak_vietnamese(page)
    await ask(page, "Zanzibar __endless__ ?")
    await expect(page.locator(SAID)).to_contain_text("Hoàng Trù")
    await page.fill("#k-box input", "Zanzibar draft")
    await start_over(page)
    await service.until_cancelled(1)
    assert "Zanzibar" not in await page.evaluate(SHOWN_WORDS)
    assert await page.locator(SAID).count() == 0
    assert await page.evaluate(KEPT_WORDS) == "{}{}"
    assert await page.evaluate("indexedDB.databases()") == []
    await begin(page)
    assert "Zanzibar" not in await page.evaluate(SHOWN_WORDS)
    await page.tap("#k-chip-0")
    await answered(page)
    assert service.asked[-1]["history"] == []


async def test_without_the_service_the_guide_rests_and_comes_back(
    timed: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    await arrive(timed, kiosk_url)
    await speak_vietnamese(timed)
    await ask(timed, "Hồ Chí Minh sinh ra ở đâu?")
    await answered(timed)
    service.stop()
    await until_shown(timed, "#k-resting")
    assert VI["offline_title"] in await timed.locator("#k-resting").inner_text()
    assert await timed.evaluate("document.querySelector('gradio-app').inert")
    service.start()
    await until_shown(timed, "#k-attract")
    await begin(timed)
    assert await timed.locator(ASKED).count() == 0, "whoever was here has left"


async def test_a_kiosk_that_starts_first_waits_for_the_service(timed: Page, service: ServiceDouble) -> None:
    service.stop()
    with kiosk_here(Settings(service_url=service.url)) as (_, url):
        await timed.goto(url)
        await expect(timed.locator("#k-resting")).to_be_visible()
        assert (await timed.locator("body").inner_text()).strip("… \n") == "", "it has no words of its own"
        service.start()
        await until_shown(timed, "#k-attract")
        await begin(timed)
        await timed.goto("about:blank")


async def test_only_one_question_at_a_time_whatever_the_page_does(service: ServiceDouble, kiosk_url: str) -> None:
    """Without the page's script: the server, too, takes one question per visitor."""
    async with httpx.AsyncClient(base_url=kiosk_url, trust_env=False) as http:
        functions = (await http.get("/config")).json()["dependencies"]
        numbers = [f["id"] for f in functions if any(target[1] == "click" for target in f["targets"])]
        load = next(f["id"] for f in functions if any(target[1] == "load" for target in f["targets"]))
        await _run_together(http, [(load, [])])
        await _run_together(http, [(number, ["Where?"]) for number in numbers[:2]])
    assert len(service.asked) == 1


async def _run_together(http: httpx.AsyncClient, functions: list[tuple[int, list[str]]]) -> None:
    """Ask Gradio for these functions of one page at once, and wait until each has ended."""
    for number, values in functions:
        body = {"session_hash": "twice", "event_data": None, "trigger_id": None, "data": values, "fn_index": number}
        assert (await http.post("/gradio_api/queue/join", json=body)).status_code == 200
    ended = 0
    async with http.stream("GET", "/gradio_api/queue/data", params={"session_hash": "twice"}, timeout=30) as events:
        async for line in events.aiter_lines():
            ended += "process_completed" in line
            if ended == len(functions):
                return
    raise AssertionError(f"{ended} of {len(functions)} ended")
