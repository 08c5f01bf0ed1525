"""The kiosk's settings: read once, refused with one sentence, and nobody else's business."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from ui.settings import Settings, SettingsError, read_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DOCENT_")]:
        monkeypatch.delenv(name)


def test_without_an_environment_the_kiosk_stays_on_this_machine() -> None:
    settings = read_settings()
    assert (settings.host, settings.port, settings.service_url) == ("127.0.0.1", 7860, "http://127.0.0.1:8000")
    assert settings.api_key is None


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCENT_UI_PORT", "7999")
    monkeypatch.setenv("DOCENT_UI_SERVICE_URL", "http://10.0.0.2:8000/")
    monkeypatch.setenv("DOCENT_UI_API_KEY", "s3cret")
    settings = read_settings()
    assert (settings.port, settings.service_url) == (7999, "http://10.0.0.2:8000")
    assert settings.api_key and settings.api_key.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)


def test_an_empty_value_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCENT_UI_API_KEY", "")
    assert read_settings().api_key is None


def test_the_names_of_the_service_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCENT_TOPIC", "elsewhere")
    monkeypatch.setenv("DOCENT_NO_SUCH_THING", "1")
    read_settings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DOCENT_UI_PROT", "7999", "DOCENT_UI_PROT is not a setting of the kiosk; it knows DOCENT_UI_API_KEY"),
        ("DOCENT_UI_PORT", "many", "DOCENT_UI_PORT: Input should be a valid integer"),
        ("DOCENT_UI_PORT", "70000", "DOCENT_UI_PORT: Input should be less than or equal to 65535"),
        ("DOCENT_UI_SERVICE_URL", "localhost:8000", "DOCENT_UI_SERVICE_URL: must start with http:// or https://."),
    ],
)
def test_a_fault_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as fault:
        read_settings()
    assert str(fault.value).startswith(says)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def _start(**environ: str) -> subprocess.CompletedProcess[str]:
    own = {**os.environ, **environ}
    return subprocess.run(
        [sys.executable, "-m", "ui"], cwd=ROOT, env=own, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_misspelt_name_ends_the_start_with_one_sentence() -> None:
    ended = _start(DOCENT_UI_PROT="7999")
    assert ended.returncode == 2
    assert ended.stderr.startswith("ui: DOCENT_UI_PROT is not a setting") and ended.stderr.count("\n") == 1


def test_a_taken_port_ends_the_start_with_one_sentence_that_names_the_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = _start(DOCENT_UI_PORT=str(taken.getsockname()[1]))
    assert ended.returncode == 2
    assert ended.stderr.startswith("ui: DOCENT_UI_PORT: port ") and ended.stderr.count("\n") == 1
