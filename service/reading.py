"""What every asking route does first: the body, read with bounds and checked, as an `Ask`."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import ValidationError

from service.answering import Ask, Guide
from service.errors import BadQuestion
from service.schemas import AskBody, FeedbackBody, SpeakBody
from service.settings import Settings
from service.speech import LARGEST_RECORDING, Audio
from service.state import State
from topics.prompt import Turn

_LARGEST = 1_000_000
"""Bytes read of a request body."""


def _state(request: Request) -> State:
    state: State = request.app.state.docent
    return state


StateDep = Annotated[State, Depends(_state)]


async def _read(request: Request, largest: int) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise BadQuestion(413, "Too long", f"The body is longer than {largest} bytes; send fewer.")
    return body


async def read_json(request: Request, example: str = '{"question": "…"}') -> Any:
    """The body as JSON. Raises BadQuestion, which says what is wrong and what to do."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind != "application/json":
        raise BadQuestion(415, "Not JSON", f"The body is {kind}; send application/json.")
    body = await _read(request, _LARGEST)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadQuestion(400, "Not JSON", f"The body is not JSON; send {example}.") from error


async def read_ask(request: Request, guide: Guide, settings: Settings) -> Ask:
    """The question in a request. Raises BadQuestion, which says what is wrong and what to do."""
    try:
        parsed = AskBody.model_validate(await read_json(request))
    except ValidationError as error:
        raise BadQuestion(422, "Not a question", explain(error)) from error
    return as_ask(parsed, guide, settings)


def as_ask(parsed: AskBody, guide: Guide, settings: Settings) -> Ask:
    """A checked body as an `Ask`, within the settings' bounds. Raises BadQuestion."""
    if len(parsed.question) > settings.question_characters:
        raise BadQuestion(
            422, "Too long",
            f"question has {len(parsed.question)} characters, over {settings.question_characters}; ask in fewer words.",
        )  # fmt: skip
    if parsed.language is not None and parsed.language not in guide.topic.languages:
        raise BadQuestion(
            422, "Unknown language",
            f"language is {parsed.language[:20]!r}; this museum speaks {', '.join(guide.topic.languages)}.",
        )  # fmt: skip
    kept = parsed.history[-settings.history_turns :] if settings.history_turns else []
    return Ask(parsed.question, tuple(Turn(t.question, t.answer) for t in kept), parsed.language)


async def read_feedback(request: Request) -> FeedbackBody:
    """A thumb. Raises BadQuestion, which says what is wrong and what to do."""
    value = await read_json(request, '{"id": "…", "rating": "up"}')
    try:
        return FeedbackBody.model_validate(value)
    except ValidationError as error:
        raise BadQuestion(422, "Not a rating", explain(error, "id and rating")) from error


async def read_speak(request: Request) -> SpeakBody:
    """Words to read aloud. Raises BadQuestion, which says what is wrong and what to do."""
    value = await read_json(request, '{"text": "…", "lang": "en"}')
    try:
        return SpeakBody.model_validate(value)
    except ValidationError as error:
        raise BadQuestion(422, "Not to be read aloud", explain(error, "text and lang")) from error


async def read_recording(request: Request) -> Audio:
    """A spoken question. Raises BadQuestion, which says what is wrong and what to do."""
    sound = await _read(request, LARGEST_RECORDING)
    if not sound:
        raise BadQuestion(422, "No recording", "The body is empty; send a recording, such as audio/webm.")
    return Audio(sound, request.headers.get("content-type", "application/octet-stream"))


def explain(error: ValidationError, fields: str = "question, history and language") -> str:
    """The first fault of a body, in words; `fields` are those there are."""
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part).encode("ascii", "replace").decode() for part in first["loc"])[:80] or "the body"
    if first["type"] == "extra_forbidden":
        return f"{field}: there is no such field; send {fields}."
    return f"{field}: {first['msg'].removeprefix('Value error, ').lower()}."
