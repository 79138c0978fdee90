"""`pinjoin snapshots`: see, check, go back to and remove the snapshots of a workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pinjoin.snapshot.store import SnapshotInfo

_WORKSPACE = click.argument("workspace", type=click.Path(path_type=Path))


@click.group()
def snapshots() -> None:
    """See, check, go back to and remove the snapshots of a workspace."""


@snapshots.command("list")
@_WORKSPACE
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
def list_command(workspace: Path, as_json: bool) -> None:
    """List the snapshots of WORKSPACE, newest first."""
    from pinjoin.snapshot.store import list_snapshots

    found = list_snapshots(workspace)
    if as_json:
        click.echo(json.dumps([_as_json(info) for info in found], indent=2, ensure_ascii=False))
    elif found:
        _print_table(found)
    else:
        click.echo(f"{workspace} has no snapshots: run `pinjoin build {workspace} …`.")


@snapshots.command()
@_WORKSPACE
@click.argument("names", nargs=-1, metavar="[NAME]…")
def verify(workspace: Path, names: tuple[str, ...]) -> None:
    """Hash every file of the named snapshots of WORKSPACE, or of all."""
    from pinjoin.core.errors import SnapshotError
    from pinjoin.core.progress import reporter
    from pinjoin.snapshot.reader import extra_files, verify_snapshot
    from pinjoin.snapshot.store import list_snapshots

    paths = {info.name: info.path for info in list_snapshots(workspace)}
    if unknown := [name for name in names if name not in paths]:
        raise SnapshotError(
            f"There is no snapshot {unknown[0]!r} in {workspace}. "
            f"There: {', '.join(paths) or 'none'}."
        )
    if not paths:
        raise SnapshotError(
            f"{workspace} has no snapshots to verify: run `pinjoin build {workspace} …`."
        )
    damaged = []
    for name in names or paths:
        try:
            manifest = verify_snapshot(paths[name], reporter())
        except SnapshotError as error:
            damaged.append(name)
            click.echo(f"{name}: {error}")
            continue
        extra = extra_files(paths[name], manifest)
        note = f"; not part of it and never read: {', '.join(extra)}" if extra else ""
        click.echo(f"{name}: good, {len(manifest.files)} files, {_size(manifest.bytes)}{note}")
    if damaged:
        raise SnapshotError(
            f"Damaged: {', '.join(damaged)}. If it is the current one, go back with "
            f"`pinjoin snapshots rollback {workspace}`, or build again."
        )


@snapshots.command()
@_WORKSPACE
@click.option("--to", metavar="NAME", help="The snapshot to switch to, older or newer.")
def rollback(workspace: Path, to: str | None) -> None:
    """Switch WORKSPACE to the newest good snapshot before the current one."""
    from pinjoin.core.progress import reporter
    from pinjoin.snapshot.store import rollback

    click.echo(f"The current snapshot is now {rollback(workspace, to, reporter()).name}.")


@snapshots.command()
@_WORKSPACE
@click.option(
    "--keep", type=click.IntRange(min=1), default=2, show_default=True, help="How many stay."
)
def prune(workspace: Path, keep: int) -> None:
    """Remove old snapshots of WORKSPACE; the current one always stays."""
    from pinjoin.snapshot.store import prune

    removed = prune(workspace, keep)
    for path in removed:
        click.echo(f"Removed {path.name}.")
    if not removed:
        click.echo("Nothing to remove.")


def _as_json(info: SnapshotInfo) -> dict[str, Any]:
    manifest = info.manifest
    return {
        "name": info.name,
        "current": info.current,
        "created_at": manifest.created_at if manifest else None,
        "bytes": manifest.bytes if manifest else None,
        "counts": dict(manifest.counts) if manifest else None,
        "pinjoin_version": manifest.pinjoin_version if manifest else None,
        "problem": info.problem,
    }


def _print_table(found: list[SnapshotInfo]) -> None:
    from rich.console import Console
    from rich.table import Table

    counted = list(dict.fromkeys(key for i in found if i.manifest for key in i.manifest.counts))
    table = Table(box=None, pad_edge=False)
    for title in ("", "snapshot", "built"):
        table.add_column(title, no_wrap=True)
    for title in ("size", *counted):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("state")
    for info in found:
        manifest = info.manifest
        counts = manifest.counts if manifest else {}
        table.add_row(
            "*" if info.current else "",
            info.name,
            manifest.created_at if manifest else "",
            _size(manifest.bytes) if manifest else "",
            *(f"{counts[key]:,}" if key in counts else "" for key in counted),
            "damaged" if info.problem else "current" if info.current else "",
        )
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # a pipe has no width to fold a line for
        console.width = 1000
    console.print(table)
    for info in found:
        if info.problem:
            click.echo(f"{info.name}: {info.problem}")


def _size(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
