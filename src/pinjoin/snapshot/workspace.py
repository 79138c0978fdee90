"""The folder that holds the snapshots of one catalogue.

WORKSPACE/current                  the name of the snapshot in use
WORKSPACE/snapshots/<name>/        immutable, complete
WORKSPACE/snapshots/.building-*/   a build at work, or what a killed one left
WORKSPACE/snapshots/.removing-*/   a removal at work, or what a killed one left
WORKSPACE/.lock                    held by whoever changes any of these
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pinjoin.core.errors import SnapshotError
from pinjoin.snapshot.disk import disk_errors, sync_directory, write_durably
from pinjoin.snapshot.manifest import SNAPSHOT_NAME

BUILDING, REMOVING = ".building-", ".removing-"
_NEXT = ".current.next"


def snapshots_folder(workspace: Path) -> Path:
    """Where the snapshots lie."""
    return workspace / "snapshots"


def snapshot_names(workspace: Path) -> list[str]:
    """The names of all snapshots, damaged ones included, newest first."""
    folder = snapshots_folder(workspace)
    if not folder.is_dir():
        return []
    with disk_errors("Listing", folder):
        found = [p.name for p in folder.iterdir() if SNAPSHOT_NAME.fullmatch(p.name) and p.is_dir()]
    return sorted(found, reverse=True)


def current_name(workspace: Path) -> str | None:
    """The name in `current`, whether or not there is such a snapshot; None without the file."""
    path = workspace / "current"
    with disk_errors("Reading", path):
        try:
            name = path.read_text("utf-8", errors="replace").strip()
        except FileNotFoundError:
            return None
    if not SNAPSHOT_NAME.fullmatch(name):
        raise SnapshotError(
            f"{path} does not hold the name of a snapshot. Got {name[:80]!r}. "
            f"{ways_on(workspace, snapshot_names(workspace))}"
        )
    return name


def ways_on(workspace: Path, names: list[str]) -> str:
    """What to do when the snapshot in use cannot be opened, given the others."""
    if not names:
        return f"There is no other snapshot: build one with `pinjoin build {workspace} …`."
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return (
        f"Go back with `pinjoin snapshots rollback {workspace}`, or choose one with "
        f"`--to NAME`. There: {shown}."
    )


def require_workspace(workspace: Path) -> None:
    """Raise a SnapshotError unless `workspace` is a folder."""
    if not workspace.is_dir():
        kind = "is not a folder" if workspace.exists() else "does not exist"
        raise SnapshotError(
            f"The workspace {workspace} {kind}. Make one with "
            f"`pinjoin build {workspace} --pins PINS --boards BOARDS`."
        )


def prepare_switch(workspace: Path, name: str) -> None:
    """Write what `current` will hold, so that `switch` needs no more room on the disk."""
    write_durably(workspace / _NEXT, f"{name}\n".encode())


def switch(workspace: Path) -> None:
    """Make the prepared name the current one, atomically and durably."""
    (workspace / _NEXT).replace(workspace / "current")
    sync_directory(workspace)


@contextmanager
def locked(workspace: Path) -> Iterator[None]:
    """Hold the workspace's lock; a SnapshotError says who holds it already.

    The kernel drops the lock when its holder dies, however it dies.
    """
    path = workspace / ".lock"
    with disk_errors("Locking", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise SnapshotError(
                f"Another process (id {holder}) is changing the workspace {workspace}. "
                "Wait until it is done, or end it."
            ) from None
        with disk_errors("Locking", path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(workspace: Path) -> None:
    """Remove what killed builds and removals left. Only for the holder of the lock."""
    for prefix in (BUILDING, REMOVING):
        for path in snapshots_folder(workspace).glob(f"{prefix}*"):
            remove_tree(path)
    with suppress(FileNotFoundError):
        (workspace / _NEXT).unlink()


def remove_tree(path: Path) -> None:
    """Remove a folder; of a symbolic link only the link."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)
