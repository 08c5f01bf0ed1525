"""Whatever is thrown at the documented routes, the answer is a documented one, and never a fault of ours."""

from collections.abc import Callable

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

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_every_answer_is_documented(app: FastAPI, serve: Callable[[FastAPI], str]) -> None:
    document = schemathesis.openapi.from_url(f"{serve(app)}/openapi.json")
    seen = 0
    for found in document.get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            def one(case: schemathesis.Case) -> None:
                case.call_and_validate(checks=CHECKS)

            one()
        seen += 1
    assert seen > 6
