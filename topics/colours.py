"""A museum's own colours for the screen, refused where people could not read them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

TEXT_CONTRAST = 4.5
"""WCAG 1.4.3, for text of any size."""
BORDER_CONTRAST = 3.0
"""WCAG 1.4.11, for the borders of what can be touched."""

# What the screen draws besides the museum's three colours.
_WHITE, _INK, _MUTED, _LINE, _ANSWER = "#ffffff", "#211b16", "#5b5147", "#8a7f72", "#e3f0ef"

Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class Colours(BaseModel):
    """`[colours]`: each as `#rrggbb`. Text on them is checked when the topic is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    primary: Colour = "#8c1d18"
    """The attract screen, headings and the button that asks; white text stands on it."""
    accent: Colour = "#0f4c52"
    """Suggested questions, sources, the ring around what has the focus."""
    background: Colour = "#fbf7ef"
    """Behind everything; light, for dark text stands on it."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Colours:
        pairs = (
            ("white text on primary", _WHITE, self.primary, TEXT_CONTRAST),
            ("primary text on background", self.primary, self.background, TEXT_CONTRAST),
            ("accent text on white", self.accent, _WHITE, TEXT_CONTRAST),
            ("accent text on an answer", self.accent, _ANSWER, TEXT_CONTRAST),
            ("dark text on background", _INK, self.background, TEXT_CONTRAST),
            ("grey text on background", _MUTED, self.background, TEXT_CONTRAST),
            ("borders on background", _LINE, self.background, BORDER_CONTRAST),
        )
        for what, front, back, wanted in pairs:
            if (found := contrast(front, back)) < wanted:
                raise ValueError(
                    f"{what} ({front} on {back}) has a contrast of {found:.1f} and needs {wanted}; choose a darker "
                    "primary or accent, or a lighter background"
                )
        return self


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours `#rrggbb`: 1 for the same, 21 for black on white."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
