"""The kiosk's client: what it sends, what it makes of answers, and every fault of the network in our own words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.ui.service_double import SUGGESTIONS, ServiceDouble, topic
from ui.client import Audio, Delta, Done, Exchange, HttpService, Meta, Replace
from ui.errors import ServiceError, ServiceGarbled, ServiceRefused, ServiceUnreachable
from ui.settings import Settings

Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, **settings: Any) -> HttpService:
    return HttpService(Settings(**settings), transport=httpx.MockTransport(handler))


def stream(*events: tuple[str, dict[str, Any]]) -> httpx.Response:
    text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream; charset=utf-8"})


DONE = {
    "id": "7",
    "outcome": "answered",
    "answer": "In 1890.",
    "sources": [{"id": "b", "title": "Birth", "section": "x"}],
}


async def test_a_question_travels_with_its_history_and_the_key() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return stream(("done", DONE))

    service = client(answer, api_key=SecretStr("s3cret"))
    history = [Exchange(question="Who?", answer="He.")]
    events = [event async for event in service.ask("When?", history, "en")]
    assert json.loads(seen[0].content) == {
        "question": "When?", "history": [{"question": "Who?", "answer": "He."}], "language": "en"
    }  # fmt: skip
    assert seen[0].headers["accept"] == "text/event-stream"
    assert seen[0].headers["authorization"] == "Bearer s3cret"
    assert isinstance(events[0], Done) and events[0].sources[0].title == "Birth"


async def test_every_event_has_its_type_and_unknown_ones_say_nothing() -> None:
    service = client(
        lambda _: stream(
            ("meta", {"id": "7", "gate": {}, "release": None}), ("delta", {"text": "In "}), ("weather", {"sun": 1}),
            ("replace", {"text": "It was "}), ("done", DONE), ("delta", {"text": "too late"}),
        )
    )  # fmt: skip
    events = [event async for event in service.ask("When?", [], "en")]
    assert events[:3] == [Meta(id="7"), Delta(text="In "), Replace(text="It was ")]
    assert isinstance(events[3], Done) and len(events) == 4


async def _heard(service: HttpService) -> None:
    async for _ in service.ask("When?", [], "en"):
        pass


def _raise(error: Exception) -> Handler:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    return handler


PROBLEM = {"type": "about:blank", "title": "x", "status": 503, "detail": "x", "suggestions": ["This?"]}


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (_raise(httpx.ConnectError("refused")), ServiceUnreachable),
        (_raise(httpx.ReadTimeout("silence")), ServiceUnreachable),
        (lambda _: httpx.Response(503, json=PROBLEM), ServiceRefused),
        (lambda _: httpx.Response(502, text="<html>a proxy's page"), ServiceRefused),
        (lambda _: stream(("error", PROBLEM)), ServiceRefused),
        (lambda _: stream(("delta", {"text": "In "})), ServiceGarbled),
        (lambda _: stream(("delta", {"words": "In "})), ServiceGarbled),
        (lambda _: httpx.Response(200, json=DONE), ServiceGarbled),
    ],
)
async def test_every_fault_becomes_one_of_ours(handler: Handler, error: type[ServiceError]) -> None:
    with pytest.raises(error):
        await _heard(client(handler))


async def test_a_problem_keeps_its_status_and_suggestions() -> None:
    for handler in (lambda _: httpx.Response(503, json=PROBLEM), lambda _: stream(("error", PROBLEM))):
        with pytest.raises(ServiceRefused) as refused:
            await _heard(client(handler))
        assert (refused.value.status, refused.value.suggestions) == (503, ("This?",))


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (_raise(httpx.ReadTimeout("silence")), ServiceUnreachable),
        (lambda _: httpx.Response(503, json=PROBLEM), ServiceRefused),
        (lambda _: httpx.Response(200, text="<html>a proxy's page"), ServiceGarbled),
    ],
)
async def test_a_voice_that_fails_becomes_an_error_of_ours(handler: Handler, error: type[ServiceError]) -> None:
    with pytest.raises(error):
        await client(handler).speak("Hello.", "en")
    with pytest.raises(error):
        await client(handler).listen(Audio(b"x", "audio/webm"), "en")


async def test_live_never_raises() -> None:
    assert await client(lambda _: httpx.Response(200, json={"live": True})).live()
    assert not await client(lambda _: httpx.Response(500)).live()
    assert not await client(_raise(httpx.ConnectError("refused"))).live()


async def test_the_topic_is_read_and_checked() -> None:
    heard = await client(lambda _: httpx.Response(200, json=topic())).topic()
    assert heard.first_language == "en" and heard.texts["vi"].source == "Nguồn"
    assert heard.suggestions["vi"] == tuple(SUGGESTIONS["vi"])


@pytest.mark.parametrize("missing", ["texts", "title"])
async def test_a_language_without_words_is_refused_when_the_topic_arrives(missing: str) -> None:
    body = topic()
    del body[missing]["vi"]
    with pytest.raises(ServiceGarbled, match="'vi'"):
        await client(lambda _: httpx.Response(200, json=body)).topic()


async def test_a_missing_text_is_named() -> None:
    body = topic()
    del body["texts"]["vi"]["thinking"]
    with pytest.raises(ServiceGarbled, match=r"texts\.vi\.thinking missing"):
        await client(lambda _: httpx.Response(200, json=body)).topic()


async def test_closing_the_answer_closes_the_connection(service: ServiceDouble) -> None:
    http = HttpService(Settings(service_url=service.url))
    answer = http.ask("__long__", [], "en")
    async for event in answer:
        if isinstance(event, Delta):
            break
    await answer.aclose()
    await http.close()
    await service.until_cancelled(1)


async def test_a_passage_is_asked_for_by_its_id_and_nothing_else() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path.decode())
        return httpx.Response(200, json={"id": "a/b", "title": "T", "section": "S", "text": "Words.", "lang": "en"})

    assert (await client(answer).passage("a/b")).text == "Words."
    assert seen == ["/sources/a%2Fb"]
    with pytest.raises(ServiceRefused):
        await client(lambda _: httpx.Response(404, json={"status": 404})).passage("x")


async def test_a_thumb_travels_as_an_id_and_a_direction() -> None:
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        return httpx.Response(204)

    await client(answer).feedback("7", "up")
    assert json.loads(seen[0]) == {"id": "7", "rating": "up"}
    with pytest.raises(ServiceUnreachable):
        await client(_raise(httpx.ConnectError("refused"))).feedback("7", "up")


@pytest.mark.parametrize(
    ("handler", "health"),
    [
        (lambda _: httpx.Response(200, json={"ready": True, "release": "r7"}), (True, True, "r7")),
        (lambda _: httpx.Response(503, json=PROBLEM), (True, False, "")),
        (_raise(httpx.ConnectError("refused")), (False, False, "")),
    ],
)
async def test_health_never_raises(handler: Handler, health: tuple[bool, bool, str]) -> None:
    found = await client(handler).health()
    assert (found.service, found.engine, found.release) == health
