"""The shell: which doors are open, what every answer carries, and what stands in the first bytes of the page."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from tests.ui.service_double import topic as topic_body
from ui.client import Audio, Event, Exchange, Health, Passage, Rating, Topic
from ui.errors import ServiceRefused, ServiceUnreachable
from ui.kiosk import build_app
from ui.settings import Settings


class SilentService:
    """A service that is there and says nothing but its topic; without one, it is not there."""

    def __init__(self, topic: Topic | None) -> None:
        self.known = topic

    async def live(self) -> bool:
        return self.known is not None

    async def topic(self) -> Topic:
        if self.known is None:
            raise ServiceUnreachable("not there")
        return self.known

    async def ask(self, question: str, history: Sequence[Exchange], language: str) -> AsyncIterator[Event]:
        raise AssertionError("nobody asks here")
        yield

    async def passage(self, source: str) -> Passage:
        raise ServiceRefused(404)

    async def feedback(self, answer: str, rating: Rating) -> None:
        raise ServiceUnreachable("not there")

    async def speak(self, text: str, language: str) -> Audio:
        raise ServiceRefused(404)

    async def listen(self, recording: Audio, language: str) -> str:
        raise ServiceRefused(404)

    async def health(self) -> Health:
        return Health(service=False, engine=False)

    async def close(self) -> None:
        pass


def browser(service: SilentService) -> httpx.AsyncClient:
    app = build_app(Settings(), client=service)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:7860")


def open_covers(page: str) -> list[str]:
    return re.findall(r'<div id="(k-\w+)" class="k-cover [^"]*k-open', page)


@pytest.fixture
async def reachable() -> AsyncIterator[httpx.AsyncClient]:
    async with browser(SilentService(Topic.model_validate(topic_body()))) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/upload", "/gradio_api/runs", "/gradio_api/info", "/gradio_api/file=/etc/passwd", "/openapi.json",
        "/gradio_api/openapi.json", "/monitoring", "/gradio_api/call/ask", "/docs", "/login", "/manifest.json",
        "/gradio_api/run/ask", "/gradio_api/proxy=http://127.0.0.1/",
    ],
)  # fmt: skip
async def test_closed_doors(reachable: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "POST"):
        reply = await reachable.request(method, path)
        assert (reply.status_code, reply.text) == (404, "Not found")
        assert "script-src" in reply.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/kiosk/state"])
async def test_open_doors_carry_the_policy(reachable: httpx.AsyncClient, path: str) -> None:
    reply = await reachable.get(path)
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe-eval" not in policy and "http" not in policy


async def test_the_first_bytes_hold_title_words_style_and_script(reachable: httpx.AsyncClient) -> None:
    reply = await reachable.get("/")
    assert reply.headers["cache-control"] == "no-store"
    assert int(reply.headers["content-length"]) == len(reply.content)
    assert "<title>Museum guide · Ho Chi Minh</title>" in reply.text
    assert "Ask me about <strong>Ho\u00a0Chi\u00a0Minh</strong>" in reply.text
    assert "--k-u:" in reply.text and "/kiosk/state" in reply.text
    assert open_covers(reply.text) == ["k-attract"]


async def test_the_page_names_no_outside_address_to_load_from(reachable: httpx.AsyncClient) -> None:
    page = (await reachable.get("/")).text
    assert re.findall(r'(?:src|href|content)="https?://[^"]*', page) == []
    assert "fonts.googleapis.com" not in page + (await reachable.get("/theme.css")).text


async def test_a_topic_cannot_break_out_of_its_place() -> None:
    body = topic_body()
    body["title"]["en"] = "</script><script>alert(1)</script>"
    body["texts"]["en"]["offline_title"] = "</script><script>alert(2)</script>"
    async with browser(SilentService(Topic.model_validate(body))) as client:
        page = (await client.get("/")).text
    assert "<script>alert" not in page


async def test_without_a_service_the_page_rests_and_says_nothing() -> None:
    async with browser(SilentService(None)) as client:
        page = (await client.get("/")).text
        assert (await client.get("/kiosk/state")).json() == {"ready": False}
    assert open_covers(page) == ["k-resting"] and '"known": false' in page and "<title>…</title>" in page


async def test_a_service_that_comes_later_is_found() -> None:
    service = SilentService(None)
    async with browser(service) as client:
        assert (await client.get("/kiosk/state")).json() == {"ready": False}
        service.known = Topic.model_validate(topic_body())
        assert (await client.get("/kiosk/state")).json() == {"ready": True}
        assert "Museum guide" in (await client.get("/")).text


async def test_the_museums_colours_are_the_pages(reachable: httpx.AsyncClient) -> None:
    assert "--k-primary:#8c1d18;--k-accent:#0f4c52;--k-bg:#fbf7ef" in (await reachable.get("/")).text
    body = topic_body() | {"colours": {"primary": "#123456"}}
    async with browser(SilentService(Topic.model_validate(body))) as client:
        assert "--k-primary:#123456;" in (await client.get("/")).text


async def test_where_words_are_kept_the_first_screen_says_so() -> None:
    body = topic_body()
    body["texts"]["en"]["words_kept"] = "Questions are kept for 30 days."
    async with browser(SilentService(Topic.model_validate(body))) as client:
        page = (await client.get("/")).text
    assert re.search(r'<p id="k-attract-notice">[^<]*Questions are kept for 30 days\.</p>', page)


async def test_another_museum_leaves_no_trace_of_this_one() -> None:
    body = topic_body()
    body |= {"id": "curie", "title": {"en": "Marie Curie", "fr": "Marie Curie"}}
    body["languages"] = [language for language in body["languages"] if language["code"] in ("en", "fr")]
    body["suggestions"] = {"en": ["Where was Marie Curie born?"], "fr": ["Où est née Marie Curie ?"]}
    told = json.dumps({code: body["texts"][code] for code in ("en", "fr")})
    body["texts"] = json.loads(re.sub("H[oô] Chi Minh", "Marie Curie", told.encode().decode("unicode_escape")))
    async with browser(SilentService(Topic.model_validate(body))) as client:
        seen = (await client.get("/")).text + (await client.get("/config")).text
    assert "Marie\u00a0Curie" in seen
    assert not re.search("Ho.Chi.Minh|Hồ|ho_chi_minh|Tiếng Việt|Español", seen)


async def test_what_the_service_has_not_is_said_kindly(reachable: httpx.AsyncClient) -> None:
    assert (await reachable.get("/kiosk/sources/birth")).status_code == 404
    thumb = {"id": "1", "rating": "up"}
    assert (await reachable.post("/kiosk/feedback", json=thumb)).status_code == 200
    for wrong in ({"id": "1", "rating": "words"}, {**thumb, "words": "my own"}, {"id": "x" * 300, "rating": "up"}):
        assert (await reachable.post("/kiosk/feedback", json=wrong)).status_code == 422
