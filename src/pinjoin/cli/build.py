"""`pinjoin build`: tables of pins and boards become a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pinjoin.builder import BuildSummary
    from pinjoin.data.sources import Source
    from pinjoin.folding import Folded

_EPILOG = """\b
  pinjoin build shop --pins saves.csv --boards wishlists.csv --images photos/
  pinjoin build shop --pins 's3://lake/pins/*.parquet' --boards boards.parquet \\
      --map pin_id=save_id --map image=photo_url
  pinjoin build unsplash --preset unsplash --pins unsplash-research-dataset-lite/
"""


@click.command(epilog=_EPILOG)
@click.argument("workspace", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--pins",
    multiple=True,
    metavar="P",
    help="Pins: a file, glob, directory or address of CSV, TSV, JSON lines, Parquet or Arrow; "
    "may be repeated. With --preset, the directory of the public dataset.",
)
@click.option("--boards", multiple=True, metavar="B", help="Boards, likewise.")
@click.option(
    "--database",
    metavar="FILE_OR_URL",
    envvar="PINJOIN_DATABASE",
    help="Of live saves and takedowns, which are folded in; WORKSPACE/live.db, if it is there, if "
    "not told.",
)
@click.option("--live-only", is_flag=True, help="Leave out the tables of earlier builds.")
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the image files.",
)
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="COLUMN=THEIRS",
    help="Which column of your tables is one of ours, as in image=photo_url; for one table only: "
    "boards.title=name; title= leaves a column out.",
)
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="COLUMN",
    help="Keep a column of your pins to filter by, as in in_stock; with its type (bool, number, "
    "text or time) where its values could mislead: sku:text. May be repeated.",
)
@click.option("--preset", metavar="NAME", help="unsplash, pinterest-iccv or movielens.")
@click.option(
    "--signature",
    type=click.Choice(["reference", "pixels", "perceptual"]),
    default="reference",
    show_default=True,
    help="What makes two pins the same image: the reference, the decoded pixels, or a "
    "perceptual hash.",
)
@click.option(
    "--encoder",
    metavar="NAME_OR_FILE",
    help="What looks at the pictures; see `pinjoin encoders list`. none: nothing does.",
)
@click.option(
    "--fetch", is_flag=True, help="Fetch http(s) images, gently; they are kept in the workspace."
)
@click.option(
    "--allow-private",
    is_flag=True,
    help="Fetch from private and loopback addresses, too. Only for catalogues whose every author "
    "may reach what this machine can: a reference may name any server of your network.",
)
@click.option(
    "--keep-embeddings",
    is_flag=True,
    help="Store the encoder's real-valued output, too: 2 bytes a unit and image.",
)
@click.option(
    "--index",
    type=click.Choice(["auto", "never"]),
    default="auto",
    show_default=True,
    help="Index the pictures where they are millions, to find those alike faster (needs "
    "pinjoin[ann]).",
)
@click.option(
    "--events",
    multiple=True,
    metavar="FILE",
    help="A log of impressions and actions to learn to rank from; may be repeated, or a glob.",
)
@click.option("--encoding", help="Of text tables that are not UTF-8, as in latin-1.")
@click.option("--strict", is_flag=True, help="Fail at the first bad row.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def build(
    workspace: Path,
    pins: tuple[str, ...],
    boards: tuple[str, ...],
    database: str | None,
    live_only: bool,
    images: Path | None,
    mapping: tuple[str, ...],
    attributes: tuple[str, ...],
    preset: str | None,
    signature: str,
    encoder: str | None,
    fetch: bool,
    allow_private: bool,
    keep_embeddings: bool,
    index: str,
    events: tuple[str, ...],
    encoding: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Turn tables of pins and boards into WORKSPACE's next snapshot.

    What was saved and taken down live is folded in.
    Bad rows are listed in WORKSPACE/rejects.jsonl with their reasons and never stop the build
    (unless --strict); until the new snapshot is written and verified, the old one serves on.
    """
    import json
    from dataclasses import asdict

    from pinjoin.builder import build as run
    from pinjoin.builder import was_built_from_tables
    from pinjoin.cli.kernels import announce_compilation
    from pinjoin.cli.train import learn_from_log
    from pinjoin.core.progress import reporter
    from pinjoin.data.events import open_events
    from pinjoin.features.visual import DEFAULT_ENCODER
    from pinjoin.live import LIVE_FILE

    if allow_private and not fetch:
        raise click.UsageError("--allow-private says what --fetch may ask; give that, too.")
    if keep_embeddings and encoder == "none":
        raise click.UsageError("--keep-embeddings needs an encoder; leave --encoder none out.")
    sources = _open(preset, pins, boards, mapping, attributes, encoding)
    if not (sources or database or (workspace / LIVE_FILE).exists()):
        raise click.UsageError(
            f"Missing option '--pins' (there is no live database {workspace / LIVE_FILE}, either)."
        )
    if not (sources or live_only) and was_built_from_tables(workspace):
        raise click.UsageError(
            f"Missing option '--pins': the current snapshot of {workspace} was built from tables, "
            "and would make way for one of what is live alone. Name the tables again, or say "
            "--live-only."
        )
    log = open_events(list(events)) if events else None  # an error before any work
    with announce_compilation():
        summary = run(
            workspace,
            *sources,
            database=database,
            images=images,
            base=_base(pins) if pins else None,
            signature=signature,  # type: ignore[arg-type]
            encoder=None if encoder == "none" else encoder or DEFAULT_ENCODER,
            keep_embeddings=keep_embeddings,
            index=index,  # type: ignore[arg-type]
            fetch=fetch,
            allow_private=allow_private,
            strict=strict,
            progress=reporter(),
        )
    if not as_json:
        print_summary(workspace, summary)
    plain = asdict(summary)
    if log is not None:
        with announce_compilation():
            plain["model"] = learn_from_log(workspace, log, reporter(), silently=as_json)
    if as_json:
        click.echo(json.dumps(plain, indent=2))
    elif log is not None:
        click.echo(f"{plain['model']} ranks now.")


