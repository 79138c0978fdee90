"""The pages: home, an image close up, a board, search, the ranking lab.

Server-rendered: without scripts one can look and follow links; scripts add loading on, saving,
keys, and the log of what was seen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from pinjoin.core.errors import PinjoinError
from pinjoin.core.ids import as_ids
from pinjoin.ideas import ideas
from pinjoin.ranking.store import COUNT, list_models
from pinjoin.recommender import Wishes, Workspace
from pinjoin.serving.browse import boards_titled, mixed_boards, mixed_images
from pinjoin.serving.errors import ApiError, api_error
from pinjoin.serving.frame import Frame, Visit
from pinjoin.serving.lab import lab_view
from pinjoin.serving.logs import say
from pinjoin.serving.searching import find_images
from pinjoin.serving.service import Service
from pinjoin.serving.views import Card

_PAGE = 24  # images at a time
_BOARDS, _BOARDS_FOUND, _SUGGESTED = 12, 4, 8
_IDEAS, _PICKS = 12, 12
_COMPARED, _FEWEST_COMPARED, _MOST_COMPARED = 20, 5, 50

Endpoint: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


def routes(service: Service) -> list[BaseRoute]:
    """The pages of a service, for an application to mount after all other routes."""
    pages = Pages(service)
    return [
        Route("/", pages.endpoint(pages.home)),
        Route("/pin/{id:path}", pages.endpoint(pages.pin)),
        Route("/board/{id:path}", pages.endpoint(pages.board)),
        Route("/search", pages.endpoint(pages.search)),
        Route("/lab", pages.endpoint(pages.lab)),
        Route("/ui/boards", pages.boards),
        Mount("/static", StaticFiles(packages=[("pinjoin.serving", "static")])),
        Route("/{path:path}", pages.nothing),
    ]


class Pages:
    """Answers the requests for pages."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._frame = Frame(service.config)

    def endpoint(self, page: Callable[[Visit], Response]) -> Endpoint:
        """A page made in one of the service's threads, or one that says why there is none."""

        async def answer(request: Request) -> Response:
            visit = Visit.of(request, self._service.now)
            try:
                return await self._service.run(page, visit)
            except Exception as error:
                told = api_error(error)
                if told.status_code == 500:
                    say("page failed", logging.ERROR, error, request_id=visit.id)
                return self._problem(visit, told)

        return answer

    def home(self, visit: Visit) -> Response:
        """Popular images of all kinds, and boards."""
        boards = mixed_boards(visit.known, _BOARDS)
        rows = mixed_images(visit.known)
        return self._grid(visit, "home", rows, boards=[visit.views.board(row) for row in boards])

    def pin(self, visit: Visit) -> Response:
        """An image close up, and what belongs next to it."""
        row = visit.now.find(visit.request.path_params["id"])
        depth = self._service.config.depth
        start = visit.number("from", 0, 0, depth)
        chosen = self._service.arms.choose(self._service.path, None, visit.user)
        end = min(start + _PAGE, depth)
        ranking = visit.known.rank(row, end, Wishes(model=chosen.model))
        return self._frame.page(
            visit,
            "pin",
            pin=visit.views.pin(row, visit.user),
            cards=visit.views.results(ranking.after(start), start + 1),
            next=_next(visit, end) if len(ranking) == end < depth else None,
            query=visit.views.picture(row).id,
            request_id=visit.id,
            arm=chosen.arm,
        )

    def board(self, visit: Visit) -> Response:
        """A board, and what else may go on it."""
        row = visit.now.find_board(visit.request.path_params["id"])
        images = visit.known.board(row).images.tolist()
        more = self._ideas(visit, images) if images else []
        return self._grid(visit, "board", images, board=visit.views.board(row), ideas=more)

    def search(self, visit: Visit) -> Response:
        """Images and boards that words find."""
        words = visit.text("q")
        boards = boards_titled(visit.known, words, _BOARDS_FOUND) if words else []
        rows = find_images(visit.known, words, self._service.config.depth).tolist()
        return self._grid(
            visit, "search", rows, boards=[visit.views.board(row) for row in boards], q=words
        )

    def lab(self, visit: Visit) -> Response:
        """Two models side by side for one image, or images to choose one from."""
        asked, models = visit.text("id"), self._models(visit.known)
        before, after = self._compared(visit, [model["name"] for model in models])
        n = visit.number("n", _COMPARED, _FEWEST_COMPARED, _MOST_COMPARED)
        compared, problem, found = None, None, list[int]()
        row = int(visit.known.find_all(as_ids([asked]))[0])  # unlike find, it looks for no others
        if row < 0:
            found = find_images(visit.known, asked, _PICKS).tolist()
            found = found or mixed_images(visit.known)[:_PICKS]
        else:
            try:
                compared = lab_view(visit.views, row, (before, after), n)
            except PinjoinError as error:  # of a model that there is not, or cannot be used
                problem = str(error)
        return self._frame.page(
            visit, "lab", asked=asked, models=models, a=before, b=after, n=n, compared=compared,
            found=visit.views.pictures(found), problem=problem,
        )  # fmt: skip

    async def boards(self, request: Request) -> Response:
        """Boards to save to, by what was typed of their title; JSON, for the script that saves."""
        found = await self._service.run(_suggested, self._service.workspace, request)
        return JSONResponse({"boards": found})

    async def nothing(self, request: Request) -> Response:
        """What has no address here."""
        if request.url.path.startswith("/v1/"):
            raise HTTPException(404, "Not Found")
        visit = Visit.of(request, self._service.now)
        there_is_none = ApiError(404, "not_found", "There is no page at this address.")
        return self._problem(visit, there_is_none)

    def _problem(self, visit: Visit, told: ApiError) -> Response:
        links = visit.views.links
        is_board = visit.request.url.path.startswith(links.board(""))
        address = links.board if is_board else links.pin
        close = {id: address(id) for id in told.details.get("suggestions", ())}
        return self._frame.problem(visit, told.status_code, told.message, close)

    def _grid(self, visit: Visit, name: str, rows: Sequence[int], **content: Any) -> Response:
        """A page with a grid of images that loads on."""
        start = visit.number("from", 0, 0, len(rows))
        end = start + _PAGE
        cards = visit.views.cards(rows[start:end])
        following = _next(visit, end) if end < len(rows) else None
        return self._frame.page(visit, name, cards=cards, next=following, query=None, **content)

    def _ideas(self, visit: Visit, images: Sequence[int]) -> list[Card]:
        found = ideas(visit.known, images, _IDEAS)
        beside = visit.views.pictures(found.because.tolist())
        shown = visit.views.pictures(found.ranking.rows.tolist())
        return [
            Card(picture, badge=f"beside {other.title}", icon="boards")
            for picture, other in zip(shown, beside, strict=True)
        ]

    def _models(self, known: Workspace) -> list[dict[str, Any]]:
        """What the lab can compare."""
        arms = {model: f", arm {arm}" for arm, model in self._service.arms.models.items()}
        found = [
            {
                "name": info.name,
                "label": info.name
                + (", in use" if info.name == known.model else "")
                + arms.get(info.name, ""),
                "problem": info.problem,
            }
            for info in list_models(known.path)
        ]
        count = {"name": COUNT, "label": "count: most shared boards" + arms.get(COUNT, "")}
        return [count | {"problem": None}, *found]

    def _compared(self, visit: Visit, names: Sequence[str]) -> tuple[str, str]:
        """The two models to compare: as asked, else two arms, else counting and the one in use."""
        arms = list(self._service.arms.models.values())
        current = visit.known.model
        before, after = arms[:2] if len(arms) > 1 else (COUNT, current)
        if before == after:
            after = next((name for name in names if name != before), before)
        return visit.text("a") or before, visit.text("b") or after


def _suggested(known: Workspace, request: Request) -> list[dict[str, Any]]:
    rows = boards_titled(known, request.query_params.get("q", "").strip(), _SUGGESTED)
    return [
        {
            "id": board.board_id,
            "title": board.title or board.board_id,
            "owner": board.user_id,
            "size": len(board.images),
        }
        for board in map(known.board, rows)
    ]


def _next(visit: Visit, start: int) -> str:
    """The address of this page from another place on."""
    return str(visit.request.url.include_query_params(**{"from": start}))
