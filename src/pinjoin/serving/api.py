"""The routes of the API. They hand ready bytes on: nothing is built up and encoded per result."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from pinjoin.serving.errors import ApiError
from pinjoin.serving.images import WIDTHS
from pinjoin.serving.schemas import BoardOut, ErrorOut, PageParameters, PinOut, RelatedOut
from pinjoin.serving.schemas import RelatedParameters as Parameters
from pinjoin.serving.service import Service

AnyId = Annotated[str, Path(max_length=2_000, examples=["lamp-42"])]


def make_router(service: Service) -> APIRouter:
    """The routes under /v1."""
    errors = {
        status: {"model": ErrorOut, "description": about}
        for status, about in (
            (400, "The request cannot be read."), (404, "There is no such thing."),
            (422, "A parameter is not what it must be."), (503, "Not now. Try again."),
        )
    }  # fmt: skip
    router = APIRouter(prefix="/v1", responses=errors)  # type: ignore[arg-type]
    most = service.config.most_results

    @router.get("/related/{id:path}", response_model=RelatedOut, tags=["related"])
    async def related(
        request: Request, id: AnyId, parameters: Annotated[Parameters, Query()]
    ) -> Response:
        """What belongs next to an image: a pin id, a signature or an image reference."""
        _check_n(parameters.n, most)
        return _json(await service.related(id, parameters.asked(), request.state.request_id))

    @router.get("/pins/{id:path}", response_model=PinOut, tags=["catalogue"])
    async def pin(id: AnyId) -> Response:
        """Everything known of an image."""
        return _json(await service.pin(id))

    @router.get("/boards/{id:path}", response_model=BoardOut, tags=["catalogue"])
    async def board(id: AnyId, page: Annotated[PageParameters, Query()]) -> Response:
        """A board and the images on it, most popular first."""
        _check_n(page.n, most)
        return _json(await service.board(id, page.n, page.cursor))

    @router.get("/images/{id:path}", response_class=Response, tags=["catalogue"])
    async def image(
        request: Request,
        id: AnyId,
        w: Annotated[int | None, Query(ge=1, le=WIDTHS[-1], description="Largest side.")] = None,
    ) -> Response:
        """The picture of an image, as it is or smaller."""
        found = await service.picture(id, w)
        headers = {"ETag": found.etag, "Cache-Control": "private, max-age=3600"}
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.media_type)

    return router


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _check_n(n: int, most: int) -> None:
    if n > most:
        raise ApiError(422, "invalid", f"n must be from 1 to {most}. Got {n}. Ask for more pages.")
