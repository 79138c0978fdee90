"""One HTML file that shows a catalogue: its numbers, its boards, and what belongs together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

import pinjoin
from pinjoin.core.errors import InputError, check
from pinjoin.core.progress import Progress, silent
from pinjoin.report.charts import bar_chart, plain, whole
from pinjoin.report.figures import choose_queries, cover, largest_boards, levels
from pinjoin.report.pictures import Pictures
from pinjoin.stats import (
    Bar,
    CatalogueStats,
    Distribution,
    catalogue_stats,
    percent,
    two_digits,
)

if TYPE_CHECKING:
    from pinjoin.core.types import Related
    from pinjoin.recommender import Workspace

N_RELATED, N_PER_LEVEL, N_BOARDS, N_COVER, N_COLD = 12, 5, 8, 4, 2


def write_report(
    workspace: Workspace,
    path: str | os.PathLike[str],
    *,
    queries: Sequence[str] = (),
    n_queries: int = 6,
    seed: int = 0,
    progress: Progress = silent,
    stats: CatalogueStats | None = None,
) -> Path:
    """Write a report of the workspace's snapshot to `path`: one file that loads nothing else.

    It shows counts and distributions, the share of image pairs by boards shared (the paper's
    Figure 5), and for `queries` (pin ids, signatures or images; by default `n_queries` random
    ones drawn with `seed`, and two that are on no board) candidates with few, some and many
    shared boards (Figure 4) and the related items with their reasons. Pictures are thumbnails of
    the catalogue's files; an image without a readable file is shown by its title. `stats` saves
    counting twice. The same snapshot, queries and seed give the same bytes. Returns the path.
    Raises UnknownIdError for an unknown query and InputError where the file cannot be written.
    """
    check(n_queries >= 0, "n_queries", "write_report", "zero or more", n_queries)
    rows = [workspace.find(query) for query in queries]  # before any long work
    if stats is None:
        stats = catalogue_stats(workspace, progress=progress)
    rng = np.random.default_rng(seed)
    if not rows:
        rows = choose_queries(workspace.incidence, n_queries, rng)
        # The last rows are those that nobody saved, if there are any: they find company, too.
        rows += np.flatnonzero(workspace.incidence.degrees == 0)[-N_COLD:].tolist()
    pictures = Pictures(_finder(workspace))
    examples = []
    with progress("drawing the report", len(rows)) as advance:
        for row in rows:
            examples.append(_example(workspace, row, pictures, rng))
            advance(1)
    page = _template().render(
        css=Markup(_resource("report.css")),  # our own file: nothing to escape
        version=pinjoin.__version__,
        snapshot=workspace.snapshot,
        stats=stats,
        charts=_charts(stats),
        examples=examples,
        chosen=bool(queries),
        boards=_boards(workspace, pictures),
        unreadable=pictures.unreadable,
    )
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8")
    except OSError as problem:
        raise InputError(
            f"The report cannot be written to {target}: {problem.strerror}. Name another file."
        ) from None
    return target


def _finder(workspace: Workspace) -> Callable[[int], tuple[str | None, str, Path | None]]:
    def look_up(row: int) -> tuple[str | None, str, Path | None]:
        [image] = workspace.describe([row])
        return image["title"], image["image"], workspace.image_path(row)

    return look_up


def _example(
    workspace: Workspace, row: int, pictures: Pictures, rng: np.random.Generator
) -> dict[str, Any]:
    """One query: its picture, its levels of co-occurrence, its related items."""
    [query] = workspace.describe([row])
    return {
        "query": pictures.of(row),
        "boards": len(workspace.incidence.boards_of(row)),
        "levels": [
            {
                "name": level.name,
                "span": _span(int(level.counts.min()), int(level.counts.max())),
                "pictures": [
                    pictures.of(int(image), count=int(count))
                    for image, count in zip(level.rows, level.counts, strict=True)
                ],
            }
            for level in levels(workspace.incidence, row, N_PER_LEVEL, rng)
        ],
        "related": [
            pictures.of(
                workspace.find(found.signature),
                note=why(found),
                count=found.shared_boards or None,
            )
            for found in workspace.related(query["signature"], n=N_RELATED)
        ],
    }


def _span(low: int, high: int) -> str:
    if low == high:
        return f"{low:,} shared board{'' if low == 1 else 's'}"
    return f"{low:,}–{high:,} shared boards"


def why(found: Related) -> str:
    """The reason for a related item in a few words: the shared boards, else what both look like,
    else the words said of both, else its source.

    Boards of the same title are named once: "Denim, Summer and 5 more" tells of seven boards.
    """
    boards = [board["title"] or board["board_id"] for board in found.reasons.get("boards", ())]
    if not boards:
        alike, words = found.reasons.get("visual_similarity"), found.reasons.get("words")
        if alike and found.source == "visual neighbours":
            like = found.reasons.get("both_look_like")
            return f"{alike:.0%} alike" + (f": {like}" if like else "")
        return f"{found.source}: {', '.join(words[:3])}" if words else str(found.source)
    named = list(dict.fromkeys(boards))[:2]
    more = found.shared_boards - sum(title in named for title in boards)
    return ", ".join(named) + (f" and {more:,} more" if more > 0 else "")


def _boards(workspace: Workspace, pictures: Pictures) -> list[dict[str, Any]]:
    shown = []
    for row, size in largest_boards(workspace.incidence, N_BOARDS):
        board = workspace.board(row)
        shown.append(
            {
                "title": board.title or board.board_id,
                "category": board.category,
                "images": size,
                "cover": [pictures.of(image) for image in cover(workspace.incidence, row, N_COVER)],
            }
        )
    return shown


def _charts(stats: CatalogueStats) -> dict[str, Any]:
    """Each chart with the table of its numbers, for those who cannot see it."""
    pairs = stats.pairs_sharing
    return {
        "pairs": _chart(
            pairs,
            pairs.bars(singles=12, growth=1.3),
            name="Share of image pairs by number of boards they share",
            x_title="boards the two images share",
            y_title="share of pairs" + (" (ranges: mean per number)" if pairs.maximum > 12 else ""),
            noun="pairs",
            share=True,
            tell="{0} of the pairs ({1:,}) share {2} {3}",
            unit=("board", "boards"),
        ),
        "board_sizes": _chart(
            stats.images_per_board,
            _from_one(stats.images_per_board.bars(singles=4, growth=1.3)),
            name="Boards by number of images",
            x_title="images on the board",
            y_title="boards",
            noun="boards",
            log_x=True,
            tell="{1:,} boards ({0}) hold {2} {3}",
            unit=("image", "images"),
        ),
        "popularity": _chart(
            stats.boards_per_image,
            _from_one(stats.boards_per_image.bars(singles=4, growth=1.3)),
            name="Images by number of boards",
            x_title="boards the image is on",
            y_title="images",
            noun="images",
            log_x=True,
            tell="{1:,} images ({0}) are on {2} {3}",
            unit=("board", "boards"),
        ),
    }


def _from_one(rows: list[Bar]) -> list[Bar]:
    """Without the zeros, which have no place on a logarithmic axis (their number is told above)."""
    return [row for row in rows if row.low]


def _chart(
    spread: Distribution,
    rows: list[Bar],
    *,
    noun: str,
    tell: str,
    unit: tuple[str, str],
    share: bool = False,
    **options: Any,
) -> dict[str, Any]:
    total = max(1, spread.items)

    def sentence(row: Bar) -> str:
        of = percent(row.count / total)
        return tell.format(of, row.count, row.label, unit[row.low != 1 or row.high != 1])

    def mean_share(row: Bar) -> float:
        # Per value, as a range of ten values beside a single one would tower above it.
        return row.count / total / (row.high - row.low + 1)

    def percentage(row: Bar) -> str:
        return two_digits(100 * row.count / total) if row.low == row.high else ""

    svg = bar_chart(
        rows,
        height_of=mean_share if share else (lambda row: float(row.count)),
        tick=percent if share else plain,
        value=percentage if share else (lambda row: whole(row.count)),
        tell=sentence,
        **options,
    )
    return {
        "svg": svg,
        "head": (options["x_title"], noun, "share"),
        "rows": [(row.label, row.count, percent(row.count / total)) for row in rows],
    }


def _template() -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    environment.filters["percent"] = percent
    return environment.from_string(_resource("report.html"))


def _resource(name: str) -> str:
    return (files("pinjoin.report") / "templates" / name).read_text(encoding="utf-8")
