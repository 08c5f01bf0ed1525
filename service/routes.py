"""The HTTP surface: parse, call, encode."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sse_starlette import EventSourceResponse

from service.answering import Ask, Done, Guide
from service.document import SOUND, STREAM, Responses, fails, takes
from service.errors import EngineError, Problem
from service.reading import StateDep, read_ask, read_feedback, read_recording, read_speak
from service.schemas import (
    AskBody,
    AskReply,
    FeedbackBody,
    HeardReply,
    LanguageView,
    PassageReply,
    ProblemReply,
    PromptReply,
    SpeakBody,
    SpeechView,
    TopicReply,
    WordsReply,
)
from service.speech import Speech, SpeechError, Voices
from service.state import State
from service.streaming import VisitorLeft, as_sse, unless_visitor_leaves
from topics.articles import passage

log = logging.getLogger(__name__)


def _problems(*statuses: int) -> Responses:
    return fails(ProblemReply, "application/problem+json", *statuses)


router = APIRouter(responses=_problems(401))


@router.post(
    "/ask",
    response_model=AskReply,
    responses=STREAM | _problems(400, 413, 415, 422, 429, 503),
    openapi_extra=takes(AskBody),
)
async def ask(request: Request, state: StateDep) -> Response:
    """Ask the guide. With `Accept: text/event-stream` the answer comes as server-sent events."""
    question = await read_ask(request, state.guide, state.settings)
    metrics = state.guide.metrics
    if "text/event-stream" in request.headers.get("accept", ""):
        return EventSourceResponse(as_sse(state.guide.answer(question), metrics))
    try:
        reply = await unless_visitor_leaves(request, _whole(state.guide, question), metrics)
    except VisitorLeft:
        return Response(status_code=499)  # nginx's number for a client that went away; nobody is there to read it
    return Response(reply.model_dump_json(), media_type="application/json")


async def _whole(guide: Guide, question: Ask) -> AskReply:
    async with contextlib.aclosing(guide.answer(question)) as story:
        async for event in story:
            if isinstance(event, Done):
                return event.reply
    raise Problem(500, "No answer", "The guide ended without an answer; please report this.")


@router.get("/topic", response_model=TopicReply)
async def topic(state: StateDep) -> TopicReply:
    """What a kiosk needs: title, languages, texts and opening questions."""
    guide = state.guide
    languages = guide.topic.languages
    voices = await _voices(state)
    return TopicReply(
        id=guide.topic.id,
        title={code: guide.topic.name(code) for code in languages},
        languages=[LanguageView(code=code, name=guide.topic.text("language", code)) for code in languages],
        texts={code: _texts(guide, code) for code in languages},
        suggestions={code: guide.topic.opening_questions(guide.evidence.rows, code) for code in languages},
        colours=guide.topic.colours.model_dump(),
        release=guide.release,
        feedback=guide.book.keeps != "off",
        speech=SpeechView(speak=sorted(voices.speak), listen=sorted(voices.listen)),
        words_kept_days=guide.book.words_kept_days,
    )


def _texts(guide: Guide, language: str) -> dict[str, str]:
    """Every sentence of the screen; that words are kept is among them only where it is true."""
    texts = guide.topic.all_texts(language)
    kept = texts.pop("words_kept").replace("{days}", str(guide.book.words_kept_days))
    return texts if guide.book.words_kept_days is None else {**texts, "words_kept": kept}


@router.get(
    "/sources/{id}",
    response_model=PassageReply,
    responses=_problems(404),
)
async def source(id: str, state: StateDep) -> PassageReply:
    """The passage of the museum's article that a fact rests on."""
    guide = state.guide
    row = next((r for r in guide.evidence.rows if r.id == id), None)
    found = passage(guide.articles, row.source) if row else None
    if found is None:
        raise Problem(404, "No such source", "There is no passage to this id; take one from an answer's `sources`.")
    return PassageReply(id=id, **found._asdict(), lang=guide.topic.languages[0])


@router.post(
    "/feedback",
    response_model=FeedbackBody,
    responses={
        s: {"model": ProblemReply, "content": {"application/problem+json": {}}} for s in (400, 404, 413, 415, 422, 503)
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": FeedbackBody.model_json_schema()}}}
    },
)
async def feedback(request: Request, state: StateDep) -> FeedbackBody:
    """Rate an answer by its `id`; a later one replaces the earlier. 404 for an id that the book does not hold."""
    thumb = await read_feedback(request)
    await state.guide.book.rate(thumb.id, thumb.rating)
    return thumb


