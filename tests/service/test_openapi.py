"""Whatever is thrown at the documented routes, the answer is a documented one, and never a fault of ours."""

import time
from collections.abc import Callable

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def document(app: FastAPI, serve: Callable[[FastAPI], str]) -> OpenApiSchema:
    address = serve(app)
    while httpx.get(f"{address}/ready").status_code != 200:
        time.sleep(0.05)
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


def test_every_answer_is_documented(document: OpenApiSchema) -> None:
    tried: set[str] = set()
    for found in document.get_all_operations():
        operation = found.ok()
        # What is right by the document and, where there is a body, what is wrong by it.
        modes = list(GenerationMode) if operation.body else [GenerationMode.POSITIVE]
        for mode in modes:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            def one(case: schemathesis.Case) -> None:
                case.call_and_validate(checks=CHECKS)

            one()
            tried.add(f"{operation.method} {operation.path} {mode.value}")
    assert {"post /ask negative", "post /v1/chat/completions negative", "get /sources/{id} positive"} <= tried
