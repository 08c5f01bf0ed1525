"""The OpenAPI document: what FastAPI finds in the routes, and the bodies that the routes read by themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

Responses = dict[int | str, dict[str, Any]]
STREAM: Responses = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
"""Of a route that streams when it is asked to."""
SOUND: Responses = {200: {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}}
"""Of a route that speaks."""
_HERE = "#/components/schemas/"


def takes(body: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads `body` itself."""
    schema = {"$ref": _HERE + body.__name__}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def fails(shape: type[BaseModel], media_type: str, *statuses: int) -> Responses:
    """`responses` of a route for these statuses."""
    content = {media_type: {"schema": {"$ref": _HERE + shape.__name__}}}
    return {status: {"description": _MEANING[status], "content": content} for status in statuses}


def document(app: FastAPI, *models: type[BaseModel]) -> dict[str, Any]:
    """The document of `app`, with `models` among its schemas."""
    made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for model in models:
        table = model.model_json_schema(ref_template=_HERE + "{model}")
        schemas |= table.pop("$defs", {})
        schemas[model.__name__] = table
    return made


_MEANING = {
    400: "Not JSON, or not what OpenAI's protocol knows.",
    401: "A key is wanted.",
    404: "There is no such thing.",
    413: "Longer than is read.",
    415: "Not application/json.",
    422: "Not a question: `detail` says what to mend.",
    429: "Too often; `Retry-After` says when to come again.",
    503: "Too many at once, or nothing can be said now; `Retry-After` says when to come again.",
}
