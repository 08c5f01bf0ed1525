"""The kiosk's own few doors beside Gradio's: is the service there, passages, thumbs, speech, the staff's PIN."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from ui.client import Audio, Rating, Service
from ui.errors import ServiceError
from ui.pin import Lock
from ui.visit import LONGEST_QUESTION
from ui.watch import Watch
from ui.words import one_line, paragraphs

log = logging.getLogger(__name__)

STATE_PATH = "/kiosk/state"
SOURCES_FOLDER = "/kiosk/sources/"
FEEDBACK_PATH = "/kiosk/feedback"
SPEAK_PATH = "/kiosk/speak"
LISTEN_PATH = "/kiosk/listen"
STAFF_PATH = "/kiosk/staff"

LONGEST_SENTENCE = 1000
"""Characters the service reads aloud at once."""
LARGEST_RECORDING = 2_000_000
"""Bytes of a spoken question; a quarter of a minute, as the page records it, is a tenth of that."""

_NOT_KEPT = {"Cache-Control": "no-store"}

Name = Annotated[str, Field(min_length=1, max_length=200)]
"""An id that the service gave out."""


class Thumb(BaseModel):
    """Whether an answer helped: no words, nobody's name."""

    model_config = ConfigDict(extra="forbid")

    id: Name
    rating: Rating


class Sentence(BaseModel):
    """Words to be read aloud."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=LONGEST_SENTENCE)
    lang: Name


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

    @router.post(SPEAK_PATH)
    async def speak(sentence: Sentence) -> Response:
        try:
            audio = await service.speak(sentence.text, sentence.lang)
        except ServiceError as error:
            log.warning("nothing is read aloud: %s", error)
            return _json({}, 503)
        return Response(audio.sound, media_type=audio.media_type, headers=_NOT_KEPT)

    @router.post(LISTEN_PATH)
    async def listen(request: Request, lang: Name) -> JSONResponse:
        media_type = request.headers.get("content-type", "")
        recording = await _recording(request)
        if recording is None or not media_type.startswith("audio/"):
            return _json({}, 422)
        try:
            heard = await service.listen(Audio(recording, media_type), lang)
        except ServiceError as error:
            log.warning("a spoken question was lost: %s", error)
            return _json({}, 503)
        return _json({"text": one_line(heard)[:LONGEST_QUESTION]})

    @router.post(STAFF_PATH)
    async def staff(typed: Pin) -> JSONResponse:
        if lock is None:
            return _json({}, 404)
        if await asyncio.to_thread(lock.opens, typed.pin):
            return _json((await service.health()).model_dump())
        return _json({"locked_s": math.ceil(lock.locked_s())}, 403)

    return router


async def _recording(request: Request) -> bytes | None:
    """A body that is neither empty nor too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_RECORDING:
            return None
    return bytes(body) or None


def _json(body: dict[str, object], status: int = 200) -> JSONResponse:
    return JSONResponse(body, status, headers=_NOT_KEPT)
