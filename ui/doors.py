"""The kiosk's own few doors beside Gradio's: is the service there, passages, thumbs, the staff's PIN."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from ui.client import Rating, Service
from ui.errors import ServiceError
from ui.pin import Lock
from ui.watch import Watch
from ui.words import paragraphs

log = logging.getLogger(__name__)

STATE_PATH = "/kiosk/state"
SOURCES_FOLDER = "/kiosk/sources/"
FEEDBACK_PATH = "/kiosk/feedback"
STAFF_PATH = "/kiosk/staff"

Name = Annotated[str, Field(min_length=1, max_length=200)]
"""An id that the service gave out."""


class Thumb(BaseModel):
    """Whether an answer helped: no words, nobody's name."""

    model_config = ConfigDict(extra="forbid")

    id: Name
    rating: Rating


class Pin(BaseModel):
    """What was typed at the staff's panel."""

    model_config = ConfigDict(extra="forbid")

    pin: str = Field(max_length=32)


def doors(service: Service, watch: Watch, lock: Lock | None) -> APIRouter:
    """The routes; without a lock there is no staff's panel."""
    router = APIRouter()

    @router.get(STATE_PATH)
    async def state() -> JSONResponse:
        return _json({"ready": await watch.ready()})

    @router.get(SOURCES_FOLDER + "{id}")
    async def source(id: Annotated[Name, Path()]) -> JSONResponse:
        try:
            passage = await service.passage(id)
        except ServiceError as error:
            log.warning("no passage: %s", error)
            return _json({}, 404)
        shown = {"title": passage.title, "section": passage.section, "lang": passage.lang}
        return _json({**shown, "paragraphs": paragraphs(passage.text)})

    @router.post(FEEDBACK_PATH)
    async def feedback(thumb: Thumb) -> JSONResponse:
        try:
            await service.feedback(thumb.id, thumb.rating)
        except ServiceError as error:
            # The visitor has done a kindness and is not told that it was lost.
            log.warning("a thumb was lost: %s", error)
        return _json({})

    @router.post(STAFF_PATH)
    async def staff(typed: Pin) -> JSONResponse:
        if lock is None:
            return _json({}, 404)
        if await asyncio.to_thread(lock.opens, typed.pin):
            return _json((await service.health()).model_dump())
        return _json({"locked_s": math.ceil(lock.locked_s())}, 403)

    return router


def _json(body: dict[str, object], status: int = 200) -> JSONResponse:
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})
