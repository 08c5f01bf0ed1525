"""Who may come in, how often, and how many at once; and the headers that every answer carries.

An ASGI middleware, so that a visitor who is turned away costs nothing but this.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Problem
from service.metrics import Metrics
from service.settings import is_loopback

_ASKING = ("/ask", "/v1/chat/completions")
_LIMITED = (*_ASKING, "/feedback", "/speak", "/listen")
_OPEN = ("/live", "/ready")
_OPERATORS = ("/metrics",)
_KEYED = ("/tokenize", "/generate")
"""For operators as well, and never without a key: behind a proxy every visitor seems to come from this machine."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


def digest(key: str) -> str:
    """What is kept of a key: its SHA-256, in hexadecimal. `sha256:…` is taken for one already."""
    known = key.removeprefix("sha256:")
    return known.lower() if known != key else hashlib.sha256(key.encode()).hexdigest()


class Keys:
    """API keys as digests, compared in constant time."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        self._digests = [digest(k.get_secret_value()) for k in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def hold(self, key: str) -> bool:
        """Whether `key` is one of them; looks at all of them, whichever fits."""
        mine = hashlib.sha256(key.encode()).hexdigest()
        return any([hmac.compare_digest(mine, d) for d in self._digests])


class Door:
    """Keys, limits and bounds in front of the whole service."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        api_keys: Keys,
        kiosk_keys: Keys,
        operator_keys: Keys,
        rate: RateLimitItem | None,
        most_open: int,
    ) -> None:
        """`rate` binds a client (its key, else its address); `most_open` questions may be open at once.

        Clients with one of `kiosk_keys` and keyless clients on this machine have no rate. Without `api_keys` nobody
        needs one; without `operator_keys` the operators' pages are for this machine alone, the bare model for nobody.
        """
        self.app = app
        self.metrics = metrics
        self.api_keys, self.kiosk_keys, self.operator_keys = api_keys, kiosk_keys, operator_keys
        self.rate = rate
        self.most_open = most_open
        self.open = 0
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        path = scope["path"]
        problem = await self._turned_away(scope)
        if problem is None and path in _ASKING and self.open >= self.most_open:
            problem = Problem(503, "Too many questions", "Too many questions at once; please ask again in a moment.")
        if problem is not None:
            self.metrics.turned_away.labels(str(problem.status)).inc()
            await _answer(path, problem)(scope, receive, dressed)
            return
        asking = path in _ASKING
        self.open += asking
        try:
            await self.app(scope, receive, dressed)
        finally:
            self.open -= asking

    async def _turned_away(self, scope: Scope) -> Problem | None:
        path, key = scope["path"], _key(Headers(scope=scope))
        address = (scope.get("client") or ("", 0))[0]
        if path in _OPEN:
            return None
        if path in _OPERATORS:
            allowed = self.operator_keys.hold(key) if self.operator_keys else is_loopback(address)
            return None if allowed else Problem(401, "Operators only", "Send a key of DOCENT_OPERATOR_KEYS as Bearer.")
        if path in _KEYED:
            allowed = self.operator_keys.hold(key)
            return None if allowed else Problem(401, "Operators only", "Send a key of DOCENT_OPERATOR_KEYS as Bearer.")
        kiosk = self.kiosk_keys.hold(key)
        if self.api_keys and not (kiosk or self.api_keys.hold(key)):
            return Problem(401, "No key", "This service answers who has a key: Authorization: Bearer KEY.")
        if path not in _LIMITED or self.rate is None or kiosk:
            return None
        if not self.api_keys and is_loopback(address):
            return None
        if not await self._limiter.hit(self.rate, digest(key) if self.api_keys else address):
            return Problem(429, "Too often", f"More than {self.rate}; please wait a moment and ask again.")
        return None


def _key(headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _answer(path: str, problem: Problem) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {"Retry-After": "5"}
    if path.startswith("/v1/"):
        kind = "invalid_request_error" if problem.status < 500 else "server_error"
        body = {"error": {"message": str(problem), "type": kind, "param": None, "code": None}}
        return JSONResponse(body, problem.status, headers)
    return JSONResponse(problem.body, problem.status, headers, "application/problem+json")
