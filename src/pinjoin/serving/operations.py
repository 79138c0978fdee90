"""What those who run a server ask: is it alive, is it ready, how does it do; and signing in."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Response

from pinjoin.serving.metrics import CONTENT_TYPE
from pinjoin.serving.schemas import StateOut
from pinjoin.serving.service import Service


def make_operations(service: Service) -> APIRouter:
    """The routes of operations."""
    router = APIRouter(tags=["operations"])

    @router.get(
        "/healthz", response_class=Response, responses={200: {"content": {"text/plain": {}}}}
    )
    async def healthz() -> Response:
        """Whether the process answers at all."""
        return Response("ok\n", media_type="text/plain")

    @router.get("/readyz", response_model=StateOut, responses={503: {"model": StateOut}})
    async def readyz() -> Response:
        """Whether it may be asked. With its database down it may: reads go on, writes do not."""
        state = service.state()
        return Response(
            orjson.dumps(state), 200 if state["ready"] else 503, media_type="application/json"
        )

    @router.get(
        "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}}
    )
    async def metrics() -> Response:
        """What is counted, for Prometheus."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    return router
