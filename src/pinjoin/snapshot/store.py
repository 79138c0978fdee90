"""The snapshots of a workspace: list them, go back to an earlier one, remove old ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pinjoin.core.errors import SnapshotError, check
from pinjoin.core.progress import Progress, silent
from pinjoin.snapshot.disk import disk_errors, sync_directory
from pinjoin.snapshot.manifest import Manifest
from pinjoin.snapshot.reader import read_manifest, verify_snapshot
from pinjoin.snapshot.workspace import (
    REMOVING,
    current_name,
    locked,
    prepare_switch,
    remove_leftovers,
    remove_tree,
    require_workspace,
    snapshot_names,
    snapshots_folder,
    switch,
)


@dataclass(frozen=True)
class SnapshotInfo:
    """One line of the list: cheap to make, as no file is hashed for it."""

    name: str
    path: Path
    current: bool
    manifest: Manifest | None  # None if `problem` says why it cannot be opened
    problem: str | None


def list_snapshots(workspace: Path | str) -> list[SnapshotInfo]:
    """All snapshots, newest first, damaged ones included; empty if nothing was built."""
    workspace = Path(workspace)
    require_workspace(workspace)
    current = _current_or_none(workspace)
    return [_info(snapshots_folder(workspace) / n, current) for n in snapshot_names(workspace)]


def rollback(workspace: Path | str, to: str | None = None, progress: Progress = silent) -> Path:
    """Switch to the newest snapshot before the current one that verifies, or to `to`.

    Every byte of it is checked before the switch. Returns its path. Raises SnapshotError, and
    changes nothing, if there is none.
    """
    workspace = Path(workspace)
    require_workspace(workspace)
    names = snapshot_names(workspace)
    if to is not None and to not in names:
        raise SnapshotError(
            f"There is no snapshot {to!r} in {workspace}. There: {', '.join(names) or 'none'}."
        )
    with locked(workspace):
        current = _current_or_none(workspace)
        candidates = [to] if to else [n for n in names if current is None or n < current]
        refused = []
        for name in candidates:
            path = snapshots_folder(workspace) / name
            try:
                verify_snapshot(path, progress)
            except SnapshotError as error:
                refused.append(str(error))
                continue
            with disk_errors("Switching", workspace / "current"):
                prepare_switch(workspace, name)
                switch(workspace)
            return path
    raise SnapshotError(
        f"{workspace} has no good snapshot to go back to. "
        f"{' '.join(refused)} Build again with `pinjoin build {workspace} …`."
    )


def prune(workspace: Path | str, keep: int = 2) -> list[Path]:
    """Remove all but `keep` snapshots and return what was removed.

    Kept are the current one, always, and the newest others that are whole (their files are
    there in full size). If none is current, the newest whole ones.
    """
    check(keep >= 1, "keep", "prune", "at least 1: the current one is never removed", keep)
    workspace = Path(workspace)
    require_workspace(workspace)
    if not snapshots_folder(workspace).is_dir():
        return []
    with locked(workspace), disk_errors("Removing snapshots of", workspace):
        found = list_snapshots(workspace)
        kept = [info.name for info in found if info.current]
        whole = [info.name for info in found if not info.current and not info.problem]
        kept += whole[: keep - len(kept)]
        removed = [info.path for info in found if info.name not in kept]
        for path in removed:  # first out of sight, so that a half-removed one is never listed
            path.rename(path.with_name(f"{REMOVING}{path.name}"))
        sync_directory(snapshots_folder(workspace))
        for path in removed:
            remove_tree(path.with_name(f"{REMOVING}{path.name}"))
        remove_leftovers(workspace)
    return removed


def _info(path: Path, current: str | None) -> SnapshotInfo:
    manifest, problem = None, None
    try:
        manifest = read_manifest(path)
    except SnapshotError as error:
        problem = str(error)
    return SnapshotInfo(path.name, path, path.name == current, manifest, problem)


def _current_or_none(workspace: Path) -> str | None:
    """The current name, or None where `current` is missing or holds none."""
    try:
        return current_name(workspace)
    except SnapshotError:
        return None
