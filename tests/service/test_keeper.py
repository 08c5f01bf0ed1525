"""Life and death of the engine: proved by tokens, started again, and never in a visitor's way."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from service.admission import Admission
from service.engine import Sampling, ScriptedEngine
from service.errors import EngineBusy, EngineGone
from service.keeper import Keeper
from topics.prompt import Message


class Moody(ScriptedEngine):
    """Starts only at the `starts_at`-th try; `stuck` makes it hold its words back."""

    def __init__(self, starts_at: int = 1) -> None:
        super().__init__()
        self.starts_at, self.tries, self.stuck = starts_at, 0, False

    async def start(self) -> None:
        self.tries += 1
        self.stuck = False
        if self.tries < self.starts_at:
            raise EngineGone("not today")
        await super().start()

    async def stream(self, conversation: Sequence[Message], sampling: Sampling) -> AsyncGenerator[str, None]:
        async for word in super().stream(conversation, sampling):
            while self.stuck:
                await asyncio.sleep(0.01)
            yield word


@pytest.fixture
def engine() -> Moody:
    return Moody()


@pytest.fixture
def keeper(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """The app's keeper, quick enough for a test."""
    keeper: Keeper = app.state.docent.keeper
    keeper.stall_s, keeper.look_every_s, keeper.longest_pause_s, keeper.idle_probe_s = 0.3, 0.02, 0.1, 0.2
    return keeper


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/ready")).status_code == 200


async def test_an_engine_that_does_not_start_is_tried_again(
    keeper: Keeper, engine: Moody, client: httpx.AsyncClient
) -> None:
    await until(lambda: keeper.ready)
    engine.starts_at, engine.alive = 3, False
    await until(lambda: not keeper.ready)
    await until(lambda: keeper.ready)
    assert engine.tries == 3 and await is_ready(client)


async def test_a_dead_engine_is_noticed_and_started_again(
    keeper: Keeper, engine: Moody, client: httpx.AsyncClient
) -> None:
    await until(lambda: keeper.ready)
    engine.alive = False
    await until(lambda: not keeper.ready)
    body = (await client.get("/ready")).json()
    assert body["status"] == 503 and "started again" in body["detail"]
    reply = await client.post("/ask", json={"question": "How high is Gull Rock Lighthouse?"})
    assert reply.json()["source"] == "curated"
    await until(lambda: keeper.ready)
    assert engine.tries == 2


async def test_an_engine_that_stands_still_is_started_again_and_the_visitor_answered(
    keeper: Keeper, engine: Moody, client: httpx.AsyncClient
) -> None:
    await until(lambda: keeper.ready)
    engine.stuck = True
    asked = asyncio.create_task(
        client.post("/ask", json={"question": "Tell me how high the tower of the lighthouse is"})
    )
    await until(lambda: not keeper.ready)
    await until(lambda: engine.tries == 2)
    reply = await asked
    assert reply.status_code == 200 and "38" in reply.json()["answer"]


async def test_an_idle_engine_proves_itself_now_and_then(
    keeper: Keeper, engine: Moody, client: httpx.AsyncClient
) -> None:
    await until(lambda: keeper.ready)
    asked = len(engine.asked)
    await until(lambda: len(engine.asked) > asked)
    assert keeper.ready


async def test_whatever_breaks_the_keeper_goes_on(keeper: Keeper, engine: Moody, client: httpx.AsyncClient) -> None:
    await until(lambda: keeper.ready)
    engine.fails = LookupError("not among the errors that an engine may raise")
    engine.alive = False
    await until(lambda: engine.tries >= 3)
    engine.fails = None
    await until(lambda: keeper.ready)


async def test_an_engine_too_slow_to_warm_up_is_not_taken_for_a_dead_one(
    app: FastAPI, engine: Moody, keeper: Keeper
) -> None:
    slow = replace(app.state.docent.guide, answering="generate", deadline_s=0.05)
    keeper.guide = slow
    keeper.stall_s, engine.word_s = 5, 0.06
    async with app.router.lifespan_context(app):
        await until(lambda: keeper.ready)
        await asyncio.sleep(0.3)
        assert keeper.ready and engine.tries == 1


async def test_a_service_that_ends_says_so_first(keeper: Keeper, client: httpx.AsyncClient) -> None:
    await until(lambda: keeper.ready)
    keeper.drain()
    body = (await client.get("/ready")).json()
    assert body["status"] == 503 and "ending" in body["detail"]
    assert (await client.get("/live")).status_code == 200


async def test_the_line_is_bounded_and_a_place_is_given_back() -> None:
    admission = Admission(1, 1)
    inside, go = asyncio.Event(), asyncio.Event()

    async def stay() -> None:
        async with admission.place():
            inside.set()
            await go.wait()

    first = asyncio.create_task(stay())
    await inside.wait()
    second = asyncio.create_task(stay())
    await until(lambda: admission.waiting == 1)
    with pytest.raises(EngineBusy, match="1 questions are waiting"):
        async with admission.place():
            pass
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert admission.waiting == 0
    go.set()
    await first
    async with admission.place():
        pass
