"""`pinjoin demo`: the shipped catalogue, built, asked, shown and served."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from pinjoin.builder import BuildSummary
    from pinjoin.core.progress import Progress
    from pinjoin.recommender import Workspace

# Pictures of the catalogue whose related items are printed.
QUERIES = (
    "images/sheath-dress-black-1.jpg",
    "images/joggers-grey-1.jpg",
    "images/turtleneck-red-1.jpg",
)
N_RELATED = 6
REPORT = "report.html"


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="The workspace to build; the report goes there too.",
)
@click.option("--no-serve", is_flag=True, help="End after the report.")
@click.option("--port", default=8000, show_default=True, envvar="PORT",
              type=click.IntRange(0, 65535), help="Of the page; 0: any that is free.")  # fmt: skip
def demo(folder: Path, no_serve: bool, port: int) -> None:
    """Build the catalogue that comes with pinjoin, show what belongs together in it, and serve it.

    Photos of clothes that (invented) people saved to a few hundred boards.
    """
    if not no_serve:
        _require_serving()
    from pinjoin.cli.stats import make_console
    from pinjoin.core.progress import reporter
    from pinjoin.recommender import open_workspace
    from pinjoin.report import write_report

    progress = reporter()
    built = build_demo(folder, progress)
    click.echo(_told(built))
    workspace = open_workspace(folder)
    console = make_console()
    for query in QUERIES:
        console.print("", _related_table(workspace, query))
    report = write_report(workspace, folder / REPORT, progress=progress)
    [example] = workspace.describe([workspace.find(QUERIES[0])])
    click.echo(
        f"\nRead the report    {report.resolve()}"
        f"\nAsk for others     pinjoin related {folder} {example['pin_id']}"
        f"\nSee the numbers    pinjoin stats {folder}"
        f"\nTake your own      pinjoin build WORKSPACE --pins pins.csv --boards boards.csv"
    )
    if not no_serve:
        _serve(folder, port)


def _serve(folder: Path, port: int) -> None:
    import logging

    from pinjoin.serving.config import ServeConfig
    from pinjoin.serving.logs import write_json_lines
    from pinjoin.serving.running import serve

    def announce(address: str) -> None:
        click.echo(f"Open in a browser  {address}   (Ctrl-C ends it)")

    write_json_lines(logging.WARNING)
    serve(folder, ServeConfig(port=port), listening=announce)


def _require_serving() -> None:
    """Say before any work what is missing to serve."""
    from pinjoin.core.errors import ConfigError

    try:
        import pinjoin.serving  # noqa: F401
    except ConfigError as error:
        raise ConfigError(f"{error} Or end before: pinjoin demo --no-serve.") from None


def build_demo(folder: Path, progress: Progress) -> BuildSummary:
    """Build the shipped catalogue into the workspace `folder`; the last two snapshots stay.

    Signatures are of pixels: some photos are there twice, saved under other names, and meet.
    Raises InputError where `folder` holds something else.
    """
    from pinjoin.builder import build
    from pinjoin.data.sources import open_source
    from pinjoin.snapshot.store import prune

    _require_free(folder)
    shipped = Path(str(files("pinjoin.data"))) / "demo"
    built = build(
        folder,
        open_source("pins", shipped / "pins.csv"),
        open_source("boards", shipped / "boards.csv"),
        base=shipped,
        signature="pixels",
        progress=progress,
    )
    prune(folder, keep=2)
    return built


def _require_free(folder: Path) -> None:
    """A folder of someone's own files is not the place for a workspace."""
    from pinjoin.core.errors import InputError

    if folder.is_dir():
        if not any(folder.iterdir()) or (folder / "snapshots").is_dir():
            return
        what = "has files in it that are no workspace of pinjoin's"
    elif folder.exists():
        what = "is a file"
    else:
        return
    raise InputError(
        f"The demo cannot be built into {folder}: it {what}. "
        "Name a new or empty folder with --dir DIR."
    )


def _told(built: BuildSummary) -> str:
    return (
        f"{built.pins:,} pins on {built.boards:,} boards are {built.images:,} different images: "
        "a photo saved again, even under another name, is one image.\n"
        "Related are those that people put on the same boards."
    )


def _related_table(workspace: Workspace, query: str) -> Table:
    from rich.table import Table

    [asked] = workspace.describe([workspace.find(query)])
    table = Table(
        box=None,
        pad_edge=False,
        header_style="dim",
        title=f"Related to {asked['title']} ({asked['pin_id']})",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("pin")
    table.add_column("title")
    table.add_column("boards shared", justify="right")
    table.add_column("among them")
    for found in workspace.related(query, n=N_RELATED):
        boards = dict.fromkeys(board["title"] for board in found.reasons["boards"])
        named = ", ".join(list(boards)[:3])
        table.add_row(found.pin_id, found.title or "", str(found.shared_boards), named)
    return table
