"""Engines that die, here and elsewhere: with real vLLM, killed as the kernel kills, while visitors wait."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import LIGHTHOUSE
from tests.real.conftest import free_port, running, running_service

pytestmark = pytest.mark.timeout(400)
QUESTION = {"question": "How high is Gull Rock Lighthouse?"}


async def until(true: Callable[[], Awaitable[bool]], limit_s: float = 120) -> None:
    async with asyncio.timeout(limit_s):
        while not await true():
            await asyncio.sleep(0.1)


def engine_of(pid: int) -> int:
    """The process in which vLLM generates, among those that `pid` started."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            if "EngineCore" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
    raise AssertionError("there is no engine process")


async def test_an_engine_killed_under_load_comes_back_and_everybody_is_answered(babbling: tuple[Path, Path]) -> None:
    """And when the service is told to end, it first finishes the answers under way."""
    with running_service(*babbling, DOCENT_CACHED_ANSWERS="0", DOCENT_ANSWER_DEADLINE_S="4") as (url, program):
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:

            async def ready() -> bool:
                return (await client.get("/ready")).status_code == 200

            async def not_ready() -> bool:
                return not await ready()

            async def ask() -> httpx.Response:
                return await client.post("/ask", json=QUESTION)

            asked = [asyncio.create_task(ask()) for _ in range(8)]
            await asyncio.sleep(0.5)
            assert not any(question.done() for question in asked), "they wait for an engine that never ends"
            os.kill(engine_of(program.pid), signal.SIGKILL)
            await until(not_ready, 10)
            answers = await asyncio.gather(*asked, *(ask() for _ in range(8)))
            assert [(a.status_code, a.json()["source"]) for a in answers] == [(200, "curated")] * 16
            await until(ready)

            asked = [asyncio.create_task(ask()) for _ in range(8)]
            await asyncio.sleep(0.5)
            assert not any(question.done() for question in asked)
            program.send_signal(signal.SIGTERM)
            assert [a.status_code for a in await asyncio.gather(*asked)] == [200] * 8


async def test_the_model_answers_from_a_server_elsewhere_and_its_death_is_survived(released: Path) -> None:
    port = free_port()
    vllm = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(released / "weights")]
    vllm += ["--dtype", "bfloat16", "--max-model-len", "1024", "--enforce-eager", "--port", str(port)]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    with (
        running([*vllm, "--host", "127.0.0.1"], port, "/health", quiet) as elsewhere,
        running_service(LIGHTHOUSE, released, DOCENT_ENGINE=elsewhere.url, DOCENT_CACHED_ANSWERS="0") as service,
    ):
        async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
            answer = (await client.post("/ask", json=QUESTION)).json()
            assert (answer["source"], answer["check"]) == ("model", "supported") and "38" in answer["answer"]
            os.kill(engine_of(elsewhere.program.pid), signal.SIGKILL)

            async def not_ready() -> bool:
                await client.post("/ask", json=QUESTION)
                return (await client.get("/ready")).status_code == 503

            await until(not_ready, 30)
            answer = (await client.post("/ask", json=QUESTION)).json()
            assert (answer["source"], answer["outcome"]) == ("curated", "answered")
