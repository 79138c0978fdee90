"""The document of the API as a page for people, without a script or anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

REFERENCE = "/docs"


@dataclass(frozen=True)
class Field:
    """One parameter, or one member of a body."""

    name: str
    place: str  # path, query, header or body
    kind: str
    required: bool
    about: str


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    about: str
    fields: list[Field]
    answers: list[tuple[str, str]]  # status, what it means


def make_reference(app: FastAPI) -> APIRouter:
    """Its route."""
    environment = Environment(
        loader=PackageLoader("pinjoin.serving"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    router = APIRouter(include_in_schema=False)

    @router.get(REFERENCE)
    async def reference(request: Request) -> Response:
        document = app.openapi()
        page = environment.get_template("reference.html").render(
            base=request.scope.get("root_path", "").rstrip("/"),
            info=document["info"],
            operations=list(operations_of(document)),
        )
        return HTMLResponse(page)

    return router


def operations_of(document: Mapping[str, Any]) -> Iterator[Operation]:
    """What an OpenAPI document says, flat."""
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            fields = [_parameter(one) for one in said.get("parameters", ())]
            fields += _members(said.get("requestBody", {}).get("content", {}), schemas)
            answers = [(status, one["description"]) for status, one in said["responses"].items()]
            yield Operation(method.upper(), path, said["description"], fields, sorted(answers))


def _parameter(said: Mapping[str, Any]) -> Field:
    about = said.get("description") or said["schema"].get("description", "")
    return Field(said["name"], said["in"], _kind(said["schema"]), said["required"], about)


def _members(content: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[Field]:
    for media_type, said in content.items():
        schema = said["schema"]
        if "$ref" in schema:
            schema = schemas[_named(schema)]
        if "properties" not in schema:
            yield Field(media_type, "body", _kind(schema), True, "")
        for name, one in schema.get("properties", {}).items():
            required = name in schema.get("required", ())
            yield Field(name, "body", _kind(one), required, one.get("description", ""))


def _kind(schema: Mapping[str, Any]) -> str:
    """A type in a few words, with its default."""
    default = schema.get("default")
    more = "" if default in (None, [], "") else f" = {str(default).lower()}"
    if "$ref" in schema:
        return _named(schema) + more
    if "anyOf" in schema:
        kinds = [_kind(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds)) + more
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}{more}"
    return f"{schema.get('format') or schema.get('type', 'anything')}{more}"


def _named(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"].rpartition("/")[2])
