"""Whatever the OpenAPI document allows, and much that it does not: no 5xx, no answer that breaks
the document."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from serving_fixtures import server_of

from pinjoin.serving.config import ServeConfig

OPERATIONS = [
    ("GET", "/v1/related/{id}"), ("POST", "/v1/related"), ("POST", "/v1/related/image"),
    ("GET", "/v1/search"), ("GET", "/v1/pins/{id}"), ("GET", "/v1/boards/{id}"),
    ("GET", "/v1/images/{id}"), ("POST", "/v1/saves"), ("POST", "/v1/events"),
    ("DELETE", "/v1/pins/{id}"), ("DELETE", "/v1/boards/{id}"), ("DELETE", "/v1/images/{id}"),
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
]  # fmt: skip


@pytest.fixture(scope="module")
def api(demo, tmp_path_factory):
    database = tmp_path_factory.mktemp("contract") / "live.db"
    with server_of(demo, database=str(database), pages=False) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


def test_all_operations_are_tried(api):
    there = {(one.ok().method.upper(), one.ok().path) for one in api.get_all_operations()}
    assert there == set(OPERATIONS)


TRIED = [(*one, GenerationMode.POSITIVE) for one in OPERATIONS] + [
    (*one, GenerationMode.NEGATIVE) for one in OPERATIONS if one[1].startswith("/v1")
]


@pytest.mark.parametrize(("method", "path", "mode"), TRIED, ids=lambda one: str(one))
def test_the_document_is_kept(api: Any, method: str, path: str, mode: GenerationMode) -> None:
    operation = api[path][method]
    # What is known and what belongs together, no schema says; of events, each is judged by itself.
    excluded = [positive_data_acceptance]
    if path == "/v1/events":
        excluded.append(negative_data_rejection)

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=15, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def keeps_it(case: Any) -> None:
        assume(len(str(case.query)) < 5_000)  # beyond 64 KiB, once encoded, it is no HTTP to us
        response = case.call()
        checks = excluded
        if response.status_code == 413:  # as good a refusal as any that the tool knows of
            assert len(response.request.body) > ServeConfig().body_bytes
            checks = [*excluded, negative_data_rejection]
        case.validate_response(response, excluded_checks=checks)

    keeps_it()