def print_summary(workspace: Path, summary: BuildSummary) -> None:
    """What a build did, for people."""
    lines = [
        f"{summary.pins:,} pins fell into {summary.images:,} PinJoins on {summary.boards:,} "
        f"boards ({summary.saves:,} distinct saves).",
    ]
    if summary.live:
        lines += _of_live(summary.live)
    if summary.pictures:
        lines.append(f"{summary.pictures:,} pictures were looked at.")
    if summary.indexed.pictures:
        lines.append(
            f"{summary.indexed.pictures:,} of them are indexed, {summary.indexed.added:,} newly so."
        )
    if summary.indexed.missing:
        lines.append(
            "Those alike would be found faster with an index: pip install 'pinjoin[ann]' and build "
            "again."
        )
    if summary.on_no_board:
        lines.append(f"{summary.on_no_board:,} images are on no board.")
    if summary.rejects:
        lines.append(
            f"Left out: {summary.rejected_pins:,} pins and {summary.rejected_boards:,} boards, "
            f"listed in {summary.rejects_file}:"
        )
        lines += [f"  {count:,} × {reason}" for reason, count in summary.rejects.items()]
    if summary.dropped_values:
        lines.append(f"Values that could not be read, their rows kept ({summary.rejects_file}):")
        lines += [f"  {count:,} × {reason}" for reason, count in summary.dropped_values.items()]
    if summary.image_faults:
        where = workspace / "images.rejects.jsonl"
        lines.append(f"Images that could not be read (what helps is said in {where}):")
        lines += [f"  {count:,} × {reason}" for reason, count in summary.image_faults.items()]
    lines.append(f"Snapshot {summary.snapshot} of {workspace} is current; {summary.ranks} ranks.")
    click.echo("\n".join(lines))


def _of_live(live: Folded) -> list[str]:
    lines = [
        f"Of these, {live.saves:,} pins and {live.boards:,} boards are from the live database."
    ]
    if live.takedowns:
        lines.append(
            f"{live.takedowns:,} takedowns removed {live.removed_pins:,} pins and "
            f"{live.removed_boards:,} boards."
        )
    return lines


def _open(
    preset: str | None,
    pins: tuple[str, ...],
    boards: tuple[str, ...],
    mapping: tuple[str, ...],
    attributes: tuple[str, ...],
    encoding: str | None,
) -> tuple[Source, Source] | tuple[()]:
    """Pins and boards; nothing where none are named."""
    from pinjoin.core.errors import ConfigError
    from pinjoin.data.attributes import parse_attributes
    from pinjoin.data.mapping import parse_map
    from pinjoin.data.presets import open_preset
    from pinjoin.data.sources import open_source

    if preset is not None:
        if boards or mapping or attributes or len(pins) != 1:
            raise click.UsageError(
                "--preset takes one --pins, the directory of the dataset, and neither --boards, "
                "--map nor --attribute."
            )
        catalogue = open_preset(preset, pins[0])
        return catalogue.pins, catalogue.boards
    if not pins and not boards:
        if mapping or attributes:
            raise click.UsageError("--map and --attribute are for --pins and --boards.")
        return ()
    for option, given in (("--pins", pins), ("--boards", boards)):
        if not given:
            raise click.UsageError(f"Missing option '{option}'.")
    try:
        theirs = parse_map(mapping)
        parse_attributes(attributes)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    return (
        open_source("pins", _where(pins), theirs["pins"], attributes=attributes, encoding=encoding),
        open_source("boards", _where(boards), theirs["boards"], encoding=encoding),
    )


def _where(given: tuple[str, ...]) -> Any:
    return given[0] if len(given) == 1 else list(given)


def _base(pins: tuple[str, ...]) -> Path | None:
    """The folder that relative image references start from: that of the first local pins part."""
    first = pins[0].removeprefix("file://")
    if "://" in first:
        return None
    path = Path(first)
    if path.is_dir():
        return path
    folder = path.parent
    while any(mark in str(folder) for mark in "*?["):
        folder = folder.parent
    return folder
