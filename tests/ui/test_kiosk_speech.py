"""Reading aloud and listening: with the museum's speech engine scripted, and with Debian's espeak-ng itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import httpx
import pytest
from playwright.async_api import Page, expect

from service.app import build_app
from service.engine import ScriptedEngine
from service.settings import Settings as ServiceSettings
from tests.service.conftest import engine, settings  # noqa: F401
from tests.ui.conftest import PIN, kiosk_here, served
from tests.ui.service_double import BORN, PASSAGE, ServiceDouble, texts
from tests.ui.service_double import topic as topic_body
from tests.ui.steps import KEPT_WORDS, answered, arrive, ask, begin, later, start_over, touch_corner, until_true
from ui.client import Done, Topic
from ui.drawing import conversation
from ui.settings import Settings
from ui.visit import Visit

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

EN, VI = texts("en"), texts("vi")
IDLE_MS = Settings().idle_s * 1000
ALOUD = "#k-chat .k-aloud"


async def test_an_answer_is_read_a_sentence_at_a_time_and_marked(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    service.reading_s = 1
    await arrive(page, kiosk_url, "vi")
    await page.tap("#k-chip-0")
    await answered(page)
    await expect(page.locator(ALOUD)).to_have_text(VI["read_aloud"])
    await page.tap(ALOUD)
    await expect(page.locator(ALOUD)).to_have_text(VI["stop_reading"])
    first, second = BORN["vi"].split(". ")
    marked = "() => [...CSS.highlights.get('k-read') ?? []].map(String).join().trim()"
    for sentence in (first, second):
        await until_true(page, f"({marked})().startsWith({sentence[:20]!r})")
    await expect(page.locator(ALOUD)).to_have_text(VI["read_aloud"])
    assert service.spoken == [{"text": f"{first}.", "lang": "vi"}, {"text": second, "lang": "vi"}]
    assert await page.evaluate(marked) == ""


async def test_a_second_touch_a_new_question_and_start_over_end_the_reading(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    service.reading_s = 30
    await arrive(page, kiosk_url)
    for answers, end in enumerate((ALOUD, "#k-chip-0"), start=1):
        await ask(page, "Where was he born?")
        await answered(page, answers)
        await page.tap(ALOUD)
        await expect(page.locator(ALOUD)).to_have_text(EN["stop_reading"])
        await until_true(page, "CSS.highlights.has('k-read')")
        await page.tap(end)
        await until_true(page, "!CSS.highlights.has('k-read')")
    await answered(page, 3)
    await page.tap(ALOUD)
    await until_true(page, "CSS.highlights.has('k-read')")
    await start_over(page)
    assert await page.evaluate(KEPT_WORDS) == "{}{}"
    # Each time the next sentence was on its way already, and none came after.
    assert len(service.spoken) == 6


async def test_nobody_is_asked_whether_they_are_there_while_they_listen(
    timed: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    service.reading_s = 60
    await arrive(timed, kiosk_url)
    await timed.tap("#k-chip-0")
    await answered(timed)
    await timed.tap(ALOUD)
    await until_true(timed, "CSS.highlights.has('k-read')")
    await later(timed, 100_000)
    await timed.clock.run_for(600)
    await expect(timed.locator("#k-idle")).to_be_hidden()
    await expect(timed.locator(ALOUD)).to_have_text(EN["stop_reading"])
    # But a player that never comes to an end does not keep the visit for ever.
    await later(timed, 25_000)
    await expect(timed.locator(ALOUD)).to_have_text(EN["not_aloud"])
    await timed.clock.fast_forward(IDLE_MS * 2)
    await expect(timed.locator("#k-idle")).to_be_visible()


async def test_a_passage_is_read_in_its_own_language(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url, "vi")
    await page.tap("#k-chip-0")
    await answered(page)
    await page.tap(".k-from")
    aloud = page.locator("#k-passage .k-aloud")
    await expect(aloud).to_have_text(VI["read_aloud"])
    await aloud.tap()
    await service.until(lambda: len(service.spoken) == 3)
    assert {sentence["lang"] for sentence in service.spoken} == {"en"}
    assert " ".join(sentence["text"] for sentence in service.spoken) == " ".join(PASSAGE.split())
    await page.tap("#k-passage .k-close")
    await until_true(page, "!CSS.highlights.has('k-read')")


async def test_a_voice_that_fails_is_said_in_the_visitors_language(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    service.voice = False
    await arrive(page, kiosk_url, "vi")
    await page.tap("#k-chip-0")
    await answered(page)
    await page.tap(ALOUD)
    await expect(page.locator(ALOUD)).to_have_text(VI["not_aloud"])
    service.voice = True
    await page.tap(ALOUD)
    await service.until(lambda: len(service.spoken) > 2)


async def test_a_spoken_question_is_written_into_the_box_and_asked_by_the_visitor(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    await arrive(page, kiosk_url, "vi")
    await expect(page.locator("#k-listen")).to_have_text(VI["say"])
    await page.tap("#k-listen")
    await expect(page.locator("#k-listen")).to_have_text(VI["said_all"])
    await expect(page.locator("#k-box input")).to_have_attribute("placeholder", VI["listening"])
    await expect(page.locator("#k-status")).to_contain_text(VI["listening"])
    await page.tap("#k-listen")
    await expect(page.locator("#k-box input")).to_have_value(service.heard)
    await expect(page.locator("#k-box input")).to_have_attribute("placeholder", VI["placeholder"])
    ((language, kind, size),) = service.recordings
    assert language == "vi" and kind.startswith("audio/webm") and 0 < size < 2_000_000
    assert service.asked == [], "it is the visitor who asks"
    await page.tap("#k-ask")
    await answered(page)
    assert service.asked[0]["question"] == service.heard


async def test_a_recording_ends_by_itself_and_what_was_not_understood_is_said(
    timed: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    service.voice = False
    await arrive(timed, kiosk_url)
    await timed.tap("#k-listen")
    await expect(timed.locator("#k-listen")).to_have_text(EN["said_all"])
    await timed.clock.fast_forward(15_000)
    await expect(timed.locator("#k-box input")).to_have_attribute("placeholder", EN["not_heard"])
    await expect(timed.locator("#k-listen")).to_have_text(EN["say"])


async def test_a_visitor_who_leaves_while_speaking_is_not_heard(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    await arrive(page, kiosk_url)
    await page.tap("#k-listen")
    await expect(page.locator("#k-listen")).to_have_text(EN["said_all"])
    await start_over(page)
    await begin(page)
    assert await page.locator("#k-box input").input_value() == "" and service.recordings == []


async def test_staff_set_how_loud_it_is_and_visitors_do_not_unset_it(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    await arrive(page, kiosk_url)
    await touch_corner(page)
    await page.keyboard.type(PIN)
    await page.locator("#k-staff-pad button").last.tap()
    await expect(page.locator("#k-staff-loud")).to_have_text("70 %")
    await page.tap("#k-staff-louder")
    await expect(page.locator("#k-staff-loud")).to_have_text("80 %")
    async with page.expect_navigation():
        await page.tap("#k-staff-restart")
    await expect(page.locator("#k-attract")).to_be_visible()
    assert await page.evaluate(KEPT_WORDS) == '{"volume":"80"}{}'
    await page.evaluate("localStorage.clear()")


async def test_without_a_voice_nothing_offers_to_read() -> None:
    body = topic_body()
    body["speech"] = {"speak": ["vi"], "listen": []}
    visit = Visit.begin(Topic.model_validate(body))
    visit.ask("When?")
    visit.take(Done(id="1", outcome="declined", answer="In 1890.", lang="en"))
    visit.inbox = None
    assert "k-aloud" not in conversation(visit)[-1]["content"]
    visit.turns[-1].language = "vi"
    assert 'class="k-aloud" value="vi"' in conversation(visit)[-1]["content"]


async def test_without_the_setting_there_is_no_button(page: Page, museum_without_a_voice: str) -> None:
    with kiosk_here(Settings(service_url=museum_without_a_voice)) as (_, url):
        reply = httpx.get(url, trust_env=False)
        assert "microphone=()" in reply.headers["permissions-policy"]
        await arrive(page, url)
        await page.tap("#k-chip-0")
        await answered(page)
        await page.tap(".k-from")
        await expect(page.locator("#k-passage")).to_be_visible()
        assert await page.locator(":is(.k-aloud, #k-listen):visible").count() == 0
        await page.goto("about:blank")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/kiosk/speak", {"json": {"text": "x" * 1001, "lang": "en"}}, 422),
        ("/kiosk/speak", {"json": {"text": "Hello.", "lang": "en", "more": 1}}, 422),
        ("/kiosk/listen?lang=en", {"content": b"x", "headers": {"content-type": "text/plain"}}, 422),
        ("/kiosk/listen?lang=en", {"content": b"", "headers": {"content-type": "audio/webm"}}, 422),
        ("/kiosk/listen?lang=en", {"content": b"x" * 2_000_001, "headers": {"content-type": "audio/webm"}}, 422),
        ("/kiosk/listen", {"content": b"x", "headers": {"content-type": "audio/webm"}}, 422),
    ],
)
async def test_what_is_too_large_or_something_else_is_not_passed_on(
    service: ServiceDouble, kiosk_url: str, path: str, body: dict[str, object], status: int
) -> None:
    async with httpx.AsyncClient(base_url=kiosk_url, trust_env=False) as http:
        assert (await http.post(path, **body)).status_code == status  # type: ignore[arg-type]
        page = await http.get("/")
    assert service.spoken == service.recordings == []
    assert "media-src 'self' blob:;" in page.headers["content-security-policy"]
    assert "microphone=(self)" in page.headers["permissions-policy"]


@pytest.fixture
def museum_without_a_voice(settings: ServiceSettings, engine: ScriptedEngine) -> Iterator[str]:  # noqa: F811
    with served(build_app(settings, engine=engine)) as url:
        yield url


@pytest.fixture
def museum_with_espeak(settings: ServiceSettings, engine: ScriptedEngine) -> Iterator[str]:  # noqa: F811
    if not shutil.which("espeak-ng"):
        pytest.skip("no espeak-ng on this machine: install Debian's package `espeak-ng`")
    with served(build_app(settings.model_copy(update={"speech": "espeak-ng"}), engine=engine)) as url:
        yield url


async def test_espeak_reads_a_museums_answer_to_its_end(page: Page, museum_with_espeak: str) -> None:
    """Nothing scripted but the words: the real service, the real voice, the browser's own player."""
    with kiosk_here(Settings(service_url=museum_with_espeak)) as (_, url):
        await arrive(page, url, "vi")
        assert await page.locator("#k-listen").count() == 0, "espeak-ng does not listen"
        await page.tap("#k-chip-0")
        await answered(page)
        await page.evaluate(
            """() => { window.played = []; const own = Audio;
            window.Audio = function (source) { const audio = new own(source);
                audio.addEventListener('ended', () => window.played.push(audio.duration));
                audio.defaultPlaybackRate = audio.playbackRate = 8; return audio; }; }"""
        )
        async with page.expect_response("**/kiosk/speak") as spoken:
            await page.tap(ALOUD)
        reply = await spoken.value
        assert reply.headers["content-type"] == "audio/wav" and reply.headers["cache-control"] == "no-store"
        await until_true(page, "window.played.length > 0")
        await expect(page.locator(ALOUD)).to_have_text(VI["read_aloud"])
        assert all(1 < seconds < 60 for seconds in await page.evaluate("window.played"))
        await page.goto("about:blank")
