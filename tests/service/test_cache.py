"""Answers to the museum's own questions: kept, shared, and given up when nobody waits."""

import asyncio

import pytest

from service.cache import AnswerCache
from service.errors import EngineGone
from service.metrics import Metrics


class Maker:
    """Makes an answer when told to, and counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.made, self.cancelled = 0, 0
        self.error, self.go = error, asyncio.Event()

    async def __call__(self) -> str:
        self.made += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return f"answer {self.made}"


async def test_one_generation_serves_all_who_ask_at_once_and_later() -> None:
    cache, make = AnswerCache(2, Metrics()), Maker()
    asked = [asyncio.create_task(cache.get("q", make)) for _ in range(5)]
    await asyncio.sleep(0)
    make.go.set()
    assert await asyncio.gather(*asked) == ["answer 1"] * 5
    assert await cache.get("q", make) == "answer 1"
    for key in ("r", "s"):
        await cache.get(key, make)
    assert await cache.get("q", make) == "answer 4", "the oldest made room"


async def test_the_last_who_leaves_ends_the_work() -> None:
    cache, make = AnswerCache(2, Metrics()), Maker()
    first, second = (asyncio.create_task(cache.get("q", make)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    assert make.cancelled == 0
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert (make.made, make.cancelled) == (1, 1)
    make.go.set()
    assert await cache.get("q", make) == "answer 2"


async def test_a_failure_reaches_everybody_and_is_not_kept() -> None:
    cache, make = AnswerCache(2, Metrics()), Maker(EngineGone("gone"))
    asked = [asyncio.create_task(cache.get("q", make)) for _ in range(3)]
    await asyncio.sleep(0)
    make.go.set()
    assert all(isinstance(r, EngineGone) for r in await asyncio.gather(*asked, return_exceptions=True))
    make.error = None
    assert await cache.get("q", make) == "answer 2"


async def test_switched_off_it_keeps_nothing() -> None:
    cache, make = AnswerCache(0, Metrics()), Maker()
    make.go.set()
    assert [await cache.get("q", make) for _ in range(2)] == ["answer 1", "answer 2"]
    with pytest.raises(EngineGone):
        await cache.get("q", _failing)


async def _failing() -> str:
    raise EngineGone("x")
