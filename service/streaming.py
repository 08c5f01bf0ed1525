"""Events to server-sent events; a visitor who leaves cancels the work, streaming or not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from sse_starlette import ServerSentEvent

from service.answering import Delta, Done, Event, Meta, Replace
from service.errors import Problem
from service.metrics import Metrics

T = TypeVar("T")


class VisitorLeft(Exception):
    """The connection closed before the answer was whole."""


async def as_sse(events: AsyncGenerator[Event, None], metrics: Metrics) -> AsyncIterator[ServerSentEvent]:
    """`meta`, `delta`s, perhaps a `replace`, one `done`; a failure after the first byte becomes one `error` event."""
    try:
        async with contextlib.aclosing(events) as story:
            async for event in story:
                match event:
                    case Meta():
                        yield _sse("meta", {"id": event.id, "gate": event.gate.model_dump(), "release": event.release})
                    case Delta():
                        yield _sse("delta", {"text": event.text})
                    case Replace():
                        yield _sse("replace", {"text": event.text})
                    case Done():
                        yield _sse("done", event.reply.model_dump())
    except Problem as problem:
        yield _sse("error", problem.body)
    except (asyncio.CancelledError, GeneratorExit):
        metrics.cancellations.inc()
        raise


def _sse(name: str, data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(data=json.dumps(data, ensure_ascii=False), event=name)


async def unless_visitor_leaves(request: Request, work: Coroutine[Any, Any, T], metrics: Metrics) -> T:
    """The result of `work`; it is cancelled as soon as the connection closes. Raises VisitorLeft then."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        metrics.cancellations.inc()
        raise VisitorLeft
    finally:
        for pending in (task, watch):
            pending.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
