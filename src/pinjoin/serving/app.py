"""The application: the service, its routes, and what every request passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

import pinjoin
from pinjoin.core.errors import PinjoinError
from pinjoin.serving.api import make_router
from pinjoin.serving.border import Border, error_response
from pinjoin.serving.config import ServeConfig
from pinjoin.serving.errors import ApiError, api_error
from pinjoin.serving.operations import make_operations
from pinjoin.serving.reference import make_reference
from pinjoin.serving.security import Gate
from pinjoin.serving.service import Service
from pinjoin.serving.signing_in import make_sign_in
from pinjoin.serving.tracing import trace
from pinjoin.serving.ui import routes as pages

_TITLE = "Related items, live: what belongs next to an item, and why."


def create_app(workspace: Path | str, config: ServeConfig | None = None) -> FastAPI:
    """Serve a workspace.

    Raises SnapshotError where there is nothing to serve, StoreError if the live database cannot
    be used.
    """
    config = config or ServeConfig()
    gate = Gate(config)
    service = Service(Path(workspace), config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="pinjoin", summary=_TITLE, version=pinjoin.__version__, lifespan=lifespan,
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.service = service
    app.include_router(make_router(service))
    app.include_router(make_operations(service))
    app.include_router(make_sign_in(gate))
    app.include_router(make_reference(app))
    if config.pages:
        app.router.routes.extend(pages(service))
    for kind in (PinjoinError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _tell)
    app.add_middleware(Border, config=config, metrics=service.metrics, gate=gate)
    if config.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Idempotency-Key", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    if config.trace:
        trace(app)
    return app


async def _tell(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        error = _of_validation(error)
    return error_response(api_error(error), request.state.request_id)


def _of_validation(error: RequestValidationError) -> ApiError:
    problems = [
        {"where": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()
    ]
    message = "; ".join(f"{one['where']}: {one['message']}" for one in problems[:3])
    return ApiError(422, "invalid", message, problems=problems)
