"""The ranking lab's page: two lists of results with lines between them, and what moved most."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log2
from typing import Any

from pinjoin.recommender import Wishes
from pinjoin.serving.comparing import Move, compare
from pinjoin.serving.made_of import Part, by_family, by_feature, contributions, parts
from pinjoin.serving.views import Picture, Views, counted

ROW_HEIGHT = 64  # of an entry in lab.css, in pixels
_DEPTH = 100  # at least so many are ranked, to tell where those went that left
_MOVERS, _GROUPS, _FEATURES = 8, 5, 12


@dataclass(frozen=True)
class Entry:
    """One line of a list. trend, a class of lab.css: up, down, same, entered or left."""

    row: int  # of the image
    rank: int
    picture: Picture
    trend: str
    shift: str


@dataclass(frozen=True)
class Mover:
    """A result that moved, and why."""

    row: int
    picture: Picture
    trend: str
    sentence: str
    groups: list[Part]
    features: list[tuple[str, float]]


def lab_view(views: Views, query: int, models: tuple[str, str], n: int) -> dict[str, Any]:
    """What the page shows of the first n results of two models for an image row."""
    depth = max(_DEPTH, 4 * n)
    rankings = [_added(views, query, depth, model) for model in models]
    moves = [move for move in compare(*rankings) if _first(move) <= n]
    rows = [move.row for move in moves]
    pictures = dict(zip(rows, views.pictures(rows), strict=True))

    def entries(before: bool) -> list[Entry]:
        ranked = {rank: m for m in moves if (rank := m.before if before else m.after)}
        return [
            Entry(m.row, rank, pictures[m.row], _trend(m, n), _shift(m, n, before))
            for rank, m in sorted(ranked.items())
            if rank <= n
        ]

    left, right = entries(before=True), entries(before=False)
    return {
        "query": views.picture(query),
        "sentence": _sentence(moves, n),
        "left": left,
        "right": right,
        "height": max(len(left), len(right)) * ROW_HEIGHT,
        "moves": [_line(move, n) for move in moves if _stays(move, n)],
        "movers": [
            Mover(
                move.row,
                pictures[move.row],
                _trend(move, n),
                _told(move, depth),
                parts(by_family(move.causes), _GROUPS),
                by_feature(move.causes)[:_FEATURES],
            )
            for move in _most_moved(moves)
        ],
    }


def _added(views: Views, query: int, depth: int, model: str) -> dict[int, dict[str, float]]:
    ranking = views.workspace.rank(query, depth, Wishes(model=model))
    reasons = views.workspace.reasons(ranking)
    return dict(zip(ranking.rows.tolist(), contributions(ranking, reasons), strict=True))


def _first(move: Move) -> float:
    return min(move.before or inf, move.after or inf)


def _stays(move: Move, n: int) -> bool:
    return (move.before or inf) <= n and (move.after or inf) <= n


def _trend(move: Move, n: int) -> str:
    if (move.before or inf) > n:
        return "entered"
    if (move.after or inf) > n:
        return "left"
    rise = _rise(move)
    return "up" if rise > 0 else "down" if rise < 0 else "same"


def _rise(move: Move) -> int:
    return (move.before or 0) - (move.after or 0)


def _shift(move: Move, n: int, before: bool) -> str:
    """A few signs beside a title: on the left where it goes, on the right how it came."""
    if before:
        return f"→ {move.after}" if move.after else "→ …"
    if _trend(move, n) == "entered":
        return f"new, was {move.before}" if move.before else "new"
    rise = _rise(move)
    return f"▲ {rise}" if rise > 0 else f"▼ {-rise}" if rise < 0 else "="


def _line(move: Move, n: int) -> dict[str, Any]:
    start, end = ((rank or 0) * ROW_HEIGHT - ROW_HEIGHT // 2 for rank in (move.before, move.after))
    path = f"M0 {start}C40 {start} 60 {end} 100 {end}"
    return {"row": move.row, "trend": _trend(move, n), "path": path}


def _most_moved(moves: list[Move]) -> list[Move]:
    """Those whose place changed most, places at the top counting more, as in nDCG."""
    moved = [move for move in moves if move.before != move.after]
    return sorted(moved, key=lambda move: -abs(_gain(move.after) - _gain(move.before)))[:_MOVERS]


def _gain(rank: int | None) -> float:
    return 1 / log2(1 + rank) if rank else 0.0


def _told(move: Move, depth: int) -> str:
    before = f"from {move.before}" if move.before else f"from beyond {depth}"
    after = f"to {move.after}" if move.after else f"to beyond {depth}"
    sign = "▲" if (move.after or inf) < (move.before or inf) else "▼"
    return f"{sign} {before} {after}"


def _sentence(shown: list[Move], n: int) -> str:
    trends = [_trend(move, n) for move in shown]
    both = trends.count("up") + trends.count("down") + trends.count("same")
    if both == trends.count("same") and both == len(shown):
        return f"Both show the same {counted(both, 'image')} in the same order."
    return (
        f"{both:,} of {min(n, len(shown)):,} are in both lists: {trends.count('up')} higher, "
        f"{trends.count('down')} lower, {trends.count('same')} where they were. "
        f"{trends.count('entered')} came, {trends.count('left')} went."
    )
