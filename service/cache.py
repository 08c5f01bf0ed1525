"""Generated answers to the museum's own questions: kept for the next visitor, made once for all who ask at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from cachetools import LRUCache

from service.metrics import Metrics


class AnswerCache:
    """The newest answers of one release; lives and dies with the guide, so no answer crosses releases."""

    def __init__(self, size: int, metrics: Metrics) -> None:
        """Keeps `size` answers; 0 keeps none and shares none."""
        self.size = size
        self._kept: LRUCache[Hashable, str] = LRUCache(max(size, 1))
        self._pending: dict[Hashable, asyncio.Task[str]] = {}
        self._waiting: dict[Hashable, int] = {}
        self._lookups = metrics.cache_lookups

    async def get(self, key: Hashable, make: Callable[[], Awaitable[str]]) -> str:
        """The answer under `key`, else what `make` makes; its error reaches everybody who waits for it.

        Whoever goes away leaves; when nobody waits any more the work is cancelled.
        """
        if not self.size:
            return await make()
        if key in self._kept:
            self._lookups.labels("hit").inc()
            return self._kept[key]
        self._lookups.labels("shared" if key in self._pending else "miss").inc()
        task = self._pending.get(key) or self._start(key, make)
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                self._forget(key, task)
                task.cancel()
                await asyncio.wait({task})  # the engine's work has ended before this returns

    def _start(self, key: Hashable, make: Callable[[], Awaitable[str]]) -> asyncio.Task[str]:
        async def work() -> str:
            answer = self._kept[key] = await make()
            return answer

        task = self._pending[key] = asyncio.create_task(work())
        task.add_done_callback(lambda done: self._forget(key, done))
        return task

    def _forget(self, key: Hashable, task: asyncio.Task[str]) -> None:
        if self._pending.get(key) is task:
            del self._pending[key]
