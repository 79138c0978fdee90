"""Write a snapshot beside the others, make sure of it, and only then switch to it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import pinjoin
from pinjoin.core.errors import ConfigError, check
from pinjoin.core.progress import Progress, silent
from pinjoin.snapshot.arrays import create_array_file, write_array_file
from pinjoin.snapshot.disk import disk_errors, sync_directory, sync_file, write_durably
from pinjoin.snapshot.manifest import (
    FILE_NAME,
    FORMAT_VERSION,
    MANIFEST_FILE,
    FileEntry,
    Manifest,
    now,
)
from pinjoin.snapshot.reader import Snapshot, check_readable, digests, write_stamp
from pinjoin.snapshot.tables import TableWriter, map_table_file
from pinjoin.snapshot.workspace import (
    BUILDING,
    locked,
    prepare_switch,
    remove_leftovers,
    remove_tree,
    snapshot_names,
    snapshots_folder,
    switch,
)

_TIME = "%Y%m%dT%H%M%SZ"


class SnapshotWriter:
    """A snapshot in the making; nothing of it can be seen before `commit`.

    Use as a context manager. Leaving without `commit` (an error, Ctrl-C) removes it; a killed
    process leaves a hidden folder that the next build removes. In every case the snapshot that
    was current stays so. Identical input gives byte-identical data files: arrays are stored in
    C order and little-endian, tables in batches of their own size, with nothing under nulls.

    Raises SnapshotError when the disk is full or not writable, or when another build runs.
    """

    def __init__(self, workspace: Path | str, config: Mapping[str, Any], input_hash: str) -> None:
        self.workspace = Path(workspace)
        try:
            self._config = json.loads(json.dumps(config, sort_keys=True))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"The config of a snapshot must be JSON: {error}.") from None
        self._input_hash = input_hash
        self._cleanup = ExitStack()
        self._files: set[str] = set()
        self._maps: list[np.memmap[Any, Any]] = []
        self._tables: list[TableWriter] = []
        self._folder: Path | None = None

    def __enter__(self) -> SnapshotWriter:
        snapshots = snapshots_folder(self.workspace)
        with self._cleanup:  # undone if anything below fails
            with disk_errors("Making the folder", snapshots):
                snapshots.mkdir(parents=True, exist_ok=True)
            self._cleanup.enter_context(locked(self.workspace))
            with disk_errors("Clearing what a killed build left in", snapshots):
                remove_leftovers(self.workspace)
            self.name = self._next_name()
            folder = snapshots / f"{BUILDING}{self.name}"
            with disk_errors("Making the folder", folder):
                folder.mkdir()
            self._folder = folder
            self._cleanup.callback(self._discard)
            self._cleanup = self._cleanup.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def save_array(self, name: str, array: npt.ArrayLike) -> None:
        """Store an array as `<name>.npy`."""
        path = self._new_file(f"{name}.npy")
        with disk_errors("Writing", path):
            write_array_file(path, np.asarray(array))

    def create_array(
        self, name: str, dtype: npt.DTypeLike, shape: int | tuple[int, ...]
    ) -> np.memmap[Any, Any]:
        """Make `<name>.npy`, zeroed, for the caller to fill in place before `commit`.

        Its room on the disk is taken now, so that a full disk is an error here and not a crash
        on writing to the memory.
        """
        path = self._new_file(f"{name}.npy")
        with disk_errors("Writing", path):
            array = create_array_file(path, np.dtype(dtype), shape)
        self._maps.append(array)
        return array

    def save_table(self, name: str, table: pa.Table) -> None:
        """Store a table as `<name>.arrow`: an uncompressed, memory-mappable Arrow IPC file."""
        with self.open_table(name, table.schema) as writer:
            writer.write_table(table)

    def open_table(self, name: str, schema: pa.Schema) -> TableWriter:
        """As `save_table`, batch by batch; `commit` closes it if the caller has not."""
        writer = TableWriter(self._new_file(f"{name}.arrow"), schema)
        self._tables.append(writer)
        return writer

    def drop_table(self, name: str) -> None:
        """Forget a table that is stored and closed, so that another may have its name. Who has
        mapped it keeps it."""
        path = self._building() / f"{name}.arrow"
        with disk_errors("Removing", path):
            path.unlink()
        self._files.remove(path.name)

    def table(self, name: str) -> pa.Table:
        """A table already stored and closed, mapped: what was streamed out can be read again."""
        path = self._building() / f"{name}.arrow"
        with disk_errors("Reading", path):
            return map_table_file(path)

    def so_far(self) -> Snapshot:
        """What is stored and closed already, mapped: to make further files from it."""
        folder = self._building()
        files = {file: FileEntry(0, "") for file in self._files}
        return Snapshot(folder, replace(self._manifest_of({}), files=files))

    def save_json(self, name: str, obj: Any) -> None:
        """Store `<name>.json` with sorted keys."""
        path = self._new_file(f"{name}.json")
        text = json.dumps(obj, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        with disk_errors("Writing", path):
            path.write_text(text, "utf-8")

    def commit(self, counts: Mapping[str, int], progress: Progress = silent) -> Path:
        """Sync, verify by reading again, rename, switch `current`; returns the snapshot's path.

        The workspace is free for others afterwards, and this writer takes no more files.
        """
        folder = self._building()
        for table in self._tables:
            table.close()
        with disk_errors("Writing", folder):
            for array in self._maps:
                array.flush()
            for file in sorted(self._files):
                sync_file(folder / file)
        for file in sorted(self._files):
            check_readable(folder / file)
        manifest = self._manifest(counts, folder, progress)
        target = folder.with_name(self.name)
        with disk_errors("Writing", folder):
            write_durably(folder / MANIFEST_FILE, manifest.to_json().encode())
            write_stamp(folder, manifest)
            sync_directory(folder)
            prepare_switch(self.workspace, self.name)
            folder.rename(target)
            self._folder = None
            sync_directory(target.parent)
            switch(self.workspace)
            sync_directory(self.workspace.absolute().parent)
        self._cleanup.close()
        return target

    def _manifest(self, counts: Mapping[str, int], folder: Path, progress: Progress) -> Manifest:
        sizes = {file: (folder / file).stat().st_size for file in sorted(self._files)}
        hashes = digests(folder, sizes, progress, "verifying the snapshot")
        files = {file: FileEntry(sizes[file], hashes[file]) for file in sizes}
        return replace(self._manifest_of(counts), files=files)

    def _manifest_of(self, counts: Mapping[str, int]) -> Manifest:
        return Manifest(
            format_version=FORMAT_VERSION,
            name=self.name,
            created_at=now(),
            pinjoin_version=pinjoin.__version__,
            config=self._config,
            input_hash=self._input_hash,
            counts={key: int(count) for key, count in counts.items()},
            files={},
        )

    def _next_name(self) -> str:
        """Later than every name there, even if the clock went back or builds take no time."""
        time = datetime.now(UTC).replace(microsecond=0)
        for name in snapshot_names(self.workspace)[:1]:
            last = datetime.strptime(name.split("-")[0], _TIME).replace(tzinfo=UTC)
            time = max(time, last + timedelta(seconds=1))
        identity = json.dumps([self._input_hash, self._config], sort_keys=True)
        return f"{time.strftime(_TIME)}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"

    def _new_file(self, file: str) -> Path:
        folder = self._building()
        check(
            re.fullmatch(FILE_NAME, file) is not None and file != MANIFEST_FILE,
            "name",
            "SnapshotWriter",
            "letters, digits, '_', '-' and '.', and not 'manifest'",
            file,
        )
        check(file not in self._files, "name", "SnapshotWriter", "new to this snapshot", file)
        self._files.add(file)
        return folder / file

    def _building(self) -> Path:
        if self._folder is None:
            raise ConfigError(
                "This SnapshotWriter takes no files: use it inside its `with` block, "
                "before `commit`."
            )
        return self._folder

    def _discard(self) -> None:
        """Close and remove what was not committed."""
        for table in self._tables:
            table.abandon()
        if self._folder is not None:
            folder, self._folder = self._folder, None
            with disk_errors("Removing", folder):
                remove_tree(folder)
