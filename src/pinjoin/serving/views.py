"""What pages show: pictures, cards with their reasons, boards, as plain data for the templates."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pinjoin.data.images import ImageError, read_size
from pinjoin.recommender import Workspace
from pinjoin.report.figures import cover
from pinjoin.report.pictures import name_of
from pinjoin.results import SOURCES, Ranking
from pinjoin.serving.made_of import Part, by_family, by_feature, contributions, parts

_HUES = 12  # of the cards that stand for missing pictures: classes h0 … h11 of cards.css
_UNKNOWN_SHAPE = (3, 4)
_TALLEST, _WIDEST = 2.4, 2.4  # of a card; beyond, the picture is cut
_BOARDS_OF_A_PIN, _WORDS, _STRONGEST = 9, 8, 24
_COVER = 3

_SOURCES = {  # of a result: its icon, a few words, a sentence
    "co-occurrence": ("boards", "shares boards", "People saved both to the same boards."),
    "random walk": ("walk", "a few boards away", "From board to board, people get from one to "
                    "the other."),
    "visual neighbours": ("look", "looks alike", "The two pictures look alike."),
    "text neighbours": ("words", "same words", "People say the same of both."),
    "popular in category": ("popular", "popular of its kind", "Many people keep it, under the "
                            "same category."),
    "popular": ("popular", "popular", "Many people keep it."),
    "boosted": ("popular", "raised by hand", "Whoever runs this page raised it."),
    "pinned": ("popular", "put first", "Whoever runs this page put it first."),
}  # fmt: skip


@dataclass(frozen=True)
class Links:
    """Addresses of pages, below the path that the application is mounted at."""

    base: str = ""

    def pin(self, id: str) -> str:
        return f"{self.base}/pin/{quote(id, safe='')}"

    def board(self, id: str) -> str:
        return f"{self.base}/board/{quote(id, safe='')}"

    def image(self, signature: str) -> str:
        return f"{self.base}/v1/images/{quote(signature, safe='')}"

    def page(self, name: str) -> str:
        return f"{self.base}/" if name == "home" else f"{self.base}/{name}"


@dataclass(frozen=True)
class Picture:
    """An image as a tile: its picture, or a card with its title where there is none."""

    id: str  # the signature
    title: str  # never empty
    href: str  # of its page
    src: str | None  # of its picture, in any width; None: there is none
    width: int  # width and height have its shape
    height: int
    hue: int  # 0 … 11, of the card; the same title always has the same

    def srcset(self, *sides: int) -> str:
        """The picture with its longer side of each length, by its width: for the browser to choose.

        >>> Picture("a", "A", "/pin/a", "/v1/images/a", 300, 400, 0).srcset(240, 480)
        '/v1/images/a?w=240 180w, /v1/images/a?w=480 360w'
        """
        share = self.width / max(self.width, self.height)
        return ", ".join(f"{self.src}?w={side} {max(1, round(side * share))}w" for side in sides)


@dataclass(frozen=True)
class BoardLink:
    """The boards of one title: the first of `count` has the address."""

    title: str
    href: str
    count: int


@dataclass(frozen=True)
class Why:
    """The reasons of a result. The values of `groups` sum to the score, those of `features` too."""

    sentence: str
    shared: int
    boards: list[BoardLink]
    alike: float | None
    like: str | None
    words: list[str]
    score: float
    groups: list[Part]
    features: list[tuple[str, float]]


@dataclass(frozen=True)
class Card:
    """An image in a grid; `place` (from 1) in a list of results, 0 elsewhere."""

    picture: Picture
    place: int = 0
    badge: str = ""
    icon: str = ""
    source: str = ""
    why: Why | None = None


@dataclass(frozen=True)
class BoardView:
    """A board as a card or the head of its page."""

    id: str
    title: str
    href: str
    size: int
    category: str | None
    description: str | None
    owner: str | None
    cover: list[Picture]


class Views:
    """Makes what pages show of one workspace."""

    def __init__(self, workspace: Workspace, links: Links) -> None:
        self.workspace = workspace
        self.links = links

    def picture(self, row: int) -> Picture:
        return self.pictures([row])[0]

    def pictures(self, rows: Sequence[int]) -> list[Picture]:
        described = self.workspace.describe(rows)
        return [self._picture(int(row), one) for row, one in zip(rows, described, strict=True)]

    def cards(self, rows: Sequence[int]) -> list[Card]:
        """Of images that are there because they are, not because of a query."""
        return [Card(picture) for picture in self.pictures(rows)]

    def results(self, ranking: Ranking, first: int = 1) -> list[Card]:
        """Of related images with their reasons; `first` is the place of the first."""
        reasons = self.workspace.reasons(ranking)
        columns = zip(
            self.pictures(ranking.rows.tolist()), ranking.sources.tolist(),
            ranking.shared_boards.tolist(), reasons, contributions(ranking, reasons),
            ranking.scores.tolist(), strict=True,
        )  # fmt: skip
        return [
            self._result(place, picture, SOURCES[source], shared, why, added, score)
            for place, (picture, source, shared, why, added, score) in enumerate(columns, first)
        ]

    def pin(self, row: int, user: str) -> dict[str, Any]:
        """What the closeup page says of the image itself to a user, whose boards come first."""
        known = self.workspace.pinjoin(row)
        boards = sorted(known.boards, key=lambda board: board["user_id"] != user)
        spoken = [pin["description"] for pin in known.pins if pin.get("description")]
        links = [pin["link"] for pin in known.pins if _is_address(pin.get("link"))]
        return {
            "picture": self.picture(row),
            "description": spoken[0] if spoken else None,
            "link": links[0] if links else None,
            "n_boards": len(known.boards),
            "boards": self._board_links(boards)[:_BOARDS_OF_A_PIN],
            "words": _distinct([term for term, _ in self.workspace.annotations.of(row)])[:_WORDS],
            "categories": _shares(self.workspace.categories.of(row)),
            "boxes": [],
        }

    def board(self, row: int) -> BoardView:
        known = self.workspace.board(row)
        return BoardView(
            known.board_id,
            known.title or known.board_id,
            self.links.board(known.board_id),
            len(known.images),
            known.category,
            known.description,
            known.user_id,
            self.pictures(self._cover(row)),
        )

    def _cover(self, row: int) -> list[int]:
        """Some of its images, but not its best known one, which is on many boards."""
        rows = cover(self.workspace.graph, row, _COVER + 1)
        return rows[1:] if len(rows) > _COVER else rows

    def _picture(self, row: int, described: Mapping[str, Any]) -> Picture:
        path = self.workspace.image_path(row)
        title = (described["title"] or "").strip() or name_of(described["image"])
        width, height = _shape(path) if path else _UNKNOWN_SHAPE
        return Picture(
            described["signature"],
            title,
            self.links.pin(described["pin_id"]),
            self.links.image(described["signature"]) if path else None,
            width,
            height,
            zlib.crc32(title.encode()) % _HUES,
        )

    def _result(
        self,
        place: int,
        picture: Picture,
        source: str,
        shared: int,
        reasons: Mapping[str, Any],
        added: Mapping[str, float],
        score: float,
    ) -> Card:
        icon, badge, sentence = _SOURCES[source]
        why = Why(
            sentence,
            shared,
            self._board_links(reasons.get("boards", ())),
            reasons.get("visual_similarity"),
            reasons.get("both_look_like"),
            _distinct(reasons.get("words", ())),
            score,
            parts(by_family(added)),
            by_feature(added),
        )
        badge = f"{counted(shared, 'board')} in common" if shared else badge
        return Card(picture, place, badge, icon, source, why)

    def _board_links(self, boards: Iterable[Mapping[str, Any]]) -> list[BoardLink]:
        """One for each title, as many boards have the same; the first of each."""
        by_title: dict[str, list[Mapping[str, Any]]] = {}
        for board in boards:
            by_title.setdefault(board["title"] or board["board_id"], []).append(board)
        return [
            BoardLink(title, self.links.board(same[0]["board_id"]), len(same))
            for title, same in by_title.items()
        ]


def counted(n: int, noun: str) -> str:
    """
    >>> counted(1, "board"), counted(1200, "board")
    ('1 board', '1,200 boards')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


@lru_cache(maxsize=100_000)
def _shape(path: Path) -> tuple[int, int]:
    """Width and height of a picture file, upright; kept within what a card may be."""
    try:
        width, height = read_size(path)
    except ImageError:
        return _UNKNOWN_SHAPE
    return min(width, int(height * _WIDEST)), min(height, int(width * _TALLEST))


def _is_address(link: str | None) -> bool:
    return link is not None and link.startswith(("https://", "http://"))


def _distinct(terms: Sequence[str]) -> list[str]:
    """The strongest terms, without those that are part of another one.

    >>> _distinct(["sheath", "sheath dress", "date"])
    ['sheath dress', 'date']
    """
    terms = terms[:_STRONGEST]
    part = {one for one in terms for other in terms if one != other and f" {one} " in f" {other} "}
    return [term for term in terms if term not in part]


def _shares(pairs: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"name": name, "weight": share} for name, share in pairs]
