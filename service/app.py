"""Wiring: settings to release to guide to routes; errors to problem+json."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from limits import parse
from starlette.exceptions import HTTPException

from gatekeeper import TopicFilter
from gatekeeper.second import load_encoder
from service import openai
from service.admission import Admission
from service.answering import Guide
from service.book import Book
from service.cache import AnswerCache
from service.database import book_url
from service.door import Door, Keys
from service.engine import Engine, ScriptedEngine
from service.errors import Problem
from service.keeper import Keeper
from service.metrics import Metrics
from service.routes import router
from service.settings import Settings
from service.state import State
from service.vllm_engine import VllmEngine
from topics.articles import read_articles
from topics.decided import Decided
from topics.evidence import Evidence
from topics.release import check_release, find_release
from topics.topic import load_topic

log = logging.getLogger(__name__)


def build_guide(settings: Settings, engine: Engine | None = None) -> Guide:
    """The guide of a release. Raises TopicError, ReleaseError or GateError with the command that mends it."""
    topic = load_topic(settings.topic)
    folder = find_release(topic, settings.release)
    manifest = check_release(topic, folder)
    if engine is None:
        local = settings.engine == "local"
        engine = VllmEngine(folder / "weights", kv_cache_gib=settings.kv_cache_gib) if local else ScriptedEngine()
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
        decided=Decided.load(topic, folder),
        engine=engine,
        articles=read_articles(topic.folder / "sources"),
        metrics=metrics,
        admission=admission,
        cache=AnswerCache(settings.cached_answers, metrics),
        book=book,
        deadline_s=settings.answer_deadline_s,
    )


def build_app(settings: Settings, *, engine: Engine | None = None) -> FastAPI:
    """The service. `engine` replaces the configured one. Raises what `build_guide` raises."""
    guide = build_guide(settings, engine)
    state = State(guide, Keeper(guide, stall_s=settings.stall_s), settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        guide.book.start()
        keeping = asyncio.create_task(state.keeper.run())
        yield
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await guide.engine.stop()
        await asyncio.to_thread(guide.book.close)

    app = FastAPI(title="Docent", summary="A museum's own guide.", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.docent = state
    app.add_middleware(
        Door,
        metrics=guide.metrics,
        api_keys=Keys(settings.api_keys),
        kiosk_keys=Keys(settings.kiosk_keys),
        operator_keys=Keys(settings.operator_keys),
        rate=parse(settings.rate_limit) if settings.rate_limit else None,
        most_open=settings.open_questions,
    )
    app.include_router(router)
    app.include_router(openai.router)
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
    return JSONResponse(error.body, error.status)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    there = "POST /ask, /feedback and /v1/chat/completions, GET /topic, /sources/{id}, /live, /ready and /v1/models"
    detail = f"{request.method} {request.url.path}: {error.detail}. There are {there}."
    problem = Problem(error.status_code, str(error.detail), detail)
    return JSONResponse(problem.body, error.status_code, error.headers, "application/problem+json")


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    log.error("unforeseen %s at %s", type(error).__name__, request.url.path, exc_info=error)
    return await _problem(request, Problem(500, "Something broke", "The guide stumbled; please ask again."))
