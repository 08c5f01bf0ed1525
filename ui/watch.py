"""What this kiosk knows of the service: whether it answers, and its topic as last heard."""

from __future__ import annotations

import logging

from ui.client import Service, Topic
from ui.errors import ServiceError

log = logging.getLogger(__name__)


class Watch:
    """Shared by the page, its screens and the first HTML; one per process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.topic: Topic | None = None
        """None until the service was reached for the first time."""

    async def ready(self) -> bool:
        """Whether a visitor can be served: the service answers, and its topic is known."""
        if not await self._service.live():
            return False
        if self.topic is None:
            await self.refresh()
        return self.topic is not None

    async def refresh(self) -> Topic | None:
        """Ask for the topic again; the one heard before stays when the service gives none."""
        try:
            self.topic = await self._service.topic()
        except ServiceError as error:
            log.warning("no topic from the service: %s", error)
        return self.topic
