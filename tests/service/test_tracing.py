"""Traces: a question with its gate, queue and engine; nothing without a collector; never a visitor's word."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock

from fastapi import FastAPI, Request, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.answering import Ask, Guide
from service.app import build_app, build_guide
from service.engine import ScriptedEngine
from service.settings import Settings, read_settings
from service.tracing import NO_TRACES, open_traces
from tests.conftest import LIGHTHOUSE

VAGUE = "Tell me how high the tower of the lighthouse is"


async def ask(guide: Guide, question: str) -> None:
    await guide.engine.start()
    assert [event async for event in guide.answer(Ask(question))]


async def test_a_question_is_a_trace_of_gate_queue_and_engine(settings: Settings) -> None:
    seen = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(seen))
    guide = build_guide(settings, ScriptedEngine(), provider.get_tracer("test"))
    await ask(replace(guide, answering="generate"), VAGUE)
    spans = {span.name: span for span in seen.get_finished_spans()}
    assert set(spans) == {"question", "gate", "queue", "engine"}
    root = spans["question"]
    assert {s.parent.span_id for s in spans.values() if s.parent} == {root.context.span_id}  # type: ignore[union-attr]
    assert root.attributes and root.attributes["docent.outcome"] == "answered"
    assert "tower" not in str([span.to_json() for span in spans.values()])


async def test_traces_reach_a_collector(stand_in_release: Path, serve: Callable[[FastAPI], str]) -> None:
    names: set[str] = set()
    lock = Lock()
    collector = FastAPI()

    @collector.post("/v1/traces")
    async def collect(request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await request.body())
        with lock:
            names.update(s.name for r in sent.resource_spans for scope in r.scope_spans for s in scope.spans)
        return Response(b"", media_type="application/x-protobuf")

    settings = Settings(
        topic=str(LIGHTHOUSE), release=str(stand_in_release), engine="scripted", traces=serve(collector)
    )
    app = build_app(settings)
    async with app.router.lifespan_context(app):
        await ask(app.state.docent.guide, VAGUE)
    assert {"question", "gate"} <= names


def test_without_a_collector_there_are_no_traces() -> None:
    assert open_traces("")[0] is NO_TRACES
    assert read_settings({}).traces == ""
    assert read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}).traces == "http://collector:4318"
