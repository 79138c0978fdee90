"""Open a snapshot in constant time, and refuse a damaged one by the name of its file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import pyarrow as pa

from pinjoin.core.errors import SnapshotError, check
from pinjoin.core.progress import Progress, silent
from pinjoin.snapshot.arrays import map_array_file
from pinjoin.snapshot.disk import disk_errors, sha256
from pinjoin.snapshot.manifest import MANIFEST_FILE, SNAPSHOT_NAME, Manifest
from pinjoin.snapshot.tables import Rows, map_table_file
from pinjoin.snapshot.workspace import (
    current_name,
    require_workspace,
    snapshot_names,
    snapshots_folder,
    ways_on,
)

STAMP_FILE = ".verified.json"
_SMALL = 64 << 20  # bytes that are hashed on every opening, as it takes no time
_TICK = 0.02  # seconds; file times move in steps of up to 10 ms

Verify = Literal["auto", "full", "none"]


class Snapshot:
    """One immutable state of a catalogue: arrays and tables, memory-mapped, read-only."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.name = manifest.name
        self.manifest = manifest
        self._opened: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Snapshot({str(self.path)!r})"

    def has(self, name: str) -> bool:
        """Whether there is an array, a table or a JSON file of this name."""
        return any(f"{name}.{ending}" in self.manifest.files for ending in _OPENERS)

    def array(self, name: str) -> npt.NDArray[Any]:
        """A read-only array; its pages are read when used."""
        return self._open(name, "npy")  # type: ignore[no-any-return]

    def table(self, name: str) -> pa.Table:
        """A table over the mapped file, without copies."""
        return self._open(name, "arrow")

    def rows(self, name: str) -> Rows:
        """Fast access to single rows of a table."""
        key = f"{name} rows"
        if key not in self._opened:
            self._opened[key] = Rows(self.table(name))
        return self._opened[key]  # type: ignore[no-any-return]

    def json(self, name: str) -> Any:
        """What was given to `save_json`."""
        return self._open(name, "json")

    def _open(self, name: str, ending: str) -> Any:
        file = f"{name}.{ending}"
        if file not in self._opened:
            if file not in self.manifest.files:
                raise SnapshotError(
                    f"The snapshot {self.name}, made by pinjoin {self.manifest.pinjoin_version}, "
                    f"has no {file}. It has: {', '.join(sorted(self.manifest.files))}. If it was "
                    "made by an earlier pinjoin, build again: `pinjoin build WORKSPACE …`."
                )
            self._opened[file] = check_readable(self.path / file)
        return self._opened[file]


def open_snapshot(
    workspace: Path | str, name: str | None = None, verify: Verify = "auto"
) -> Snapshot:
    """Open the snapshot in use, or the one of the given name.

    `verify="auto"` hashes only files that changed since they were last found good, by size,
    times and inode (and everything if it is ≤ 64 MiB together), so that opening takes the same
    time whatever the size of the catalogue; "full" hashes all; "none" looks at sizes only.
    Where that finding cannot be stored (a read-only workspace), "auto" hashes each time.

    Raises SnapshotError, with the way on: no workspace, nothing built, `current` naming
    nothing, a missing, truncated or damaged file, a format this version does not know.
    """
    check(
        verify in ("auto", "full", "none"), "verify", "open_snapshot", "auto, full or none", verify
    )
    workspace = Path(workspace)
    path = _snapshot_path(workspace, name)
    try:
        manifest = read_manifest(path)
        _verify(path, manifest, verify, silent)
    except SnapshotError as error:
        others = [other for other in snapshot_names(workspace) if other != path.name]
        raise SnapshotError(f"{error} {ways_on(workspace, others)}") from error
    return Snapshot(path, manifest)


def verify_snapshot(path: Path | str, progress: Progress = silent) -> Manifest:
    """Hash every file of the snapshot at `path`; a SnapshotError names those that are wrong."""
    path = Path(path)
    manifest = read_manifest(path)
    _verify(path, manifest, "full", progress)
    return manifest


def extra_files(path: Path, manifest: Manifest) -> list[str]:
    """Files in a snapshot's folder that are none of its own. They are never read."""
    known = {MANIFEST_FILE, *manifest.files}
    with disk_errors("Listing", path):
        found = sorted(entry.name for entry in path.iterdir() if entry.name not in known)
    return [name for name in found if not name.startswith(STAMP_FILE)]


