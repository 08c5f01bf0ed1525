"""Wiring: settings to release to guide to routes; errors to problem+json."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from limits import parse
from opentelemetry.trace import Tracer
from starlette.exceptions import HTTPException

from gatekeeper import TopicFilter
from gatekeeper.second import load_encoder
from service import openai
from service.admission import Admission
from service.answering import Guide
from service.book import Book
from service.cache import AnswerCache
from service.database import book_url
from service.document import document
from service.door import Door, Keys
from service.engine import Engine, ScriptedEngine
from service.errors import Problem
from service.keeper import Keeper
from service.metrics import Metrics
from service.reload import Reloader
from service.routes import router
from service.schemas import AskBody, ProblemReply
from service.settings import Settings
from service.speech import open_speech
from service.state import State
from service.tracing import NO_TRACES, open_traces
from service.vllm_engine import VllmEngine
from topics.articles import read_articles
from topics.check import FactCheck
from topics.decided import Decided
from topics.evidence import Evidence
from topics.release import check_release, find_release
from topics.topic import load_topic

log = logging.getLogger(__name__)
BODIES = (AskBody, ProblemReply, openai.ChatBody, openai.ErrorReply)
"""What travels beside what FastAPI finds in the routes by itself."""
_BENCH_TOKENS = 48
"""Length of an answer under DOCENT_BENCH: about that of a museum's answer."""


def build_engine(settings: Settings, weights: Path) -> Engine:
    """The engine that `DOCENT_ENGINE` names, not started yet."""
    if settings.engine == "local":
        return VllmEngine(weights, kv_cache_gib=settings.kv_cache_gib, context_tokens=settings.context_tokens)
    if settings.engine == "scripted":
        return ScriptedEngine()
    from service.remote_engine import RemoteEngine  # OpenAI's client takes a second of every start that needs none

    return RemoteEngine(
        settings.engine_urls,
        weights,
        key=settings.engine_key.get_secret_value(),
        model=settings.engine_model,
        context_tokens=settings.context_tokens,
        silence_s=settings.answer_deadline_s / 3,  # time for another one before the deadline
    )


def build_guide(settings: Settings, engine: Engine | None = None, tracer: Tracer = NO_TRACES) -> Guide:
    """The guide of a release. Raises TopicError, ReleaseError or GateError with the command that mends it."""
    topic = load_topic(settings.topic)
    folder = find_release(topic, settings.release)
    manifest = check_release(topic, folder)
    engine = engine or build_engine(settings, folder / "weights")
    evidence = Evidence.load(topic, folder)
    encoder = load_encoder(settings.gate_encoder) if settings.gate_encoder else None
    metrics = Metrics()
    book = Book(
        book_url(settings, topic), topic=topic.id, keeps=settings.book, days=settings.book_days, metrics=metrics
    )
    admission = Admission(settings.generations, settings.waiting)
    metrics.running.set_function(lambda: engine.running)
    metrics.waiting.set_function(lambda: admission.waiting)
    return Guide(
        topic=topic,
        release=manifest.release,
        answering=manifest.answering,
        gate=TopicFilter.load(folder / "gate.skops", encoder),
        evidence=evidence,
        facts=FactCheck(topic, evidence.rows),
        decided=Decided.load(topic, folder),
        engine=engine,
        articles=read_articles(topic.folder / "sources"),
        metrics=metrics,
        admission=admission,
        cache=AnswerCache(0 if settings.bench else settings.cached_answers, metrics),
        book=book,
        deadline_s=settings.answer_deadline_s,
        tracer=tracer,
        bench_tokens=_BENCH_TOKENS if settings.bench else None,
    )


def build_app(settings: Settings, *, engine: Engine | None = None) -> FastAPI:
    """The service. `engine` replaces the configured one. Raises what `build_guide` raises."""
    speech = open_speech(settings)
    tracer, send_last_traces = open_traces(settings.traces)
    guide = build_guide(settings, engine, tracer)
    state = State(guide, Keeper(guide, stall_s=settings.stall_s), settings, speech)
    state.reloader = Reloader(state, build_engine)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        guide.book.start()
        running = asyncio.create_task(state.reloader.run())
        yield
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.to_thread(guide.book.close)
        if speech:
            await speech.close()
        await asyncio.to_thread(send_last_traces)

    app = FastAPI(title="Docent", summary="A museum's own guide.", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.docent = state
    app.add_middleware(
        Door,
        metrics=guide.metrics,
        api_keys=Keys(settings.api_keys),
        kiosk_keys=Keys(settings.kiosk_keys),
        operator_keys=Keys(settings.operator_keys),
        rate=parse(settings.rate_limit) if settings.rate_limit and not settings.bench else None,
        most_open=settings.open_questions,
    )
    app.include_router(router)
    app.include_router(openai.router)
    app.openapi = lambda: document(app, *BODIES)  # type: ignore[method-assign]
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(openai.OpenAIProblem, _openai_problem)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unforeseen)
    return app


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    headers = {"Retry-After": "5"} if error.status == 503 else None
    return JSONResponse(error.body, error.status, headers, "application/problem+json")


async def _openai_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, openai.OpenAIProblem)
    return JSONResponse(error.body, error.status, {"Retry-After": "5"} if error.status == 503 else None)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    there = (
        "POST /ask, /feedback, /speak, /listen and /v1/chat/completions, "
        "GET /topic, /sources/{id}, /live, /ready and /v1/models"
    )
    detail = f"{request.method} {request.url.path}: {error.detail}. There are {there}."
    problem = Problem(error.status_code, str(error.detail), detail)
    return JSONResponse(problem.body, error.status_code, error.headers, "application/problem+json")


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    log.error("unforeseen %s at %s", type(error).__name__, request.url.path, exc_info=error)
    return await _problem(request, Problem(500, "Something broke", "The guide stumbled; please ask again."))
