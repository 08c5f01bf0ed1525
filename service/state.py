"""What every route is handed: the guide, the engine's keeper, the settings."""

from __future__ import annotations

from dataclasses import dataclass

from service.answering import Guide
from service.keeper import Keeper
from service.settings import Settings


@dataclass
class State:
    """One running service."""

    guide: Guide
    keeper: Keeper
    settings: Settings
