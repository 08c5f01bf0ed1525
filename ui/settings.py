"""What an operator may set for the kiosk; the only reader of the environment in this package."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ui.pin import is_pin_hash

PREFIX = "DOCENT_UI_"


class SettingsError(ValueError):
    """The environment cannot be used as it is; the message is one sentence for the operator."""


class Settings(BaseSettings):
    """Everything an operator may set for the kiosk, as `DOCENT_UI_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, use_attribute_docstrings=True, env_ignore_empty=True, extra="forbid"
    )

    port: int = Field(default=7860, ge=1, le=65535)
    """The kiosk's page is at this port."""
    host: str = "127.0.0.1"
    """The address the kiosk listens on; leave it on this machine unless the screen hangs on another one."""
    service_url: str = "http://127.0.0.1:8000"
    """Where the service answers."""
    api_key: SecretStr | None = None
    """Sent to the service with every question, where it asks for a key."""
    idle_s: int = Field(default=60, ge=30, le=600)
    """After these seconds without a touch, and 0.4 for each word to read, the screen asks whether anybody is there."""
    warning_s: int = Field(default=25, ge=20, le=120)
    """How long it then waits for a touch before it forgets the visit; never under 20, for people who move slowly."""
    text_size: int = Field(default=1, ge=1, le=3)
    """The text size a new visitor meets: 1 on a screen of 32 inches or more, 2 from 27 inches, 3 from 21.5."""
    volume: int = Field(default=70, ge=0, le=100)
    """How loud answers are read, in per cent, where the service can (`DOCENT_SPEECH`); staff may change it until the
    screen starts again."""
    staff_pin: SecretStr | None = None
    """What `python -m ui pin` prints. Opens the staff's panel after five touches in the upper left corner."""

    @field_validator("staff_pin")
    @classmethod
    def _a_hash(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_pin_hash(value.get_secret_value()):
            raise ValueError("is not what `python -m ui pin` prints; run it, and never write the PIN itself here")
        return value

    @field_validator("service_url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")


def read_settings() -> Settings:
    """The settings in the environment; a misspelt or impossible one is a `SettingsError`."""
    _refuse_unknown_names(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        name = PREFIX + "_".join(str(part) for part in fault["loc"]).upper()
        # The value is left out: it may be a key.
        raise SettingsError(f"{name}: {fault['msg'].removeprefix('Value error, ')}.") from error


def keep_offline() -> None:
    """Let gradio look up nothing on the internet when it starts; it reads these names while it is being imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"


def _refuse_unknown_names(names: Iterable[str]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in names if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsError(f"{unknown[0]} is not a setting of the kiosk; it knows {', '.join(sorted(known))}.")