@router.post(
    "/speak",
    response_class=Response,
    responses=SOUND | _problems(400, 404, 413, 415, 422, 429, 503),
    openapi_extra=takes(SpeakBody),
)
async def speak(request: Request, state: StateDep) -> Response:
    """Read words aloud, in a language of `speech.speak` of `GET /topic`; the sound is as `DOCENT_SPEECH` makes it."""
    body = await read_speak(request)
    speech = _with_voice(state.speech, (await _voices(state)).speak, body.lang)
    try:
        audio = await speech.speak(body.text, body.lang)
    except SpeechError as error:
        raise _silent(error) from error
    return Response(audio.sound, media_type=audio.media_type)


@router.post(
    "/listen",
    response_model=HeardReply,
    responses=_problems(404, 413, 422, 429, 503),
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def listen(request: Request, state: StateDep, lang: str = "") -> HeardReply:
    """What was said in a recording, in a language of `speech.listen` of `GET /topic`. Recording and words are not kept.

    The body is the recording; its `Content-Type` (`audio/webm`, `audio/wav`) is what the speech engine is told.
    """
    recording = await read_recording(request)
    speech = _with_voice(state.speech, (await _voices(state)).listen, lang)
    try:
        return HeardReply(text=await speech.listen(recording, lang))
    except SpeechError as error:
        raise _silent(error) from error


async def _voices(state: State) -> Voices:
    """In the museum's own languages alone."""
    return (await state.speech.voices()).among(state.guide.topic.languages) if state.speech else Voices()


def _with_voice(speech: Speech | None, languages: frozenset[str], lang: str) -> Speech:
    if speech is None or lang not in languages:
        there = ", ".join(sorted(languages)) or "none; DOCENT_SPEECH names a speech engine"
        raise Problem(404, "No voice", f"There is no voice for this language. There are: {there}.")
    return speech


def _silent(error: SpeechError) -> Problem:
    log.warning("no speech: %s", error)
    return Problem(503, "No speech", "The speech engine gave nothing; please try again in a moment.")


@router.post(
    "/tokenize", response_model=PromptReply, responses=_problems(400, 413, 415, 422, 503), openapi_extra=takes(AskBody)
)
async def tokenize(request: Request, state: StateDep) -> PromptReply:
    """For operators: the prompt that the engine reads for a question. Wants one of `DOCENT_OPERATOR_KEYS`."""
    ask = await read_ask(request, state.guide, state.settings)
    with _told_to_operators():
        return PromptReply(ids=state.guide.prompt_ids(ask))


@router.post(
    "/generate", response_model=WordsReply, responses=_problems(400, 413, 415, 422, 503), openapi_extra=takes(AskBody)
)
async def generate(request: Request, state: StateDep) -> WordsReply:
    """For operators: the likeliest words of the model itself, without gate and fact check. Wants one of
    `DOCENT_OPERATOR_KEYS`."""
    ask = await read_ask(request, state.guide, state.settings)
    with _told_to_operators():
        return WordsReply(text=await state.guide.unchecked(ask._replace(temperature=0.0)))


@contextlib.contextmanager
def _told_to_operators() -> Iterator[None]:
    """An operator hears what is wrong with the engine; a visitor never does."""
    try:
        yield
    except EngineError as error:
        raise Problem(503, "The engine cannot speak", f"{error}.") from error


@router.get("/live")
async def live() -> dict[str, bool]:
    """Green while the service turns; curated answers work from here on."""
    return {"live": True}


@router.get("/ready", responses=_problems(503))
async def ready(state: StateDep) -> dict[str, Any]:
    """Green once the engine has produced a real token; red again when it stands still, died, or the service ends."""
    if not state.keeper.ready:
        raise Problem(503, "Not ready", state.keeper.why_not_ready)
    return {"ready": True, "release": state.guide.release}


@router.get("/metrics", include_in_schema=False)
async def metrics(state: StateDep) -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(state.guide.metrics.registry), media_type=CONTENT_TYPE_LATEST)
