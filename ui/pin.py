"""The staff's PIN: kept as a slow hash, compared in constant time, locked after three wrong tries."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

TRIES = 3
"""Wrong PINs in a row before the panel locks."""
LOCKED_S = 60.0
"""How long it stays locked."""

_MARK = "scrypt"


def pin_hash(pin: str) -> str:
    """`pin` as it may stand in a settings file; who can read that file still guesses four digits, so keep it closed."""
    salt = secrets.token_bytes(16)
    return f"{_MARK}:{salt.hex()}:{_digest(pin, salt).hex()}"


def is_pin_hash(text: str) -> bool:
    """Whether `pin_hash` could have made this."""
    mark, _, rest = text.partition(":")
    salt, _, digest = rest.partition(":")
    return mark == _MARK and _is_hex(salt, 16) and _is_hex(digest, 32)


class Lock:
    """Asks for the PIN. One per kiosk, so that a reload of the page buys no further tries."""

    def __init__(self, hashed: str, clock: Callable[[], float] = time.monotonic) -> None:
        _, salt, digest = hashed.split(":")
        self._salt, self._digest = bytes.fromhex(salt), bytes.fromhex(digest)
        self._clock = clock
        self._wrong = 0
        self._locked_until = 0.0

    def locked_s(self) -> float:
        """Seconds until the next try is allowed; 0 when it is now."""
        return max(0.0, self._locked_until - self._clock())

    def opens(self, pin: str) -> bool:
        """Whether this is the PIN; always False while locked."""
        if self.locked_s():
            return False
        # Counted before the slow comparison, so that tries made at the same time count as well.
        self._wrong += 1
        if self._wrong >= TRIES:
            self._locked_until = self._clock() + LOCKED_S
            self._wrong = 0
        if not hmac.compare_digest(_digest(pin, self._salt), self._digest):
            return False
        self._wrong, self._locked_until = 0, 0.0
        return True


def _digest(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)


def _is_hex(text: str, count: int) -> bool:
    try:
        return len(bytes.fromhex(text)) == count
    except ValueError:
        return False
