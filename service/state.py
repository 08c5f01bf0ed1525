"""What the running service knows of itself: its guide, and whether the engine has proved that it speaks."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from service.answering import Guide
from service.engine import Sampling
from service.errors import EngineError
from service.settings import Settings
from topics.prompt import messages

log = logging.getLogger(__name__)


@dataclass
class State:
    """Handed to every route."""

    guide: Guide
    settings: Settings
    ready: bool = False
    why_not_ready: str = "The engine is loading; curated answers work meanwhile."

    async def start_engine(self) -> None:
        """Starts the engine and waits for a real token; runs beside the service, which answers meanwhile."""
        guide = self.guide
        try:
            await guide.engine.start()
            guide.metrics.engine_requests.labels("probe").inc()
            probe = messages(guide.topic, guide.evidence.rows[0].question)
            words = [w async for w in guide.engine.stream(probe, Sampling(max_tokens=2, temperature=0.0))]
        except EngineError as error:
            log.error("the engine did not start; curated answers go on: %s", error)
            self.why_not_ready = "The engine did not start; the service's log says why. Curated answers go on."
            return
        self.ready = bool(words)
        self.why_not_ready = "" if words else "The engine produced no token; the service's log may say why."
        guide.metrics.ready.set(self.ready)
        log.info("ready: the engine speaks")
