"""A small server of OpenAI's completions protocol over a scripted engine, to be broken as servers break."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from transformers import AutoTokenizer

from service.engine import Sampling, ScriptedEngine

Mood = Literal["well", "failing", "silent", "breaks off", "refusing"]


class OpenAIDouble:
    """Says what `engine` says; `mood` may change at any time. `asked` holds the prompts, as text."""

    def __init__(self, weights: Path, engine: ScriptedEngine) -> None:
        self.engine, self.mood, self.asked = engine, "well", list[str]()
        self.keys: set[str] = set()
        self.tokenizer = AutoTokenizer.from_pretrained(weights)
        self.app = FastAPI()
        self.app.add_api_route("/v1/models", self._models)
        self.app.add_api_route("/v1/completions", self._completions, methods=["POST"], response_model=None)

    async def _models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": "weights", "object": "model", "created": 0, "owned_by": "test"}]}

    async def _completions(self, request: Request) -> StreamingResponse | JSONResponse:
        body = await request.json()
        self.keys.add(request.headers["authorization"])
        assert body["model"] == "weights" and body["stream"]
        self.asked.append(self.tokenizer.decode(body["prompt"]))
        if self.mood in ("failing", "refusing"):
            status = 500 if self.mood == "failing" else 400
            return JSONResponse({"error": {"message": self.mood, "type": "x", "param": None, "code": None}}, status)
        sampling = Sampling(body["max_tokens"], body["temperature"])
        return StreamingResponse(self._chunks(sampling), media_type="text/event-stream")

    async def _chunks(self, sampling: Sampling) -> AsyncIterator[str]:
        if self.mood == "silent":
            await asyncio.sleep(60)
        await self.engine.start()
        conversation = [{"role": "user", "content": self.asked[-1]}]
        async with contextlib.aclosing(self.engine.stream(conversation, sampling)) as words:  # type: ignore[arg-type]
            async for word in words:
                yield _chunk(word)
                if self.mood == "breaks off":
                    return
        yield _chunk("", "stop")
        yield "data: [DONE]\n\n"


def _chunk(text: str, finish: str | None = None) -> str:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    body = {"id": "1", "object": "text_completion", "created": 0, "model": "weights", "choices": [choice]}
    return f"data: {json.dumps(body)}\n\n"
