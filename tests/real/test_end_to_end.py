"""From a museum's questions to an answer on the screen, on real parts: training, merge, vLLM, HTTP, Chromium."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.real.conftest import service_at
from tests.ui.conftest import StartKiosk
from tests.ui.steps import arrive

pytestmark = pytest.mark.timeout(400)


def metric(url: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


def ask(url: str, question: str, **more: str) -> dict:  # type: ignore[type-arg]
    reply = httpx.post(f"{url}/ask", json={"question": question, **more}, timeout=30)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def test_the_model_this_repository_trained_answers_through_vllm(museum: str) -> None:
    before = metric(museum, 'docent_engine_requests_total{purpose="answer"}')
    replies = [
        ask(museum, q)
        for q in (
            "How high is Gull Rock Lighthouse?",
            "What was the cat of Gull Rock Lighthouse called?",
            "Who built Gull Rock Lighthouse?",
        )
    ]
    assert [k in r["answer"] for k, r in zip(("38", "Biscuit", "Ada Finch"), replies, strict=True)] == [True] * 3
    assert "model" in {r["source"] for r in replies}
    assert metric(museum, 'docent_engine_requests_total{purpose="answer"}') == before + 3


def test_declined_questions_cost_the_engine_nothing(museum: str) -> None:
    before = metric(museum, 'docent_engine_requests_total{purpose="answer"}')
    for question in (
        "What is the capital of Mongolia?",
        "Write a poem about socks",
        "How do I bake bread?",
        "Hello",
        "is there a cloakroom for my coat",
    ):
        assert ask(museum, question)["outcome"] in ("declined", "visit", "greeting", "unsure")
    assert metric(museum, 'docent_engine_requests_total{purpose="answer"}') == before
    assert metric(museum, 'docent_engine_requests_total{purpose="probe"}') == 1


def test_vietnamese_is_answered_in_vietnamese(museum: str) -> None:
    reply = ask(museum, "Hải đăng Gull Rock cao bao nhiêu?")
    assert reply["lang"] == "vi" and "38" in reply["answer"]


@pytest.fixture(scope="module")
def endless(babbling: tuple[Path, Path]) -> Iterator[str]:
    """The address of a guide that never ends; without the cache, for which it would talk to itself when it warms up."""
    with service_at(*babbling, DOCENT_CACHED_ANSWERS="0") as url:
        yield url


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_visitor_who_leaves_cancels_the_generation(endless: str, accept: str) -> None:
    before = metric(endless, "docent_cancellations_total")
    question = {"question": "How high is Gull Rock Lighthouse?"}
    with pytest.raises(httpx.ReadTimeout):
        with httpx.stream("POST", f"{endless}/ask", json=question, headers={"accept": accept}, timeout=0.4) as reply:
            for _ in reply.iter_lines():
                pass
    until = time.monotonic() + 2
    while metric(endless, "docent_cancellations_total") == before and time.monotonic() < until:
        time.sleep(0.02)
    assert metric(endless, "docent_cancellations_total") == before + 1
    assert metric(endless, "docent_generations_running") == 0


@pytest.mark.asyncio(loop_scope="session")
async def test_a_child_asks_at_the_screen(museum: str, start_kiosk: StartKiosk, page: Page) -> None:
    with start_kiosk(museum) as address:
        await arrive(page, address)
        await expect(page.locator("#k-chip-0")).to_contain_text("built?", timeout=30_000)
        await page.tap("#k-chip-0")
        await expect(page.locator("body")).to_contain_text("1871", timeout=30_000)
        await expect(page.locator("body")).to_contain_text("From: The building")
        await page.goto("about:blank")  # a page still open when its kiosk ends reports that nobody answers its requests
