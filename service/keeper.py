"""Keeps the engine alive: starts it, proves it with real tokens, notices death and standstill, starts it again.

vLLM's own health says that its loop turns, not that tokens come; here only tokens count.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from service.answering import Guide
from service.engine import Sampling
from service.errors import EngineError
from topics.prompt import messages

log = logging.getLogger(__name__)
_LOADING = "The engine is loading; curated answers work meanwhile."
_DRAINING = "The service is ending; answers under way are finished."


@dataclass
class Keeper:
    """Runs beside the service, which answers from curated facts whenever the engine cannot speak."""

    guide: Guide
    stall_s: float = 8.0
    """Without a token for this long while something is generated, the engine is stuck."""
    first_token_s: float = 120.0
    """The first token after loading may take this long: a GPU still compiles then."""
    idle_probe_s: float = 60.0
    """An idle engine proves itself this often."""
    look_every_s: float = 0.5
    longest_pause_s: float = 60.0
    why_not_ready: str = _LOADING
    draining: bool = False
    _proven: bool = field(default=False, init=False)

    @property
    def ready(self) -> bool:
        """A real token has come since the engine started, nothing is stuck, and the service is not ending."""
        return self._proven and not self.draining

    def drain(self) -> None:
        """From now on `ready` is false."""
        self.draining = True
        self.why_not_ready = _DRAINING
        self.guide.metrics.ready.set(False)

    async def begin(self) -> None:
        """Starts the engine and proves it. Raises EngineError."""
        await self.guide.engine.start()
        await self._prove(self.first_token_s)
        self._up()

    async def run(self) -> None:
        """Until it is cancelled: start, prove, watch; after a failure a pause that doubles, then again."""
        pause = 1.0
        while True:
            began = time.monotonic()
            try:
                if not self._proven:
                    await self.begin()
                await self.guide.warm()
                await self._watch()
            except Exception as error:  # whatever broke: a keeper that ends leaves the engine dead for good
                self._down(error)
            await self._stop()
            if time.monotonic() - began > self.longest_pause_s:
                pause = 1.0
            await asyncio.sleep(pause)
            pause = min(2 * pause, self.longest_pause_s)
            self.guide.metrics.engine_restarts.inc()

    async def _watch(self) -> None:
        """Returns never. Raises EngineError when the engine has died or stands still."""
        engine = self.guide.engine
        while True:
            await asyncio.sleep(self.look_every_s)
            silent = time.monotonic() - engine.progress
            if not engine.alive:
                raise EngineError("it has stopped")
            if engine.running and silent > self.stall_s:
                raise EngineError(f"{engine.running} generations and no token for {silent:.0f} s")
            if not engine.running and silent > self.idle_probe_s:
                await self._prove(self.stall_s)

    async def _prove(self, limit_s: float) -> None:
        guide = self.guide
        guide.metrics.engine_requests.labels("probe").inc()
        question = guide.evidence.rows[0].question if guide.evidence.rows else "?"
        sampling = Sampling(max_tokens=2, temperature=0.0)
        try:
            async with asyncio.timeout(limit_s):
                words = [w async for w in guide.engine.stream(messages(guide.topic, question), sampling)]
        except TimeoutError:
            raise EngineError(f"no token within {limit_s} s") from None
        if not words:
            raise EngineError("it produced no token")

    async def _stop(self) -> None:
        try:
            await self.guide.engine.stop()
        except Exception:  # whatever a broken engine raises while it is put away
            log.exception("the engine could not be stopped cleanly")

    def _up(self) -> None:
        self._proven = True
        if not self.draining:
            self.why_not_ready = ""
            self.guide.metrics.ready.set(True)
        log.info("ready: the engine speaks")

    def _down(self, error: Exception) -> None:
        self._proven = False
        self.guide.metrics.ready.set(False)
        if not self.draining:
            self.why_not_ready = (
                "The engine has stopped and is started again; the service's log says why. Curated answers go on."
            )
        unforeseen = None if isinstance(error, EngineError) else error
        log.error("the engine is started again; curated answers go on: %s", error, exc_info=unforeseen)
