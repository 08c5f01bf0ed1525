"""The same page inside another app, under a path of its own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from playwright.async_api import Page, expect

from tests.ui.conftest import served
from tests.ui.service_double import BORN, ServiceDouble
from tests.ui.steps import answered, arrive, start_over
from ui.kiosk import mount_kiosk
from ui.settings import Settings

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def host(service: ServiceDouble) -> Iterator[str]:
    """Somebody else's app, with the kiosk at /guide."""
    app = FastAPI()

    @app.get("/")
    async def home() -> dict[str, str]:
        return {"app": "somebody else's"}

    kiosk = mount_kiosk(app, "/guide", Settings(service_url=service.url))
    with served(app) as url:
        yield url
        kiosk.let_go()


async def test_a_visit_inside_another_app(page: Page, service: ServiceDouble, host: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await arrive(page, f"{host}/guide/", "vi")
    await page.tap("#k-chip-0")
    assert BORN["vi"] in await answered(page)
    await page.tap(".k-from")
    await expect(page.locator("#k-passage-text p")).to_have_count(2)
    await page.tap("#k-passage .k-close")
    await start_over(page)
    assert all(url.startswith((f"{host}/guide/", "data:")) for url in asked)
    await page.goto("about:blank")


async def test_the_other_app_goes_on_and_the_doors_stay_closed(service: ServiceDouble, host: str) -> None:
    async with httpx.AsyncClient(trust_env=False, base_url=host) as http:
        assert (await http.get("/")).json() == {"app": "somebody else's"}
        assert (await http.post("/guide/gradio_api/upload")).status_code == 404
        assert (await http.get("/guide/kiosk/state")).json() == {"ready": True}
