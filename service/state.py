"""What every route is handed: the guide, the engine's keeper, the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.answering import Guide
from service.keeper import Keeper
from service.settings import Settings
from service.speech import Speech

if TYPE_CHECKING:
    from service.reload import Reloader


@dataclass
class State:
    """One running service."""

    guide: Guide
    keeper: Keeper
    settings: Settings
    speech: Speech | None = None
    """Reads aloud and listens; None where the museum wants neither."""
    reloader: Reloader = field(init=False)
    """Exchanges `guide` and `keeper`; whoever needs them twice for one question keeps them."""
