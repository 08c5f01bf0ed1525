"""The HTTP surface: parse, call, encode."""

from __future__ import annotations

import contextlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from sse_starlette import EventSourceResponse

from service.answering import Ask, Done, Guide
from service.errors import BadQuestion, Problem
from service.schemas import AskBody, AskReply, LanguageView, ProblemReply, TopicReply
from service.settings import Settings
from service.state import State
from service.streaming import VisitorLeft, as_sse, unless_visitor_leaves
from topics.prompt import Turn

router = APIRouter()
_LARGEST = 1_000_000
"""Bytes read of a request body."""


def _state(request: Request) -> State:
    state: State = request.app.state.docent
    return state


StateDep = Annotated[State, Depends(_state)]


@router.post(
    "/ask",
    response_model=AskReply,
    responses={
        s: {"model": ProblemReply, "content": {"application/problem+json": {}}} for s in (400, 413, 415, 422, 503)
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": AskBody.model_json_schema()}}}
    },
)
async def ask(request: Request, state: StateDep) -> Response:
    """Ask the guide. With `Accept: text/event-stream` the answer comes as server-sent events."""
    question = await _read(request, state.guide, state.settings)
    metrics = state.guide.metrics
    if "text/event-stream" in request.headers.get("accept", ""):
        return EventSourceResponse(as_sse(state.guide.answer(question), metrics))
    try:
        reply = await unless_visitor_leaves(request, _whole(state.guide, question), metrics)
    except VisitorLeft:
        return Response(status_code=499)  # nginx's number for a client that went away; nobody is there to read it
    return Response(reply.model_dump_json(), media_type="application/json")


async def _whole(guide: Guide, question: Ask) -> AskReply:
    async with contextlib.aclosing(guide.answer(question)) as story:
        async for event in story:
            if isinstance(event, Done):
                return event.reply
    raise Problem(500, "No answer", "The guide ended without an answer; please report this.")


@router.get("/topic", response_model=TopicReply)
async def topic(state: StateDep) -> TopicReply:
    """What a kiosk needs: title, languages, texts and opening questions."""
    guide = state.guide
    languages = guide.topic.languages
    return TopicReply(
        id=guide.topic.id,
        title={code: guide.topic.name(code) for code in languages},
        languages=[LanguageView(code=code, name=guide.topic.text("language", code)) for code in languages],
        texts={code: guide.topic.all_texts(code) for code in languages},
        suggestions={code: guide.topic.opening_questions(guide.evidence.rows, code) for code in languages},
        release=guide.release,
    )


@router.get("/live")
async def live() -> dict[str, bool]:
    """Green while the service turns; curated answers work from here on."""
    return {"live": True}


@router.get("/ready", responses={503: {"model": ProblemReply, "content": {"application/problem+json": {}}}})
async def ready(state: StateDep) -> dict[str, Any]:
    """Green once the engine has produced a real token."""
    if not state.ready:
        raise Problem(503, "Not ready", state.why_not_ready)
    return {"ready": True, "release": state.guide.release}


@router.get("/metrics", include_in_schema=False)
async def metrics(state: StateDep) -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(state.guide.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _read(request: Request, guide: Guide, settings: Settings) -> Ask:
    """The question in a request. Raises BadQuestion, which says what is wrong and what to do."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind != "application/json":
        raise BadQuestion(415, "Not JSON", f"The body is {kind}; send application/json.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise BadQuestion(413, "Too long", f"The body is longer than {_LARGEST} bytes; send a shorter question.")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadQuestion(400, "Not JSON", 'The body is not JSON; send {"question": "…"}.') from error
    try:
        parsed = AskBody.model_validate(value)
    except ValidationError as error:
        raise BadQuestion(422, "Not a question", _explain(error)) from error
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


def _explain(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part).encode("ascii", "replace").decode() for part in first["loc"])[:80] or "the body"
    if first["type"] == "extra_forbidden":
        return f"{field}: there is no such field; send question, history and language."
    return f"{field}: {first['msg'].removeprefix('Value error, ').lower()}."
