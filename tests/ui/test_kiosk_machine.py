"""The kiosk machine's files: units that systemd takes, a page that waits, rules the browser can read."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.conftest import ROOT
from tests.ui.service_double import ServiceDouble

SCREEN = ROOT / "deploy" / "screen"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not on this machine")
def test_systemd_takes_every_unit(tmp_path: Path) -> None:
    units = [*SCREEN.glob("docent-*.service"), *SCREEN.glob("docent-*.timer")]
    assert len(units) == 5
    for unit in units:
        # Where the programs stand on a kiosk; here any that exists will do.
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/usr/bin/true", unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    for unit in units:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)], capture_output=True, text=True
        )
        said = [line for line in done.stderr.splitlines() if "docent" in line]
        assert (done.returncode, said) == (0, [])


def test_units_start_what_is_there() -> None:
    for unit in SCREEN.glob("docent-*.service"):
        for path in re.findall(r"/opt/docent/(deploy/\S+|docs/\S+)", unit.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{unit.name}: {path}"
    assert (SCREEN / "screen.sh").stat().st_mode & 0o111


@pytest.mark.parametrize("script", ["install.sh", "screen.sh"])
def test_scripts_can_be_read_by_the_shell(script: str) -> None:
    subprocess.run(["bash", "-n", str(SCREEN / script)], check=True)


def test_the_browser_may_open_the_page_and_nothing_else() -> None:
    rules = json.loads((SCREEN / "chromium-policy.json").read_text(encoding="utf-8"))
    assert rules["URLBlocklist"] == ["*"]
    assert all(re.match(r"http://127\.0\.0\.1:7860$|file:///opt/docent/", address) for address in rules["URLAllowlist"])


@pytest.mark.asyncio(loop_scope="session")
async def test_the_boot_page_says_nothing_and_gives_way_to_the_kiosk(
    page: Page, service: ServiceDouble, kiosk_url: str
) -> None:
    boot = (SCREEN / "boot.html").as_uri()
    assert not re.sub(r"(?s)<(script|style|title).*?</\1>|<[^>]*>", "", (SCREEN / "boot.html").read_text()).strip()
    await page.goto(f"{boot}#{kiosk_url}")
    await page.wait_for_url(f"{kiosk_url}/")
    await expect(page.locator("#k-attract")).to_be_visible()
