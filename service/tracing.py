"""OpenTelemetry traces of a question: gate, queue, engine. Never a visitor's word in them."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.trace import NoOpTracer, Tracer

NO_TRACES = NoOpTracer()


def open_traces(endpoint: str) -> tuple[Tracer, Callable[[], None]]:
    """A tracer that sends to the OTLP collector at `endpoint`, over HTTP, and what sends the last of it at the end.

    Without an endpoint it does nothing. OpenTelemetry reads its other usual `OTEL_*` variables itself.
    """
    if not endpoint:
        return NO_TRACES, lambda: None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # OTEL_SERVICE_NAME, where it is set, outweighs ours.
    resource = Resource({SERVICE_NAME: "docent"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    return provider.get_tracer("docent"), provider.shutdown
