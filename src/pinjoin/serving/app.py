"""The application: the service, its routes, and what every request passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import pinjoin
from pinjoin.core.errors import PinjoinError
from pinjoin.serving.api import make_router
from pinjoin.serving.border import Border
from pinjoin.serving.config import ServeConfig
from pinjoin.serving.errors import ApiError, api_error
from pinjoin.serving.service import Service


def create_app(workspace: Path | str, config: ServeConfig | None = None) -> FastAPI:
    """Serve a workspace. Raises SnapshotError where there is nothing to serve."""
    config = config or ServeConfig()
    service = Service(Path(workspace), config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            service.close()

    app = FastAPI(
        title="pinjoin", version=pinjoin.__version__, lifespan=lifespan, docs_url=None,
        redoc_url=None,
    )  # fmt: skip
    app.state.service = service
    app.include_router(make_router(service))
    if config.pages and find_spec("pinjoin.serving.ui"):
        from pinjoin.serving.ui import routes

        app.router.routes.extend(routes(service))
    for kind in (PinjoinError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _tell)
    app.add_middleware(Border, config=config)
    return app


async def _tell(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        error = _of_validation(error)
    told = api_error(error)
    body = orjson.dumps(told.body(request.state.request_id))
    return Response(body, told.status_code, told.headers, "application/json")


def _of_validation(error: RequestValidationError) -> ApiError:
    problems = [
        {"where": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()
    ]
    message = "; ".join(f"{one['where']}: {one['message']}" for one in problems[:3])
    return ApiError(422, "invalid", message, problems=problems)
