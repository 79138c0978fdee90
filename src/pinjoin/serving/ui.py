"""The pages: home, an image close up, a board, search, the ranking lab; and what their scripts ask.

Server-rendered: without scripts one can look and follow links; scripts add loading on, saving,
keys, and the log of what was seen.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

import pinjoin
from pinjoin.core.errors import PinjoinError, UnknownIdError
from pinjoin.ranking.store import COUNT, list_models
from pinjoin.recommender import Wishes, Workspace
from pinjoin.serving.browse import boards_titled, mixed_boards, mixed_images
from pinjoin.serving.errors import ApiError, api_error
from pinjoin.serving.lab import lab_view
from pinjoin.serving.service import Service
from pinjoin.serving.views import Links, Views, counted, signed
from pinjoin.stats import percent

PAGE = 24
_log = logging.getLogger(__name__)
N_BOARDS, N_SUGGESTED, N_FOUND = 12, 8, 4
_HEADINGS = {404: "This is not here", 500: "Something broke", 503: "Too busy right now"}


def routes(service: Service) -> list[BaseRoute]:
    """The pages of a service, for an application to mount."""
    pages = Pages(service)
    return [
        Route("/", pages.in_thread(pages.home)),
        Route("/pin/{id:path}", pages.in_thread(pages.pin)),
        Route("/board/{id:path}", pages.in_thread(pages.board)),
        Route("/search", pages.in_thread(pages.search)),
        Route("/lab", pages.in_thread(pages.lab)),
        Route("/ui/boards", pages.boards),
        Mount("/static", StaticFiles(packages=[("pinjoin.serving", "static")])),
        Route("/{path:path}", pages.nothing),
    ]


class Pages:
    """Answers the requests for pages."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._templates = _environment()

    def in_thread(self, page: Callable[[Request], Response]) -> Callable[[Request], Any]:
        """An endpoint: the page made in one of the service's threads, or one that says why not."""

        async def endpoint(request: Request) -> Response:
            try:
                return await self._service.run(page, request)
            except (PinjoinError, HTTPException) as error:
                return self.error(request, api_error(error))
            except Exception as error:
                _log.exception("%s failed", request.url.path)
                return self.error(request, api_error(error))

        return endpoint

    async def nothing(self, request: Request) -> Response:
        """What no other address has; last of all routes."""
        if request.url.path.startswith("/v1/"):
            raise HTTPException(404, "Not Found")
        return self.error(request, ApiError(404, "not_found", "There is no page at this address."))

    def error(self, request: Request, error: ApiError) -> Response:
        """A page that says what is wrong."""
        links = _links(request)
        link = links.board if request.url.path.startswith(links.page("board")) else links.pin
        close = [{"name": id, "href": link(id)} for id in error.details.get("suggestions", ())]
        heading = _HEADINGS.get(error.status_code, "That did not work")
        status = error.status_code
        return self._page(
            request, "error", status, heading=heading, message=error.message, close=close
        )

    def home(self, request: Request) -> Response:
        views = self._views(request)
        rows = mixed_images(views.workspace)
        boards = mixed_boards(views.workspace, N_BOARDS)
        return self._grid(request, "home", rows, boards=[views.board(row) for row in boards])

    def pin(self, request: Request) -> Response:
        views = self._views(request)
        known = views.workspace
        row = known.find(request.path_params["id"])
        start = _start(request)
        chosen = self._service.arms.choose(self._service.path, None, _user(request))
        ranking = known.rank(row, start + PAGE, Wishes(model=chosen.model)).after(start)
        cards = views.results(ranking, start + 1)
        pin = views.pin(row)
        return self._page(
            request,
            "pin",
            pin=pin,
            cards=cards,
            next=_next(request, start, len(cards), self._service.config.depth),
            query=pin["picture"].id,
            request_id=_request_id(request),
            arm=chosen.arm,
        )

    def board(self, request: Request) -> Response:
        views = self._views(request)
        row = views.workspace.find_board(request.path_params["id"])
        images = views.workspace.board(row).images.tolist()
        return self._grid(request, "board", images, board=views.board(row), ideas=[])

    def search(self, request: Request) -> Response:
        views = self._views(request)
        words = request.query_params.get("q", "").strip()
        rows: Sequence[int] = []
        boards = (
            [views.board(row) for row in boards_titled(views.workspace, words, 4)] if words else []
        )
        return self._grid(request, "search", rows, boards=boards, q=words)

    def lab(self, request: Request) -> Response:
        views = self._views(request)
        asked, n = request.query_params.get("id", "").strip(), _number(request, "n", 20, 5, 50)
        models = self._models(views.workspace)
        names = [model["name"] for model in models if not model["problem"]]
        current = views.workspace.model
        a = request.query_params.get("a") or COUNT
        b = request.query_params.get("b") or (current if current != a else names[0])
        compared = found = problem = None
        try:
            if asked:
                compared = lab_view(views, views.workspace.find(asked), (a, b), n)
        except UnknownIdError:
            problem = "no such"
        except PinjoinError as error:
            problem = str(error)
        return self._page(
            request, "lab", asked=asked, models=models, a=a, b=b, n=n,
            compared=compared, found=found, problem=problem,
        )  # fmt: skip

    async def boards(self, request: Request) -> Response:
        """Boards to save to, by what was typed of their title; JSON."""
        return JSONResponse({"boards": await self._service.run(self._boards, request)})

    def _boards(self, request: Request) -> list[dict[str, Any]]:
        known = self._service.workspace
        words = request.query_params.get("q", "").strip()
        boards = (known.board(row) for row in boards_titled(known, words, N_SUGGESTED))
        return [
            {"id": one.board_id, "title": one.title or one.board_id, "size": len(one.images)}
            for one in boards
        ]

    def _models(self, known: Workspace) -> list[dict[str, Any]]:
        found = [
            {"name": info.name, "label": info.name + (" (in use)" if info.current else ""),
             "problem": info.problem}
            for info in list_models(known.path)
        ]  # fmt: skip
        return [{"name": COUNT, "label": "count: most shared boards", "problem": None}, *found]

    def _grid(self, request: Request, name: str, rows: Sequence[int], **more: Any) -> Response:
        """A page with a grid of images that loads on."""
        views = self._views(request)
        start = _start(request)
        cards = views.cards(rows[start : start + PAGE])
        following = _next(request, start, len(cards), len(rows))
        return self._page(request, name, cards=cards, next=following, query=None, **more)

    def _page(self, request: Request, name: str, status: int = 200, **more: Any) -> Response:
        part = request.headers.get("x-part") == "grid"
        template = self._templates.get_template("grid.html" if part else f"{name}.html")
        common = self._common(request, name)
        html = template.render(common | more)
        return HTMLResponse(html, status, headers={"Vary": "X-Part", "Cache-Control": "no-store"})

    def _common(self, request: Request, name: str) -> dict[str, Any]:
        links, known = _links(request), self._service.workspace
        return {
            "static": f"{links.base}/static",
            "base": links.base,
            "url": links.page,
            "user": _user(request),
            "saving": not self._service.config.read_only,
            "nav": [("Home", links.page("home"), name == "home"),
                    ("Lab", links.page("lab"), name == "lab")],
            "q": "",
            "facts": {"images": known.n_images, "boards": known.n_boards, "model": known.model,
                      "snapshot": known.snapshot.name, "version": pinjoin.__version__},
        }  # fmt: skip

    def _views(self, request: Request) -> Views:
        return Views(self._service.workspace, _links(request))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pinjoin.serving"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {"number": "{:,}".format, "percent": percent, "counted": counted, "signed": signed}
    environment.filters.update(filters)
    return environment


def _links(request: Request) -> Links:
    return Links(request.scope.get("root_path", "").rstrip("/"))


def _request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", "") or uuid.uuid4().hex)


def _user(request: Request) -> str | None:
    return None


def _number(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name, "")
    return min(max(int(text), low), high) if text.isdecimal() else default


def _start(request: Request) -> int:
    return _number(request, "from", 0, 0, 10_000)


def _next(request: Request, start: int, shown: int, total: int) -> str | None:
    if start + shown >= total or not shown:
        return None
    return str(request.url.include_query_params(**{"from": start + shown}))
