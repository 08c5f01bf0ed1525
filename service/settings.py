"""The only reader of the environment: `DOCENT_*` (the kiosk reads `DOCENT_UI_*` on its own)."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from limits import parse
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _is_url(value: str) -> bool:
    parts = urlsplit(value)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


class SettingsError(ValueError):
    """A setting is wrong; the message names it and what it may be."""


class Settings(BaseSettings):
    """Everything an operator may set. `docs/settings.md` is generated from this class."""

    model_config = SettingsConfigDict(
        env_prefix="DOCENT_", frozen=True, use_attribute_docstrings=True, extra="forbid", populate_by_name=True
    )

    topic: str = "ho_chi_minh"
    """Name of a folder under `topics/`, or the path of one."""
    release: str = "live"
    """Name of a release of the topic, or the path of one."""
    engine: str = "local"
    """`local` runs vLLM inside the service; URLs separated by commas are OpenAI-compatible servers of the release's
    `weights/` that take token ids at `/v1/completions`, such as vLLM's; `scripted` repeats the museum's words, for
    demonstrations and tests."""
    engine_key: SecretStr = SecretStr("")
    """Key that remote engines ask for."""
    engine_model: str = ""
    """Name of the model at remote engines; without it, the first that each of them lists."""
    gate_encoder: Path | None = None
    """Folder of a sentence-transformers model that gives the gate a second opinion in doubt; the release's gate must
    have been fitted with it (`make train-gatekeeper ENCODER=DIR`). Without it nothing changes."""
    host: str = "127.0.0.1"
    """Address to listen on. On any other than this machine's own, the service wants `DOCENT_API_KEYS`."""
    port: int = Field(8000, ge=1, le=65535)
    """Port to listen on."""
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Keys that may ask, separated by commas; each plain, or as `sha256:` and its digest (`python -m service key` makes
    a pair). Without any, whoever reaches the address may ask."""
    kiosk_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Keys of the museum's own kiosks, which no rate limit binds."""
    operator_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Keys that may read `/metrics` and ask the bare model (`/tokenize`, `/generate`). Without any, `/metrics` is open
    on this machine and closed elsewhere, and the bare model is closed everywhere."""
    allow_anonymous: bool = False
    """Listen on an address that others reach although there are no `DOCENT_API_KEYS`."""
    rate_limit: str = "60/minute"
    """How often one client (by key, else by address) may ask, such as `10/second`; empty for no limit. Clients on this
    machine and the kiosks have none."""
    open_questions: int = Field(256, ge=1)
    """Most questions open at once; further ones get a 503 at once."""
    generations: int = Field(64, ge=1)
    """Most generations at once in the engine."""
    waiting: int = Field(64, ge=0)
    """Most questions in line for the engine; further ones get the museum's own words at once."""
    cached_answers: int = Field(500, ge=0)
    """Most generated answers to the museum's own questions kept for the next visitor; 0 keeps none."""
    stall_s: float = Field(8.0, gt=0)
    """An engine that gives no token for so long, though it should, is started again, in seconds."""
    drain_s: float = Field(10.0, gt=0)
    """How long answers under way may take when the service is told to end, in seconds."""
    answer_deadline_s: float = Field(8.0, gt=0)
    """Longest time an answer may take to generate; after it the museum's own words are told, in seconds."""
    question_characters: int = Field(2000, ge=10)
    """Longest question accepted, in characters."""
    history_turns: int = Field(4, ge=0)
    """Earlier turns that are looked at; older ones are dropped."""
    context_tokens: int = Field(1024, ge=128)
    """Most tokens of a prompt and its answer together; the oldest turns of a conversation are dropped to fit."""
    kv_cache_gib: float = Field(1.0, gt=0)
    """Memory for the engine's key-value cache on a CPU, in GiB."""
    speech: str = ""
    """`espeak-ng` lets the kiosk read answers aloud, by Debian's program of that name; a URL is a speech engine on this
    machine that reads, listens or both (docs/operations.md). Without it the kiosk shows neither button."""
    bench: bool = False
    """For benchmarks on this machine: the model always answers, in 48 tokens; no cache, no rate limit."""
    book: Literal["off", "counts", "words"] = "counts"
    """What the operator's book keeps of a question: nothing; outcome, times and rating; or the words as well, which the
    kiosk then says. Addresses never."""
    book_days: int = Field(30, ge=1)
    """Days that `DOCENT_BOOK=words` keeps words. Older ones are deleted; with another `DOCENT_BOOK`, all of them."""
    database_url: SecretStr | None = None
    """Where the book lies: `sqlite:////folder/book.sqlite3` or `postgresql://user:password@host/name`; without it, in
    `book.sqlite3` beside the topic's releases."""
    log_format: Literal["text", "json"] = "text"
    """`json` writes one object a line, with the fields of every answered question."""
    traces: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """OpenTelemetry collector (OTLP over HTTP) that gets a trace of every question, without its words; without it there
    are no traces. The other usual `OTEL_*` names hold as well."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """How much is logged; visitors' words are never logged at INFO."""

    @field_validator("api_keys", "kiosk_keys", "operator_keys", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        return _split(value) if isinstance(value, str) else value

    @field_validator("engine")
    @classmethod
    def _an_engine(cls, value: str) -> str:
        if value in ("local", "scripted") or (value.strip(", ") and all(map(_is_url, _split(value)))):
            return value
        raise ValueError("write local, scripted, or http://HOST:PORT addresses separated by commas")

    @field_validator("speech")
    @classmethod
    def _a_speech_engine(cls, value: str) -> str:
        if value in ("", "espeak-ng") or _is_url(value):
            return value.rstrip("/")
        raise ValueError("write espeak-ng, or the http://HOST:PORT address of a speech engine")

    @property
    def engine_urls(self) -> list[str]:
        """Addresses of remote engines, ending in `/v1` where they name no path; none for `local` and `scripted`."""
        if self.engine in ("local", "scripted"):
            return []
        return [url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1" for url in _split(self.engine)]

    @field_validator("rate_limit")
    @classmethod
    def _a_rate(cls, value: str) -> str:
        if value.strip():
            parse(value)
        return value.strip()

    @model_validator(mode="after")
    def _no_benchmark_for_others(self) -> Settings:
        if self.bench and not is_loopback(self.host):
            raise ValueError(f"DOCENT_BENCH=1 is for this machine alone; leave DOCENT_HOST={self.host} out")
        return self

    @model_validator(mode="after")
    def _not_open_to_everybody(self) -> Settings:
        if not (is_loopback(self.host) or self.api_keys or self.allow_anonymous):
            raise ValueError(
                f"DOCENT_HOST={self.host} lets others ask; set DOCENT_API_KEYS, or DOCENT_ALLOW_ANONYMOUS=1"
            )
        return self


def variable(name: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"DOCENT_{name.upper()}"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment. Raises SettingsError for an unknown name or an impossible value."""
    environ = os.environ if environ is None else environ
    fields = {variable(name): name for name in Settings.model_fields}
    ours = {k for k in environ if k.startswith("DOCENT_") and not k.startswith("DOCENT_UI_")}
    if unknown := sorted(ours - set(fields)):
        raise SettingsError(f"{unknown[0]}: no such setting; there are {', '.join(sorted(fields))}")
    try:
        return Settings.model_validate({name: environ[k] for k, name in fields.items() if k in environ})
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise SettingsError(first["msg"].removeprefix("Value error, ")) from error
        raise SettingsError(f"{variable(str(first['loc'][0]))}={first['input']!r}: {first['msg'].lower()}") from error
