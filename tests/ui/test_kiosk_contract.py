"""The kiosk's client and the real service understand each other; the scripted one of other tests invents nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from service.app import build_app
from service.engine import ScriptedEngine
from service.settings import Settings as ServiceSettings
from tests.service.conftest import engine, served, settings  # noqa: F401
from tests.ui.service_double import ServiceDouble
from ui.client import Delta, Done, Exchange, HttpService, Meta, Replace
from ui.settings import Settings


@pytest.fixture
def museum(settings: ServiceSettings, engine: ScriptedEngine) -> Iterator[str]:  # noqa: F811
    with served(build_app(settings, engine=engine)) as url:
        yield url


async def test_the_clients_calls_are_the_services(museum: str) -> None:
    service = HttpService(Settings(service_url=museum))
    assert await service.live()
    topic = await service.topic()
    assert topic.id == "lighthouse" and set(topic.texts) == {"en", "vi"}
    assert topic.colours.primary == "#8c1d18" and topic.texts["vi"].attract.endswith("hải đăng Gull Rock")
    question = topic.suggestions["en"][0]
    events = [event async for event in service.ask(question, [Exchange(question="Hello", answer="Hello!")], "en")]
    assert isinstance(events[0], Meta) and isinstance(events[-1], Done)
    assert {type(event) for event in events[1:-1]} <= {Delta, Replace}
    done = events[-1]
    assert done.outcome == "answered" and done.id == events[0].id and done.answer and done.lang == "en"
    passage = await service.passage(done.sources[0].id)
    assert passage.title == done.sources[0].title and passage.text and passage.lang == "en"
    assert (await service.health()).service
    await service.close()


async def test_a_refusal_offers_questions(museum: str) -> None:
    service = HttpService(Settings(service_url=museum))
    events = [event async for event in service.ask("What is the capital of Mongolia?", [], "vi")]
    done = events[-1]
    assert isinstance(done, Done) and done.outcome == "declined" and done.lang == "vi" and done.suggestions
    await service.close()


async def test_the_scripted_service_sends_what_the_real_one_sends(museum: str, service: ServiceDouble) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        for path in ("/topic", "/live"):
            real, scripted = (await http.get(museum + path)).json(), (await http.get(service.url + path)).json()
            assert set(scripted) <= set(real), path
        real_texts = (await http.get(f"{museum}/topic")).json()["texts"]["en"]
        scripted_texts = (await http.get(f"{service.url}/topic")).json()["texts"]["en"]
        assert set(scripted_texts) == set(real_texts)
        question = {"question": "When was the lighthouse built?"}
        real = (await http.post(f"{museum}/ask", json=question)).json()
        stream = (await http.post(f"{service.url}/ask", json={**question, "history": [], "language": "en"})).text
        assert set(_done(stream)) == set(real)


def _done(stream: str) -> dict[str, object]:
    data = stream.split("event: done\ndata: ")[1].split("\n")[0]
    return dict(json.loads(data))
