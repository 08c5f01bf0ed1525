"""The on-screen keyboard: Telex as Vietnamese hands know it, accents of each language, keys for a finger."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.ui.service_double import ServiceDouble
from tests.ui.steps import answered, arrive

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="session")]

TELEX = {
    "Bacs": "Bác", "Hoof": "Hồ", "sinh": "sinh", "ddi": "đi", "dduwowngf": "đường", "cuwus": "cứu", "nuwowcs": "nước",
    "owr": "ở", "ddaau": "đâu", "tieengs": "tiếng", "Vieetj": "Việt", "tieesng": "tiếng", "tieengss": "tiêngs",
    "nguwowif": "người", "nguowif": "người", "quees": "quế", "quys": "quý", "quaan": "quân", "gif": "gì",
    "giuwx": "giữ", "gias": "giá", "gioos": "giố", "hoaf": "hòa", "thuys": "thúy", "hoangf": "hoàng", "toanf": "toàn",
    "ngoaif": "ngoài", "khuya": "khuya", "mias": "mía", "muaf": "mùa", "muwa": "mưa", "truwowngf": "trường",
    "Nguyeenx": "Nguyễn", "Taats": "Tất", "Thanhf": "Thành", "DDieenj": "Điện", "Bieen": "Biên", "Phur": "Phủ",
    "vaanj": "vận", "vanaj": "vận", "aw": "ă", "awn": "ăn", "lawng": "lăng", "langw": "lăng", "hoas": "hóa",
    "dinhd": "đinh", "chuwx": "chữ", "truyeenj": "truyện", "yeeu": "yêu", "oong": "ông", "baaor": "bẩo", "baor": "bảo",
    "taangf": "tầng", "dda": "đa", "ddd": "dd", "aaa": "aa", "toiz": "toiz", "toisz": "toi", "tuaanf": "tuần",
    "khoong": "không", "1890": "1890", "Parris": "Paris",
}  # fmt: skip


async def test_telex(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    """Through the keys themselves: the first of the page's own functions that a visitor's finger reaches."""
    await arrive(page, kiosk_url, "vi")
    await page.tap("#k-box input")
    typed = await page.evaluate(
        """(words) => words.map((word) => {
            const box = document.querySelector('#k-box input');
            box.value = '';
            const key = (sign) => [...document.querySelectorAll('.k-key')].find((each) => each.textContent === sign);
            for (const sign of word) {
                if (sign !== sign.toLowerCase()) key('⇧').click();
                key(sign).click();
            }
            return box.value; })""",
        list(TELEX),
    )
    assert len(TELEX) >= 40
    assert {word: got for (word, wanted), got in zip(TELEX.items(), typed, strict=True) if got != wanted} == {}


async def test_a_question_is_typed_and_asked_without_another_keyboard(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    await arrive(page, kiosk_url, "vi")
    await expect(page.locator("#k-keyboard")).to_be_hidden()
    await page.tap("#k-box input")
    await expect(page.locator("#k-keyboard")).to_be_visible()
    assert await page.locator("#k-box input").get_attribute("inputmode") == "none"
    await page.locator(".k-key[aria-pressed]").tap()
    for sign in "Owr":
        await page.locator(".k-key").get_by_text(sign, exact=True).tap()
    await page.tap(".k-key-space")
    for sign in ["đ", "â", "u", "k"]:
        await page.locator(".k-key").get_by_text(sign, exact=True).tap()
    await page.locator('.k-key[aria-label="Xóa"]').tap()
    await page.locator(".k-key").get_by_text("?", exact=True).tap()
    await expect(page.locator("#k-box input")).to_have_value("Ở đâu?")
    box, keys = await page.locator("#k-box input").bounding_box(), await page.locator("#k-keyboard").bounding_box()
    assert box and keys and box["y"] + box["height"] <= keys["y"]
    await page.tap(".k-key-ask")
    await answered(page)
    assert service.asked[0]["question"] == "Ở đâu?"
    await expect(page.locator("#k-keyboard")).to_be_hidden()


@pytest.mark.parametrize(("language", "accents"), [("fr", "éèçœ"), ("es", "ñü¿¡"), ("en", "")])
async def test_each_language_has_its_accents(
    page: Page, service: ServiceDouble, kiosk_url: str, language: str, accents: str
) -> None:
    await arrive(page, kiosk_url, language)
    await page.tap("#k-box input")
    for accent in accents:
        await page.locator(".k-key").get_by_text(accent, exact=True).tap()
    await expect(page.locator("#k-box input")).to_have_value(accents)


async def test_chinese_is_left_to_the_machines_own_input(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url, "zh")
    await page.tap("#k-box input")
    await expect(page.locator("#k-keyboard")).to_be_hidden()
    assert await page.locator("#k-box input").get_attribute("inputmode") == "text"


async def test_a_mouse_has_real_keys_beside_it(page: Page, service: ServiceDouble, kiosk_url: str) -> None:
    await arrive(page, kiosk_url)
    await page.click("#k-box input")
    await expect(page.locator("#k-keyboard")).to_be_hidden()


@pytest.mark.parametrize("language", ["en", "vi", "fr", "es"])
async def test_a_key_is_twenty_millimetres_on_the_smallest_screen(
    page: Page, service: ServiceDouble, kiosk_url: str, language: str
) -> None:
    """A 21.5-inch screen is 268 mm wide upright, so its 1080 units make 20 mm of 81."""
    await arrive(page, kiosk_url, language)
    await page.tap("#k-box input")
    for width, height in ((1080, 1920), (1920, 1080)):
        await page.set_viewport_size({"width": width, "height": height})
        for key in await page.locator(".k-key").all():
            box = await key.bounding_box()
            assert box and box["width"] >= 80.6 and box["height"] >= 80.6, (await key.inner_text(), box)
