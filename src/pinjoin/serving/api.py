"""The routes of the API. They hand ready bytes on: nothing is built up and encoded per result."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from starlette.datastructures import UploadFile

from pinjoin.serving.bodies import JsonRoute
from pinjoin.serving.errors import ApiError
from pinjoin.serving.images import WIDTHS
from pinjoin.serving.schemas import (
    BoardOut,
    ErrorOut,
    EventsIn,
    EventsOut,
    FoundOut,
    PageParameters,
    PictureParameters,
    PinOut,
    RelatedOut,
    RelatedParameters,
    SavedOut,
    SaveIn,
    SearchParameters,
    SeveralOut,
    SeveralParameters,
    TakenDownOut,
)
from pinjoin.serving.service import Service

AnyId = Annotated[str, Path(min_length=1, max_length=2_000, examples=["lamp-42"])]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=100,
        description="The same request with the same key is done once, however often it comes.",
    ),
]  # fmt: skip

_ERRORS = {
    400: "The request cannot be read.",
    401: "A key is needed.",
    403: "This may not be done.",
    404: "There is no such thing.",
    413: "The request is too large.",
    422: "A parameter is not what it must be.",
    429: "Too many requests. Wait as Retry-After says.",
    503: "Not now. Try again as Retry-After says.",
}
_PICTURE = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


def make_router(service: Service) -> APIRouter:
    """The routes under /v1."""
    router = APIRouter(prefix="/v1", responses=_documented(_ERRORS), route_class=JsonRoute)
    _add_reads(router, service)
    _add_writes(router, service)
    return router


def _add_reads(router: APIRouter, service: Service) -> None:
    most = service.config.most_results

    @router.get("/related/{id:path}", response_model=RelatedOut, tags=["related"])
    async def related(
        request: Request, id: AnyId, parameters: Annotated[RelatedParameters, Query()]
    ) -> Response:
        """What belongs next to an image: a pin id, a signature or an image reference."""
        _check_n(parameters.n, most)
        return _json(await service.related(id, parameters.asked(), request.state.request_id))

    @router.post("/related", response_model=SeveralOut, tags=["related"],
                 dependencies=[Depends(_json_only)], responses=_documented(_NO_JSON))  # fmt: skip
    async def related_to_several(request: Request, asked: SeveralParameters) -> Response:
        """More ideas: what belongs next to several images, or next to those on a board."""
        _check_n(asked.n, most)
        if len(asked.ids) > service.config.most_ids:
            message = f"ids may be {service.config.most_ids} at most. Got {len(asked.ids)}."
            raise ApiError(422, "invalid", message)
        if bool(asked.ids) == (asked.board_id is not None):
            raise ApiError(422, "invalid", "Give either ids or board_id.")
        given = asked.asked(), request.state.request_id
        if asked.board_id is not None:
            return _json(await service.related_to_board(asked.board_id, *given))
        return _json(await service.related_to_several(asked.ids, *given))

    @router.post("/related/image", response_model=RelatedOut, tags=["related"],
                 openapi_extra=_PICTURE, responses=_documented(_NO_PICTURE))  # fmt: skip
    async def related_to_picture(
        request: Request, parameters: Annotated[PictureParameters, Query()]
    ) -> Response:
        """What looks like a picture that is uploaded: as the body, or as the file of a form."""
        _check_n(parameters.n, most)
        picture = await _picture(request)
        return _json(
            await service.related_to_picture(picture, parameters.asked(), request.state.request_id)
        )

    @router.get("/search", response_model=FoundOut, tags=["catalogue"])
    async def search(parameters: Annotated[SearchParameters, Query()]) -> Response:
        """Images to start from: by words that are said of them, by titles, by an id."""
        _check_n(parameters.n, most)
        return _json(await service.search(parameters.q, parameters.n, parameters.cursor))

    @router.get("/pins/{id:path}", response_model=PinOut, tags=["catalogue"])
    async def pin(id: AnyId) -> Response:
        """Everything known of an image: by a pin id, its signature or its reference."""
        return _json(await service.pin(id))

    @router.get("/boards/{id:path}", response_model=BoardOut, tags=["catalogue"])
    async def board(id: AnyId, page: Annotated[PageParameters, Query()]) -> Response:
        """A board and the images on it, most popular first."""
        _check_n(page.n, most)
        return _json(await service.board(id, page.n, page.cursor))

    @router.get("/images/{id:path}", response_class=Response, tags=["catalogue"],
                responses={200: {"content": {"image/*": {}}}, 304: {}})  # fmt: skip
    async def image(
        request: Request,
        id: AnyId,
        w: Annotated[
            int | None, Query(ge=1, le=WIDTHS[-1], description="Pixels of its longer side, about.")
        ] = None,
    ) -> Response:
        """The picture of an image, as it is or smaller."""
        found = await service.picture(id, w)
        headers = {"ETag": found.etag, "Cache-Control": "private, max-age=600"}
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.media_type)


def _add_writes(router: APIRouter, service: Service) -> None:
    conflicts = _documented({**_NO_JSON, 409: "A key or an id was used before."})

    @router.post("/saves", status_code=201, response_model=SavedOut, tags=["live"],
                 dependencies=[Depends(_json_only)], responses=conflicts)  # fmt: skip
    async def save(request: Request, pin: SaveIn, key: Key = None) -> Response:
        """Save a pin to a board, a new one too: durable, and shown, when this answers."""
        saved = await service.save(pin.pin(), _key(request, key or pin.key))
        return _json(orjson.dumps(asdict(saved)), 201)

    @router.post("/events", response_model=EventsOut, tags=["live"],
                 dependencies=[Depends(_json_only)], responses=conflicts)  # fmt: skip
    async def events(request: Request, batch: EventsIn, key: Key = None) -> Response:
        """Log what was seen and done: impressions with their position, clicks, saves."""
        if len(batch.events) > service.config.most_events:
            message = f"events may be {service.config.most_events} at most."
            raise ApiError(422, "invalid", f"{message} Got {len(batch.events)}.")
        return _json(
            orjson.dumps(await service.events(batch.events, _key(request, key or batch.key)))
        )

    def add_takedown(kind: str, path: str, about: str) -> None:
        async def take_down(request: Request, id: AnyId) -> Response:
            sequence = await service.take_down(kind, id, request.state.key_name)
            return _json(orjson.dumps({"kind": kind, "id": id, "sequence": sequence}))

        router.add_api_route(
            f"/{path}/{{id:path}}", take_down, methods=["DELETE"], response_model=TakenDownOut,
            tags=["live"], summary=f"Take down: {kind}", description=about,
            operation_id=f"take_down_{kind}",
        )  # fmt: skip

    add_takedown("pin", "pins", "A pin, for ever. Its image stays, if it has other pins.")
    add_takedown("board", "boards", "A board with its pins, for ever.")
    add_takedown("image", "images", "An image with all its pins, for ever, by any of its ids.")


_NO_JSON = {415: "The body must be JSON, and say so."}
_NO_PICTURE = {415: "The body must be a picture or a form with one, and say so."}


def _documented(errors: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorOut, "description": about} for status, about in errors.items()}


def _json(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")


def _check_n(n: int, most: int) -> None:
    if n > most:
        raise ApiError(422, "invalid", f"n must be from 1 to {most}. Got {n}. Ask for more pages.")


async def _json_only(request: Request) -> None:
    """A form of another site may come without the browser asking us first; JSON may not."""
    if _media_type(request) != "application/json":
        raise ApiError(415, "unsupported_type", "The body must be of type application/json.")


async def _picture(request: Request) -> bytes:
    kind = _media_type(request)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return await request.body()
    if kind != "multipart/form-data":
        message = "Send the picture as image/…, or as the file of a multipart/form-data form."
        raise ApiError(415, "unsupported_type", message)
    async with request.form(max_files=1, max_fields=8) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ApiError(422, "invalid", "The form must have the picture as its file `file`.")
        return await file.read()


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _key(request: Request, given: str | None) -> str:
    """Under which a submission is stored once: told apart from those of other API keys."""
    return f"{request.state.key_name or ''}:{given or uuid.uuid4().hex}"
