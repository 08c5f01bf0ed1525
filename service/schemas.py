"""What travels on the wire."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.speech import LONGEST_TEXT
from topics.check import Check

Outcome = Literal["answered", "unsure", "declined", "visit", "greeting", "unknown"]
Origin = Literal["model", "curated", "policy"]
Rating = Literal["up", "down"]


def _readable(text: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("holds half a character (a lone surrogate); send valid Unicode")
    if any(unicodedata.category(c) == "Cc" and c not in "\n\r\t" for c in text):
        raise ValueError("holds control characters; send plain text")
    if not text.strip():
        raise ValueError("is empty; ask something")
    return text.strip()


def _answer_id(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{32}", text):
        raise ValueError("is no answer's id; send the `id` that came with an answer")
    return text


Text = Annotated[str, AfterValidator(_readable)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EarlierTurn(Strict):
    """One question already asked and the answer it got."""

    question: Text = Field(max_length=20_000)
    answer: str = Field(max_length=20_000)


class AskBody(Strict):
    """The body of `POST /ask`."""

    question: Text
    history: list[EarlierTurn] = Field(default_factory=list, max_length=1000)
    """Oldest first; only the last turns are looked at."""
    language: str | None = None
    """Language of the answer; without it, the question's own."""


class FeedbackBody(Strict):
    """The body of `POST /feedback`, and its reply."""

    id: Annotated[str, AfterValidator(_answer_id)]
    """The `id` of an answer."""
    rating: Rating


class Source(BaseModel):
    """Where an answer comes from."""

    id: str
    """The fact's id."""
    title: str
    """Title of the museum's article."""
    section: str
    """Its section; empty where it has no name in the answer's language."""


class GateView(BaseModel):
    """The gate's verdict."""

    on_topic: bool
    score: float
    kind: str


class Timings(BaseModel):
    """Milliseconds since the question arrived; null where a step did not happen."""

    gate_ms: float | None = None
    first_word_ms: float | None = None
    total_ms: float | None = None


class AskReply(BaseModel):
    """The answer to `POST /ask`, and the `done` event of its stream."""

    id: str
    outcome: Outcome
    answer: str
    lang: str
    """Language of the answer."""
    source: Origin
    sources: list[Source] = Field(default_factory=list)
    suggestions: list[str] = Field(default_factory=list)
    """Museum questions to tap next; each can be answered when asked word for word."""
    check: Check | None = None
    """How what the model wrote compares with the museum's words; null when the model was not asked."""
    gate: GateView
    release: str
    timings: Timings


class PromptReply(BaseModel):
    """The answer to `POST /tokenize`."""

    ids: list[int]
    """Token ids: persona, earlier turns, the nearest museum note, the question; ending where the guide speaks."""


class WordsReply(BaseModel):
    """The answer to `POST /generate`."""

    text: str


class PassageReply(BaseModel):
    """The passage of the museum's article that a fact rests on: `GET /sources/{id}`."""

    id: str
    """The fact's id."""
    title: str
    section: str
    text: str
    """In the article's own words, Markdown."""
    lang: str
    """Language of the passage: the museum's first."""


class SpeakBody(Strict):
    """The body of `POST /speak`."""

    text: Text = Field(max_length=LONGEST_TEXT)
    lang: str
    """One of `speech.speak` of `GET /topic`."""


class HeardReply(BaseModel):
    """What was said in a recording: `POST /listen`."""

    text: str


class SpeechView(BaseModel):
    """Languages with a voice, and languages that are understood when spoken; none without `DOCENT_SPEECH`."""

    speak: list[str]
    listen: list[str]


class LanguageView(BaseModel):
    code: str
    name: str


class TopicReply(BaseModel):
    """What a kiosk needs to know: `GET /topic`."""

    id: str
    title: dict[str, str]
    languages: list[LanguageView]
    texts: dict[str, dict[str, str]]
    suggestions: dict[str, list[str]]
    colours: dict[str, str]
    """The museum's own colours, `#rrggbb`: `primary`, `accent`, `background`."""
    release: str
    feedback: bool
    """Whether `POST /feedback` takes ratings."""
    speech: SpeechView
    words_kept_days: int | None
    """Days that the museum keeps what visitors ask; null where it keeps no words. The attract screen says so."""


class ProblemReply(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    suggestions: list[str] | None = None
