"""What the service says when it cannot answer; every error is an RFC 9457 problem.

Problem                    status, title, detail
└── BadQuestion            4xx: what is wrong with the request, and what to do

EngineError                what the engine reports; the visitor never sees it
├── EngineBusy             as many questions wait for it as may
├── EngineGone             it stopped, or has not started
└── EngineTimeout          no answer within the deadline
"""

from __future__ import annotations

from typing import Any


class Problem(Exception):
    """An error that is told to the caller as `application/problem+json`."""

    def __init__(self, status: int, title: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}


class BadQuestion(Problem):
    """The request cannot be answered as it is."""


class EngineError(RuntimeError):
    """The engine gave no answer."""


class EngineBusy(EngineError):
    """The line in front of the engine is full."""


class EngineGone(EngineError):
    """The engine has stopped or has not started yet."""


class EngineTimeout(EngineError):
    """The engine did not finish within the deadline."""
