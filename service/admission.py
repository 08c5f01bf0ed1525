"""How many generations run and wait at once: a full engine says so at once instead of letting visitors queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from service.errors import EngineBusy


class Admission:
    """A bounded number of generations, and a bounded number waiting for one of them to end."""

    def __init__(self, running: int, waiting: int) -> None:
        """At most `running` at once and `waiting` in line; whoever comes later is turned away."""
        self.most_waiting = waiting
        self.waiting = 0
        self._free = asyncio.Semaphore(running)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one generation. Raises EngineBusy when the line is full; the caller sets the deadline."""
        if self._free.locked() and self.waiting >= self.most_waiting:
            raise EngineBusy(f"{self.waiting} questions are waiting already")
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._free.release()
