"""The kiosk's side of the service's HTTP interface: its calls, typed events, typed errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError, aconnect_sse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ui.errors import ServiceGarbled, ServiceRefused, ServiceUnreachable
from ui.settings import Settings

LIVE_TIMEOUT_S = 2.5
"""Below the time between two looks, so that looks never pile up."""
SILENCE_TIMEOUT_S = 20.0
"""A service that says nothing for so long in the middle of an answer counts as gone."""
SPEECH_TIMEOUT_S = 20.0
"""For a sentence read aloud, and for a spoken question; the service's own limit."""
_COLOUR = r"^#[0-9a-fA-F]{6}$"


class _Wire(BaseModel):
    """Something the service sends. Fields the kiosk has no use for are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Language(_Wire):
    """A language of the topic, under its own name."""

    code: str = Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$")
    name: str


class Texts(_Wire):
    """Every word the screen shows in one language, with the topic's title already in its place."""

    guide: str
    greeting: str
    resting: str
    ask: str
    stop: str
    start_over: str
    placeholder: str
    your_question: str
    try_these: str
    thinking: str
    stopped: str
    source: str = Field(alias="from")
    computer_notice: str
    offline_title: str
    offline_hint: str
    too_long: str
    attract: str
    touch_to_begin: str
    larger_text: str
    normal_text: str
    still_there: str
    seconds_left: str
    go_on: str
    close: str
    helpful: str
    not_helpful: str
    passage_language: str
    passage_missing: str
    take_away: str
    take_away_hint: str
    take_away_address: str
    keyboard: str
    space: str
    delete: str
    capitals: str
    hide_keyboard: str
    read_aloud: str
    stop_reading: str
    not_aloud: str
    say: str
    said_all: str
    listening: str
    not_heard: str
    words_kept: str = ""
    """That the museum keeps what visitors ask, and how long; the service sends it only where that is so."""
    staff: str
    staff_pin: str
    staff_wrong: str
    staff_locked: str
    staff_unreachable: str
    staff_service: str
    staff_engine: str
    staff_release: str
    staff_works: str
    staff_rests: str
    staff_volume: str
    staff_quieter: str
    staff_louder: str
    staff_restart: str
    staff_dark: str
    staff_dark_hint: str


class Colours(_Wire):
    """The museum's own colours; the service has checked that they can be read."""

    primary: str = Field("#8c1d18", pattern=_COLOUR)
    accent: str = Field("#0f4c52", pattern=_COLOUR)
    background: str = Field("#fbf7ef", pattern=_COLOUR)


class Speech(_Wire):
    """Languages that the service reads aloud, and languages it understands when spoken; a button each, or none."""

    speak: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()


class Topic(_Wire):
    """What the museum speaks about, and in which words."""

    id: str
    title: dict[str, str]
    languages: tuple[Language, ...] = Field(min_length=1)
    texts: dict[str, Texts]
    suggestions: dict[str, tuple[str, ...]] = {}
    colours: Colours = Colours()
    feedback: bool = True
    """Whether the service takes thumbs."""
    speech: Speech = Speech()

    @property
    def first_language(self) -> str:
        """The museum's own language: the one a new visitor meets."""
        return self.languages[0].code

    def check(self) -> None:
        """Raise `ServiceGarbled` unless every language has its title and its texts."""
        for code in (language.code for language in self.languages):
            if code not in self.texts or code not in self.title:
                raise ServiceGarbled(f"GET /topic: no texts or no title in {code!r}")


class Exchange(_Wire):
    """A question of this visit and what was answered to it."""

    question: str
    answer: str


class Source(_Wire):
    """The museum text that an answer comes from."""

    id: str
    title: str


class Passage(_Wire):
    """The words of the museum that an answer rests on."""

    title: str
    section: str
    text: str
    lang: str


Rating = Literal["up", "down"]


class Health(_Wire):
    """How the service is, for the museum's staff."""

    service: bool
    engine: bool
    release: str = ""


class Meta(_Wire):
    """The service has taken the question."""

    id: str


class Delta(_Wire):
    """Words to append to the answer."""

    text: str


class Replace(_Wire):
    """Words that take the place of everything said so far."""

    text: str


class Done(_Wire):
    """The finished answer; it counts, whatever was streamed before."""

    id: str
    outcome: str
    answer: str
    sources: tuple[Source, ...] = ()
    suggestions: tuple[str, ...] = ()
    lang: str | None = None


@dataclass(frozen=True)
class Audio:
    """Sound, and the media type it is in."""

    sound: bytes
    media_type: str


class _Heard(_Wire):
    text: str


class _Problem(_Wire):
    status: int = 500
    suggestions: tuple[str, ...] = ()


class _Ready(_Wire):
    release: str


Event = Meta | Delta | Replace | Done
_EVENTS: dict[str, type[Event]] = {"meta": Meta, "delta": Delta, "replace": Replace, "done": Done}


class Service(Protocol):
    """What the kiosk needs of the service; tests hand in their own."""

    async def live(self) -> bool:
        """Whether the service answers at all, within `LIVE_TIMEOUT_S`. Never raises."""

    async def topic(self) -> Topic:
        """The topic, or a `ServiceError`."""

    def ask(self, question: str, history: Sequence[Exchange], language: str) -> AsyncGenerator[Event]:
        """Yield the answer as it comes, ending with `Done`; otherwise raise a `ServiceError`.

        Closing the iterator closes the connection, which tells the service that nobody is listening any more.
        """

    async def passage(self, source: str) -> Passage:
        """The passage behind a source's id, or a `ServiceError`."""

    async def feedback(self, answer: str, rating: Rating) -> None:
        """Tell whether an answer helped; a `ServiceError` when nobody took it."""

    async def speak(self, text: str, language: str) -> Audio:
        """A sentence read aloud, or a `ServiceError`."""

    async def listen(self, recording: Audio, language: str) -> str:
        """What was said in a recording, or a `ServiceError`."""

    async def health(self) -> Health:
        """How the service is. Never raises."""

    async def close(self) -> None:
        """Let go of the connections."""