def read_manifest(path: Path) -> Manifest:
    """The manifest of the snapshot at `path`, checked, with every file there in full size."""
    where = path / MANIFEST_FILE
    try:
        text = where.read_text("utf-8")
    except FileNotFoundError:
        raise SnapshotError(f"{where} is missing: {path} is not a whole snapshot.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SnapshotError(f"{where} cannot be read: {error}.") from None
    manifest = Manifest.from_json(text, where)
    if manifest.name != path.name:
        raise SnapshotError(
            f"The folder {path} holds the snapshot {manifest.name}. Give it that name again."
        )
    problems = [_size_problem(path / f, entry.bytes) for f, entry in manifest.files.items()]
    _raise_for(manifest.name, [problem for problem in problems if problem])
    return manifest


def check_readable(path: Path) -> Any:
    """Open a snapshot's file by its ending; a SnapshotError if its structure is broken."""
    try:
        return _OPENERS[path.suffix[1:]](path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SnapshotError(f"{path} cannot be opened: {error}.") from error


def digests(
    folder: Path, sizes: Mapping[str, int], progress: Progress, what: str
) -> dict[str, str]:
    """The SHA-256 of each file, several at a time, the largest first."""
    files = sorted(sizes, key=lambda file: -sizes[file])
    with (
        progress(f"{what} (bytes)", sum(sizes.values())) as advance,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        disk_errors("Reading", folder),
    ):
        found = {}
        for file, digest in zip(files, pool.map(sha256, (folder / f for f in files)), strict=True):
            found[file] = digest
            advance(sizes[file])
    return found


def write_stamp(
    path: Path, manifest: Manifest, stats: Mapping[str, list[int]] | None = None
) -> None:
    """Remember that the files, as they are now, were found good.

    In a file of its own beside them; it is only ever a shortcut, so whatever is wrong with it
    costs a check and nothing else.
    """
    stats = stats or {file: _stat(path / file) for file in manifest.files}
    stamp = {file: [*stats[file], entry.sha256] for file, entry in manifest.files.items()}
    temporary = path / f"{STAMP_FILE}.{os.getpid()}"
    with suppress(OSError):
        temporary.write_text(json.dumps(stamp), "utf-8")
        temporary.replace(path / STAMP_FILE)


def _snapshot_path(workspace: Path, name: str | None) -> Path:
    require_workspace(workspace)
    names = snapshot_names(workspace)
    wanted = name
    if wanted is None:
        wanted = current_name(workspace)
        if wanted is None and not names:
            raise SnapshotError(
                f"The workspace {workspace} is empty: nothing was built yet. Run "
                f"`pinjoin build {workspace} --pins PINS --boards BOARDS`."
            )
        if wanted is None:
            raise SnapshotError(
                f"The workspace {workspace} has no current snapshot. {ways_on(workspace, names)}"
            )
    if wanted not in names or not SNAPSHOT_NAME.fullmatch(wanted):
        source = f"{workspace / 'current'} names" if name is None else "You asked for"
        raise SnapshotError(
            f"{source} the snapshot {wanted!r}, which is not in {snapshots_folder(workspace)}. "
            f"{ways_on(workspace, names)}"
        )
    return snapshots_folder(workspace) / wanted


def _verify(path: Path, manifest: Manifest, verify: Verify, progress: Progress) -> None:
    if verify == "none":
        return
    stats = {file: _stat(path / file) for file in manifest.files}
    stamp = _read_stamp(path) if verify == "auto" and manifest.bytes > _SMALL else {}
    doubtful = {
        file: entry.bytes
        for file, entry in manifest.files.items()
        if stamp.get(file) != [*stats[file], entry.sha256]
    }
    if not doubtful:
        return
    _let_times_settle(stats)
    found = digests(path, doubtful, progress, f"verifying {manifest.name}")
    _raise_for(
        manifest.name,
        [
            f"{path / file} has the SHA-256 {found[file][:16]}… where the manifest says "
            f"{manifest.files[file].sha256[:16]}…"
            for file in manifest.files
            if file in found and found[file] != manifest.files[file].sha256
        ],
    )
    if manifest.bytes > _SMALL:
        write_stamp(path, manifest, stats)


def _raise_for(name: str, problems: list[str]) -> None:
    if problems:
        raise SnapshotError(f"The snapshot {name} is damaged: {'; '.join(problems)}.")


def _size_problem(path: Path, expected: int) -> str | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    if not path.is_file():
        return f"{path} is not a file"
    if status.st_size != expected:
        return f"{path} has {status.st_size:,} bytes where it should have {expected:,}"
    return None


def _stat(path: Path) -> list[int]:
    """What changes whenever the file does. The inode's own time cannot be set back."""
    with disk_errors("Reading", path):
        status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read_stamp(path: Path) -> dict[str, Any]:
    try:
        stamp = json.loads((path / STAMP_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _let_times_settle(stats: Mapping[str, list[int]]) -> None:
    """Wait until a change made after hashing must show in the file's time."""
    newest = max((ctime for _, _, ctime, _ in stats.values()), default=0) / 1e9
    wait = newest + _TICK - time.time()
    if 0 < wait <= _TICK:
        time.sleep(wait)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


_OPENERS = {"npy": map_array_file, "arrow": map_table_file, "json": _read_json}
