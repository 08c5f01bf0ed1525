"""What can go wrong between the kiosk and the service; a class exists where the kiosk acts differently.

ServiceError
├── ServiceUnreachable    nobody answers, or not in time
├── ServiceGarbled        something answers, and it is not what the kiosk understands
└── ServiceRefused        the service says no, politely: status, suggestions
"""

from __future__ import annotations


class ServiceError(Exception):
    """The service gave no usable answer; the visitor reads a sentence of the topic, never this message."""


class ServiceUnreachable(ServiceError):
    """Nobody answers at the service's address, or the answer did not come in time."""


class ServiceGarbled(ServiceError):
    """What came back is not what the kiosk understands; the message says where, for the operator."""


class ServiceRefused(ServiceError):
    """The service answered with a problem; `suggestions` are questions it can answer instead."""

    def __init__(self, status: int, suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(f"the service answered with status {status}")
        self.status = status
        self.suggestions = suggestions