class HttpService:
    """The service at the other end of an address."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        key = settings.api_key
        self._http = httpx.AsyncClient(
            base_url=settings.service_url,
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            timeout=httpx.Timeout(5.0, connect=3.0, read=SILENCE_TIMEOUT_S),
            transport=transport,
            # A proxy meant for the internet must not stand between two programs of one machine.
            trust_env=False,
        )

    async def live(self) -> bool:
        """Whether the service answers at all, within `LIVE_TIMEOUT_S`. Never raises."""
        try:
            reply = await self._http.get("/live", timeout=LIVE_TIMEOUT_S)
        except httpx.HTTPError:
            return False
        return reply.is_success

    async def topic(self) -> Topic:
        """The topic, or a `ServiceError`."""
        with _translated("GET /topic"):
            reply = await self._http.get("/topic", timeout=5.0)
            if not reply.is_success:
                raise _refusal(reply.status_code, reply.content)
            topic = Topic.model_validate_json(reply.content)
        topic.check()
        return topic

    async def ask(self, question: str, history: Sequence[Exchange], language: str) -> AsyncGenerator[Event]:
        """Yield the answer as it comes, ending with `Done`; otherwise raise a `ServiceError`."""
        body = {"question": question, "history": [turn.model_dump() for turn in history], "language": language}
        with _translated("POST /ask"):
            async with aconnect_sse(self._http, "POST", "/ask", json=body) as source:
                if not source.response.is_success:
                    raise _refusal(source.response.status_code, await source.response.aread())
                async with contextlib.aclosing(_events(source)) as events:
                    async for event in events:
                        yield event
                        if isinstance(event, Done):
                            return
        raise ServiceGarbled("POST /ask: the stream ended without `done`")

    async def passage(self, source: str) -> Passage:
        """The passage behind a source's id, or a `ServiceError`."""
        with _translated("GET /sources"):
            reply = await self._http.get(f"/sources/{quote(source, safe='')}", timeout=5.0)
            if not reply.is_success:
                raise _refusal(reply.status_code, reply.content)
            return Passage.model_validate_json(reply.content)

    async def feedback(self, answer: str, rating: Rating) -> None:
        """Tell whether an answer helped; a `ServiceError` when nobody took it."""
        with _translated("POST /feedback"):
            reply = await self._http.post("/feedback", json={"id": answer, "rating": rating}, timeout=5.0)
            if not reply.is_success:
                raise _refusal(reply.status_code, reply.content)

    async def speak(self, text: str, language: str) -> Audio:
        """A sentence read aloud, or a `ServiceError`."""
        with _translated("POST /speak"):
            body = {"text": text, "lang": language}
            reply = await self._http.post("/speak", json=body, timeout=SPEECH_TIMEOUT_S)
            if not reply.is_success:
                raise _refusal(reply.status_code, reply.content)
        media_type = reply.headers.get("content-type", "")
        if not media_type.startswith("audio/"):
            raise ServiceGarbled("POST /speak: not audio")
        return Audio(reply.content, media_type)

    async def listen(self, recording: Audio, language: str) -> str:
        """What was said in a recording, or a `ServiceError`."""
        with _translated("POST /listen"):
            reply = await self._http.post(
                "/listen",
                params={"lang": language},
                content=recording.sound,
                headers={"Content-Type": recording.media_type},
                timeout=SPEECH_TIMEOUT_S,
            )
            if not reply.is_success:
                raise _refusal(reply.status_code, reply.content)
            return _Heard.model_validate_json(reply.content).text

    async def health(self) -> Health:
        """How the service is. Never raises."""
        try:
            reply = await self._http.get("/ready", timeout=LIVE_TIMEOUT_S)
            ready = _Ready.model_validate_json(reply.content) if reply.is_success else _Ready(release="")
        except (httpx.HTTPError, ValidationError):
            return Health(service=await self.live(), engine=False)
        return Health(service=True, engine=reply.is_success, release=ready.release)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()


async def _events(source: EventSource) -> AsyncGenerator[Event]:
    """The events the kiosk knows; a later service may send others, which say nothing to it."""
    async with contextlib.aclosing(source.aiter_sse()) as received:
        async for message in received:
            if message.event == "error":
                raise _refusal(500, message.data.encode())
            if message.event in _EVENTS:
                yield _event(message)


def _event(message: ServerSentEvent) -> Event:
    return _EVENTS[message.event].model_validate_json(message.data)


def _refusal(status: int, body: bytes) -> ServiceRefused:
    """The problem in a body; a body that holds none (a proxy's page, say) is a problem by its status alone."""
    try:
        problem = _Problem.model_validate_json(body)
    except ValidationError:
        return ServiceRefused(status)
    return ServiceRefused(problem.status if "status" in problem.model_fields_set else status, problem.suggestions)


@contextlib.contextmanager
def _translated(where: str) -> Iterator[None]:
    """Turn the errors of the libraries beneath into ours."""
    try:
        yield
    except SSEError as error:  # before HTTPError: it is one
        raise ServiceGarbled(f"{where}: not a stream of events") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ServiceUnreachable(f"{where}: {type(error).__name__}") from error
    except ValidationError as error:
        faults = "; ".join(".".join(map(str, fault["loc"])) + " " + fault["type"] for fault in error.errors()[:3])
        raise ServiceGarbled(f"{where}: {faults}") from error
