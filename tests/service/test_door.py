"""Keys, rates and bounds: who may ask, how often, how many at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import build_app
from service.door import digest
from service.engine import ScriptedEngine
from service.settings import Settings, SettingsError, read_settings
from tests.conftest import LIGHTHOUSE

QUESTION = {"question": "How high is Gull Rock Lighthouse?"}


@asynccontextmanager
async def asked_from(
    release: Path, address: str = "10.0.0.7", engine: ScriptedEngine | None = None, **more: Any
) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(topic=str(LIGHTHOUSE), release=str(release), engine="scripted", **more)
    app = build_app(settings, engine=engine)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=(address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://museum") as client:
            yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("stored", ["open sesame", f"sha256:{digest('open sesame')}"])
async def test_only_who_has_a_key_may_ask(stand_in_release: Path, stored: str) -> None:
    async with asked_from(stand_in_release, api_keys=f"another,{stored}") as client:
        for headers in ({}, bearer("open"), bearer("sha256:" + digest("open sesame")), {"Authorization": "Basic x"}):
            reply = await client.post("/ask", json=QUESTION, headers=headers)
            assert reply.status_code == 401 and "Authorization: Bearer" in reply.json()["detail"]
        assert (await client.post("/ask", json=QUESTION, headers=bearer("open sesame"))).status_code == 200
        assert (await client.get("/live")).status_code == 200, "whoever watches needs no key"


async def test_openai_clients_are_turned_away_in_their_own_shape(stand_in_release: Path) -> None:
    async with asked_from(stand_in_release, api_keys="secret") as client:
        reply = await client.get("/v1/models")
        assert reply.status_code == 401 and "key" in reply.json()["error"]["message"]


async def test_a_client_that_asks_too_often_waits_and_the_kiosk_never(stand_in_release: Path) -> None:
    async with asked_from(stand_in_release, rate_limit="3/hour", kiosk_keys="screen") as client:
        statuses = [(await client.post("/ask", json=QUESTION)).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        reply = await client.post("/ask", json=QUESTION)
        assert "3 per 1 hour" in reply.json()["detail"] and reply.headers["retry-after"]
        kiosk = [(await client.post("/ask", json=QUESTION, headers=bearer("screen"))).status_code for _ in range(5)]
        assert kiosk == [200] * 5
    async with asked_from(stand_in_release, "127.0.0.1", rate_limit="3/hour") as client:
        assert [(await client.post("/ask", json=QUESTION)).status_code for _ in range(5)] == [200] * 5


async def test_metrics_are_the_operators(stand_in_release: Path) -> None:
    async with asked_from(stand_in_release) as client:
        assert (await client.get("/metrics")).status_code == 401, "from elsewhere, without any key set"
    async with asked_from(stand_in_release, "::1") as client:
        assert (await client.get("/metrics")).status_code == 200
    async with asked_from(stand_in_release, operator_keys="boss", api_keys="guest") as client:
        assert (await client.get("/metrics", headers=bearer("guest"))).status_code == 401
        assert (await client.get("/metrics", headers=bearer("boss"))).status_code == 200


async def test_the_bare_model_is_the_operators_and_never_without_a_key(stand_in_release: Path) -> None:
    for route in ("/tokenize", "/generate"):
        async with asked_from(stand_in_release, "127.0.0.1") as client:
            assert (await client.post(route, json=QUESTION)).status_code == 401, "a proxy is on this machine as well"
        engine = ScriptedEngine()
        async with asked_from(stand_in_release, "::1", engine, operator_keys="boss", api_keys="guest") as client:
            assert (await client.post(route, json=QUESTION, headers=bearer("guest"))).status_code == 401
            assert (await client.post(route, json={"question": ""}, headers=bearer("boss"))).status_code == 422
            while not engine.alive:
                await asyncio.sleep(0.01)
            reply = await client.post(route, json={"question": "Who won the league?"}, headers=bearer("boss"))
            if route == "/generate":
                assert reply.status_code == 200 and reply.json()["text"], "the gate has no say here"
            else:
                assert reply.status_code == 503 and "scripted engine reads words" in reply.json()["detail"]


async def test_too_many_open_questions_get_a_503_at_once(stand_in_release: Path) -> None:
    engine = ScriptedEngine(word_s=0.2)
    async with asked_from(stand_in_release, "127.0.0.1", engine, open_questions=2) as client:
        # The stand-in release generates for wordings that are near a fact's and not its own.
        vague = {"question": "Tell me how high the tower of the lighthouse is"}
        replies = await asyncio.gather(*(client.post("/ask", json=vague) for _ in range(6)))
        assert sorted(r.status_code for r in replies) == [200, 200, 503, 503, 503, 503]
        turned_away = next(r for r in replies if r.status_code == 503)
        assert turned_away.headers["retry-after"] and turned_away.json()["title"] == "Too many questions"
        assert (await client.post("/ask", json=QUESTION)).status_code == 200, "places are free again"


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    for reply in (await client.post("/ask", json=QUESTION), await client.get("/nothing"), await client.get("/live")):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "access-control-allow-origin" not in reply.headers


def test_the_service_does_not_open_itself_to_everybody() -> None:
    with pytest.raises(SettingsError, match="DOCENT_API_KEYS, or DOCENT_ALLOW_ANONYMOUS=1"):
        read_settings({"DOCENT_HOST": "0.0.0.0"})
    assert read_settings({"DOCENT_HOST": "0.0.0.0", "DOCENT_ALLOW_ANONYMOUS": "1"})
    assert len(read_settings({"DOCENT_HOST": "0.0.0.0", "DOCENT_API_KEYS": "a, b"}).api_keys) == 2
    assert "a-secret" not in repr(read_settings({"DOCENT_API_KEYS": "a-secret"}))
    with pytest.raises(SettingsError, match="DOCENT_RATE_LIMIT"):
        read_settings({"DOCENT_RATE_LIMIT": "often"})
