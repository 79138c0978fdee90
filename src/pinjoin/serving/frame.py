"""What all pages have in common: who looks at what, the templates, the bar above and the foot."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

import pinjoin
from pinjoin.recommender import Workspace
from pinjoin.serving.config import ServeConfig
from pinjoin.serving.made_of import signed
from pinjoin.serving.switching import Now
from pinjoin.serving.views import Links, Views, counted
from pinjoin.stats import percent

PART = "X-Part"
"""A header: scripts ask for the grid of a page alone."""

_VISITOR = "pinjoin_visitor"
_VISITOR_FORM = re.compile(r"[0-9a-f]{32}")
_HEADINGS = {404: "This is not here", 500: "Something broke", 503: "Too busy right now"}


@dataclass(frozen=True)
class Visit:
    """One request for a page. `user` is a number that a browser has until it is closed."""

    request: Request
    now: Now
    views: Views
    user: str

    @classmethod
    def of(cls, request: Request, now: Now) -> Visit:
        user = request.cookies.get(_VISITOR, "")
        if not _VISITOR_FORM.fullmatch(user):
            user = uuid.uuid4().hex
        base = request.scope.get("root_path", "").rstrip("/")
        return cls(request, now, Views(now.known, Links(base)), user)

    @property
    def known(self) -> Workspace:
        return self.now.known

    @property
    def id(self) -> str:
        """Of the request: it goes with events about what the page shows."""
        return str(self.request.state.request_id)

    def text(self, name: str) -> str:
        """A parameter, without blanks around it; '' if it is not there."""
        return self.request.query_params.get(name, "").strip()

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A parameter, brought into its range."""
        text = self.text(name)
        digits = text.isascii() and text.isdecimal()
        return min(max(int(text[:9]), low), high) if digits else default


class Frame:
    """Renders templates. Thread-safe."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._templates = Environment(
            loader=PackageLoader("pinjoin.serving"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            number="{:,}".format, percent=percent, counted=counted, signed=signed
        )

    def page(self, visit: Visit, name: str, status: int = 200, **content: Any) -> Response:
        """The page of a template, or its grid alone."""
        part = status == 200 and visit.request.headers.get(PART) == "grid"
        template = self._templates.get_template("grid.html" if part else f"{name}.html")
        html = template.render({**self._around(visit, name), **content})
        # Asked anew each time, but kept by the browser for going back, as far down as one was.
        answer = HTMLResponse(html, status, {"Vary": PART, "Cache-Control": "private, no-cache"})
        if visit.request.cookies.get(_VISITOR) != visit.user:
            secure = visit.request.url.scheme == "https"
            answer.set_cookie(_VISITOR, visit.user, httponly=True, samesite="lax", secure=secure)
        return answer

    def problem(
        self, visit: Visit, status: int, message: str, close: Mapping[str, str]
    ) -> Response:
        """A page that says what is wrong. close: addresses by what may have been meant."""
        heading = _HEADINGS.get(status, "That did not work")
        return self.page(visit, "error", status, heading=heading, message=message, close=close)

    def _around(self, visit: Visit, name: str) -> dict[str, Any]:
        links, known = visit.views.links, visit.known
        pages = {"Home": "home", "Lab": "lab"}
        return {
            "base": links.base,
            "static": f"{links.base}/static",
            "url": links.page,
            "nav": [(title, links.page(page), page == name) for title, page in pages.items()],
            "user": visit.user,
            "saving": not self._config.read_only,
            "q": "",
            "facts": {
                "images": known.n_images,
                "boards": known.n_boards,
                "snapshot": known.snapshot.name,
                "model": known.model,
                "version": pinjoin.__version__,
            },
        }
