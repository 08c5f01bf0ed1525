"""The only reader of the environment: `DOCENT_*` (the kiosk reads `DOCENT_UI_*` on its own)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(ValueError):
    """A setting is wrong; the message names it and what it may be."""


class Settings(BaseSettings):
    """Everything an operator may set. `docs/settings.md` is generated from this class."""

    model_config = SettingsConfigDict(env_prefix="DOCENT_", frozen=True, use_attribute_docstrings=True, extra="forbid")

    topic: str = "ho_chi_minh"
    """Name of a folder under `topics/`, or the path of one."""
    release: str = "live"
    """Name of a release of the topic, or the path of one."""
    engine: Literal["local", "scripted"] = "local"
    """`local` runs vLLM inside the service; `scripted` repeats the museum's words, for demonstrations and tests."""
    gate_encoder: Path | None = None
    """Folder of a sentence-transformers model that gives the gate a second opinion in doubt; the release's gate must
    have been fitted with it (`make train-gatekeeper ENCODER=DIR`). Without it nothing changes."""
    host: str = "127.0.0.1"
    """Address to listen on. Keep loopback unless a proxy in front of it checks who may ask."""
    port: int = Field(8000, ge=1, le=65535)
    """Port to listen on."""
    answer_deadline_s: float = Field(8.0, gt=0)
    """Longest time an answer may take to generate; after it the museum's own words are told, in seconds."""
    question_characters: int = Field(2000, ge=10)
    """Longest question accepted, in characters."""
    history_turns: int = Field(4, ge=0)
    """Earlier turns that are looked at; older ones are dropped."""
    kv_cache_gib: float = Field(1.0, gt=0)
    """Memory for the engine's key-value cache on a CPU, in GiB."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """How much is logged; visitors' words are never logged at INFO."""


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment. Raises SettingsError for an unknown name or an impossible value."""
    environ = os.environ if environ is None else environ
    given = {k: v for k, v in environ.items() if k.startswith("DOCENT_") and not k.startswith("DOCENT_UI_")}
    known = {f"DOCENT_{name.upper()}" for name in Settings.model_fields}
    if unknown := sorted(set(given) - known):
        raise SettingsError(f"{unknown[0]}: no such setting; there are {', '.join(sorted(known))}")
    try:
        return Settings.model_validate({k.removeprefix("DOCENT_").lower(): v for k, v in given.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name = f"DOCENT_{str(first['loc'][0]).upper()}"
        raise SettingsError(f"{name}={first['input']!r}: {first['msg'].lower()}") from error
