"""OpenAI's chat protocol in front of the same story, so that any OpenAI client can ask the guide.

The last message is the question, earlier ones are its history. System messages are read over: the guide's persona is
the topic's. What the guide cannot do is refused by the name of the field, in OpenAI's own error shape.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sse_starlette import EventSourceResponse, ServerSentEvent

from service.answering import Ask, Delta, Done, Event, Guide
from service.document import STREAM, Responses, fails, takes
from service.errors import BadQuestion, Problem
from service.reading import StateDep, as_ask, explain, read_json
from service.schemas import AskBody, AskReply, EarlierTurn
from service.streaming import VisitorLeft, unless_visitor_leaves


class OpenAIProblem(Exception):
    """An error in OpenAI's shape."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = "invalid_request_error" if status < 500 else "server_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorReply(BaseModel):
    """What OpenAI's clients expect when something is wrong."""

    error: ErrorDetail


def _errors(*statuses: int) -> Responses:
    return fails(ErrorReply, "application/json", *statuses)


router = APIRouter(prefix="/v1", responses=_errors(401))


class Part(BaseModel):
    """A piece of a message's content; text alone is understood."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None

    def text(self) -> str:
        """The content as one string."""
        return self.content if isinstance(self.content, str) else "".join(p.text for p in self.content or [])


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatBody(BaseModel):
    """The body of `POST /v1/chat/completions`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str
    """The topic's id, as `GET /v1/models` lists it."""
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    n: Literal[1] | None = None
    """One answer; there are no others."""
    stop: str | list[str] | None = None
    seed: int | None = None
    """Read over: the same question gets the same answer anyway."""
    user: str | None = None
    """Read over: the guide keeps no visitors apart."""
    language: str | None = None
    """Language of the answer, beyond OpenAI's fields (`extra_body`)."""

    def limit(self) -> int | None:
        """The most tokens of an answer."""
        return self.max_completion_tokens or self.max_tokens

    def stops(self) -> list[str]:
        """Strings before which the answer ends."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [s for s in given if s]


@router.get("/models")
async def models(state: StateDep) -> dict[str, Any]:
    """The one model there is: the museum's guide."""
    return {"object": "list", "data": [_model(state.guide)]}


@router.get("/models/{name}", responses=_errors(404))
async def model(name: str, state: StateDep) -> dict[str, Any]:
    """The museum's guide, by name."""
    _check_model(name, state.guide)
    return _model(state.guide)


@router.post(
    "/chat/completions",
    response_model=dict[str, Any],
    responses=STREAM | _errors(400, 404, 413, 415, 429, 503),
    openapi_extra=takes(ChatBody),
)
async def chat_completions(request: Request, state: StateDep) -> Response:
    """Ask the guide in OpenAI's protocol, streaming or not."""
    body, ask = await _read(request, state)
    guide = state.guide
    if body.stream:
        return EventSourceResponse(_chunks(guide, body, ask), sep="\n")
    try:
        whole, reply = await unless_visitor_leaves(request, _whole(guide, body, ask), guide.metrics)
    except VisitorLeft:
        return Response(status_code=499)
    except Problem as problem:
        raise OpenAIProblem(problem.status, str(problem)) from problem
    content = {
        **_head(guide, reply.id, "chat.completion"),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": whole.text, "refusal": None},
                "logprobs": None,
                "finish_reason": whole.finish_reason,
            }
        ],
        "usage": _usage(guide, ask, whole.text),
        "docent": reply.model_dump(),
    }
    return Response(json.dumps(content, ensure_ascii=False), media_type="application/json")


class _Cut:
    """Lets an answer through up to a number of tokens or a stop string."""

    def __init__(self, guide: Guide, body: ChatBody) -> None:
        self.guide, self.limit, self.stops = guide, body.limit(), body.stops()
        self.text = ""
        self.finish_reason: Literal["stop", "length"] = "stop"
        self.over = False

    def add(self, text: str) -> str:
        """What of `text` may still be said."""
        if self.over:
            return ""
        before, whole = self.text, self.text + text
        found = [i for s in self.stops if (i := whole.find(s)) >= 0]
        if found:
            whole, self.over = whole[: min(found)], True
        if self.limit is not None and self.guide.engine.count_tokens(whole) > self.limit:
            words = whole.split(" ")
            while words and self.guide.engine.count_tokens(" ".join(words)) > self.limit:
                words.pop()
            whole, self.over, self.finish_reason = " ".join(words), True, "length"
        self.text = whole
        return whole[len(before) :] if len(whole) > len(before) else ""


