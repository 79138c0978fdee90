"""`pinjoin stats`: what is in a catalogue, as tables, JSON or an HTML report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pinjoin.stats import Bar, CatalogueStats

_BAR = 40  # characters of the longest bar


@click.command()
@click.argument("workspace", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a report with pictures to FILE; it needs no other file and no network.",
)
@click.option(
    "--query",
    "queries",
    multiple=True,
    metavar="ID",
    help="A pin id, signature or image to show in the report; repeatable. Default: random ones.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the random ones.")
def stats(
    workspace: Path, as_json: bool, html: Path | None, queries: tuple[str, ...], seed: int
) -> None:
    """Count what is in WORKSPACE: sizes, how they spread, and how often two images meet.

    The last table is exact: of all pairs of images that share a board, how many share one, two, …
    """
    if queries and html is None:
        raise click.UsageError("--query chooses what the report shows: add --html FILE.")
    from pinjoin.core.progress import reporter
    from pinjoin.recommender import open_workspace
    from pinjoin.stats import catalogue_stats

    opened = open_workspace(workspace)
    for query in queries:
        opened.find(query)  # an unknown id should not cost the counting first
    progress = reporter()
    counted = catalogue_stats(opened, progress=progress)
    if html is not None:
        from pinjoin.report import write_report

        write_report(opened, html, queries=queries, seed=seed, progress=progress, stats=counted)
    if as_json:
        click.echo(json.dumps(counted.to_dict(), indent=2))
    else:
        print_stats(counted)
    if html is not None:
        click.echo(f"Report: {html}", err=as_json)


def make_console() -> Console:
    """A console that prints what it is given; a pipe has no width to fold a line for."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 1000
    return console


def print_stats(counted: CatalogueStats) -> None:
    """The counts, the distributions, and Figure 5 as a histogram of characters."""
    console = make_console()
    console.print(f"Snapshot {counted.snapshot}\n", style="bold")
    console.print(_counts(counted), "", _spreads(counted), "")
    sizes = counted.images_per_board
    console.print("Boards by number of images", style="bold")
    console.print(_histogram(sizes.bars(singles=4), "images", "boards"), "")
    if counted.pairs_sharing.items:
        console.print(
            f"Pairs of images by number of boards they share "
            f"({counted.pairs_sharing.items:,} of {counted.n_pairs:,} pairs share any)",
            style="bold",
        )
        pairs = counted.pairs_sharing.bars()
        console.print(_histogram(pairs, "boards", "pairs"))
        console.print("Bars are on a logarithmic scale.", style="dim")
    else:
        console.print("No two images share a board.")


def _counts(counted: CatalogueStats) -> Table:
    from rich.table import Table

    from pinjoin.stats import percent

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for name, value, note in (
        ("Pins", f"{counted.n_pins:,}", ""),
        ("Images", f"{counted.n_images:,}", "PinJoins: what is recommended"),
        ("Boards", f"{counted.n_boards:,}", ""),
        ("Saves", f"{counted.n_saves:,}", "images on boards, each once per board"),
        ("Density", percent(counted.density), "of all pairs of an image and a board"),
        ("On no board", f"{counted.images_on_no_board:,}", "images"),
        ("On one board", f"{counted.images_on_one_board:,}", "images"),
    ):
        table.add_row(name, value, note)
    return table


def _spreads(counted: CatalogueStats) -> Table:
    from rich.table import Table

    from pinjoin.stats import PERCENTILES

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", style="bold")
    for title in ("mean", "min", *(f"{percent} %" for percent in PERCENTILES), "max"):
        table.add_column(title, justify="right")
    for name, spread in (
        ("Images per board", counted.images_per_board),
        ("Boards per image", counted.boards_per_image),
        ("Pins per image", counted.pins_per_image),
    ):
        values = (spread.minimum, *map(spread.percentile, PERCENTILES), spread.maximum)
        table.add_row(name, f"{spread.mean:.1f}", *(f"{value:,}" for value in values))
    return table


def _histogram(rows: list[Bar], unit: str, noun: str) -> Table:
    from rich.table import Table

    from pinjoin.stats import percent

    total = sum(row.count for row in rows)
    longest = math.log1p(max(row.count for row in rows)) if rows else 1.0
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in (unit, noun, "share"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        bar = "█" * round(_BAR * math.log1p(row.count) / longest)
        table.add_row(row.label, f"{row.count:,}", percent(row.count / total), bar)
    return table