async def _whole(guide: Guide, body: ChatBody, ask: Ask) -> tuple[_Cut, AskReply]:
    cut = _Cut(guide, body)
    async with contextlib.aclosing(guide.answer(ask)) as story:
        async for event in story:
            if isinstance(event, Delta):
                cut.add(event.text)
            elif isinstance(event, Done):
                return cut, event.reply
    raise OpenAIProblem(500, "The guide ended without an answer; please report this.")


async def _chunks(guide: Guide, body: ChatBody, ask: Ask) -> AsyncIterator[ServerSentEvent]:
    cut = _Cut(guide, body)
    events: AsyncGenerator[Event, None] = guide.answer(ask)
    head: dict[str, Any] = {}
    try:
        async with contextlib.aclosing(events) as story:
            async for event in story:
                if not head:
                    head = _head(guide, getattr(event, "id", "0"), "chat.completion.chunk")
                    yield _chunk(head, {"role": "assistant", "content": ""})
                if isinstance(event, Delta) and (text := cut.add(event.text)):
                    yield _chunk(head, {"content": text})
                elif isinstance(event, Done):
                    yield _chunk(head, {}, cut.finish_reason, docent=event.reply.model_dump())
        if body.stream_options and body.stream_options.include_usage:
            yield _sse({**head, "choices": [], "usage": _usage(guide, ask, cut.text)})
        yield ServerSentEvent(data="[DONE]")
    except Problem as problem:
        yield _sse(OpenAIProblem(problem.status, str(problem)).body)
    except (asyncio.CancelledError, GeneratorExit):
        guide.metrics.cancellations.inc()
        raise


def _chunk(head: dict[str, Any], delta: dict[str, str], finish: str | None = None, **more: Any) -> ServerSentEvent:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _sse({**head, "choices": [choice], **more})


def _sse(data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(data=json.dumps(data, ensure_ascii=False))


def _head(guide: Guide, number: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{number}", "object": kind, "created": int(time.time()), "model": guide.topic.id}


def _usage(guide: Guide, ask: Ask, text: str) -> dict[str, int]:
    said = [ask.question, *(part for turn in ask.history for part in turn)]
    prompt, completion = sum(map(guide.engine.count_tokens, said)), guide.engine.count_tokens(text)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _model(guide: Guide) -> dict[str, Any]:
    return {"id": guide.topic.id, "object": "model", "created": 0, "owned_by": "docent", "release": guide.release}


def _check_model(name: str, guide: Guide) -> None:
    if name != guide.topic.id:
        message = f"The model {name[:80]!r} does not exist; there is {guide.topic.id!r}."
        raise OpenAIProblem(404, message, param="model", code="model_not_found")


async def _read(request: Request, state: StateDep) -> tuple[ChatBody, Ask]:
    try:
        value = await read_json(request)
        body = ChatBody.model_validate(value)
    except BadQuestion as problem:
        raise OpenAIProblem(problem.status, str(problem)) from problem
    except ValidationError as error:
        raise _refusal(error) from error
    _check_model(body.model, state.guide)
    said = [m for m in body.messages if m.role in ("user", "assistant")]
    if not said or said[-1].role != "user":
        raise OpenAIProblem(400, "The last message must be the user's question.", param="messages")
    history: list[EarlierTurn] = []
    try:
        for before, after in zip(said[:-1], said[1:], strict=True):
            if before.role == "user":
                answer = after.text() if after.role == "assistant" else ""
                history.append(EarlierTurn(question=before.text(), answer=answer))
        parsed = AskBody(question=said[-1].text(), history=history, language=body.language)
        ask = as_ask(parsed, state.guide, state.settings)
    except ValidationError as error:
        raise OpenAIProblem(400, f"messages: {explain(error)}", param="messages") from error
    except BadQuestion as problem:
        raise OpenAIProblem(400, str(problem), param="messages") from problem
    # Its protocol cannot take a word back.
    return body, ask._replace(max_tokens=body.limit(), temperature=body.temperature, whole=True)


def _refusal(error: ValidationError) -> OpenAIProblem:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])[:80] or "body"
    if first["type"] == "extra_forbidden":
        return OpenAIProblem(400, f"{field} is not supported by this guide; leave it out.", param=field)
    return OpenAIProblem(400, f"{field}: {first['msg'].lower()}.", param=field)
