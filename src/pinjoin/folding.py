"""The live part of a workspace, as rows that a build reads after those of its sources.

What was saved and made since joins them; what was taken down leaves both. A build reads everything
up to one sequence of the database and notes that in its snapshot: what comes later is live on top
of it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import InputError, PinjoinError
from pinjoin.core.progress import Progress, silent
from pinjoin.data.rejects import Rejects
from pinjoin.data.sources import Source
from pinjoin.joins.pinjoins import Pins
from pinjoin.live import live_database
from pinjoin.snapshot.writer import SnapshotWriter

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folded:
    """What a build took from a live database."""

    saves: int  # live pins that were read, beside those of the sources
    boards: int
    takedowns: int  # of pins, boards and images
    removed_pins: int  # by them, of the sources and live ones
    removed_boards: int


class FoldedSource:
    """A source's rows, then live ones, but for those taken down. A `Source`.

    added, removed: how many live rows the last pass gave, and how many rows it left out.
    """

    def __init__(
        self, source: Source | None, live: pa.Table, gone: Mapping[str, pa.Array], stamp: str
    ) -> None:
        """live: in the canonical columns. gone: ids by column; rows that have one are left out.
        stamp: names the state of the live database that they are from."""
        self.name = "the live part" if source is None else f"{source.name} and the live part"
        self.schema: pa.Schema = live.schema if source is None else source.schema
        self.added, self.removed = 0, 0
        self._source, self._live, self._gone, self._stamp = source, live, gone, stamp

    def batches(self, rejects: Rejects, progress: Progress = silent) -> Iterator[pa.RecordBatch]:
        """See `Source.batches`."""
        self.added, self.removed, given = 0, 0, 0
        if self._source is not None:
            for batch in self._source.batches(rejects, progress):
                if (left := self._left_of(batch)).num_rows:
                    given += left.num_rows
                    yield left
        for batch in self._live_batches():
            if (left := self._left_of(batch)).num_rows:
                self.added += left.num_rows
                yield left
        if not given + self.added:
            raise InputError(
                f"{self.name}: no row is left; {self.removed:,} were taken down. Name a source "
                "(--pins and --boards), or save something first."
            )

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the source's own and the stamp."""
        own = "" if self._source is None else self._source.fingerprint()
        return hashlib.sha256(f"{own}\n{self._stamp}".encode()).hexdigest()

    def _live_batches(self) -> Iterator[pa.RecordBatch]:
        """With the source's columns: its features and attributes are unknown of live rows."""
        for batch in self._live.to_batches():
            arrays = [
                batch[field.name] if field.name in batch.schema.names
                else pa.nulls(batch.num_rows, field.type)
                for field in self.schema
            ]  # fmt: skip
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _left_of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        before = batch.num_rows
        for column, ids in self._gone.items():
            if len(ids):
                batch = batch.filter(pc.invert(pc.is_in(batch[column], ids)))
        self.removed += before - batch.num_rows
        return batch


class LivePart:
    """What a live database holds up to a sequence, for one build. Made by `read_live`."""

    def __init__(self, where: Path | str, pins: Source | None, boards: Source | None) -> None:
        """pins, boards: what else is built from, if anything."""
        from pinjoin.live.store import open_store

        self._where = where
        with open_store(where) as store:
            part = store.read_all()
        self.manifest: dict[str, str | int] = {
            "identity": part.identity, "sequence": part.sequence,
        }  # fmt: skip
        kinds, ids = part.deletions["kind"], part.deletions["id"]
        gone = {kind: ids.filter(pc.equal(kinds, kind)) for kind in ("pin", "board", "image")}
        self._gone_images = gone["image"]
        stamp = f"{part.identity} {part.sequence}"
        on_boards = {"board_id": gone["board"]}
        self.pins = FoldedSource(pins, part.pins, {"pin_id": gone["pin"], **on_boards}, stamp)
        self.boards = FoldedSource(boards, part.boards, on_boards, stamp)
        self._takedowns = part.deletions.num_rows

    def has_taken_down(self, signatures: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """(signatures,) bool: whether each is of an image that was taken down; not if null."""
        found: npt.NDArray[np.bool_] = pc.is_in(signatures, self._gone_images).to_numpy(
            zero_copy_only=False
        )
        return found

    def summary(self, of_images: int) -> Folded:
        """What came of it; of_images: pins that a build removed with their images."""
        return Folded(
            saves=self.pins.added,
            boards=self.boards.added,
            takedowns=self._takedowns,
            removed_pins=self.pins.removed + of_images,
            removed_boards=self.boards.removed,
        )

    def mark_folded(self) -> None:
        """Let the database know that a snapshot has all of it, so that it may be pruned."""
        from pinjoin.live.store import open_store

        try:
            with open_store(self._where) as store:
                if store.identity == self.manifest["identity"]:
                    store.mark_folded(int(self.manifest["sequence"]))
        except PinjoinError as error:  # the snapshot is there, and right
            _log.warning("%s The build is done, but the database was not told.", error)


def drop_references(writer: SnapshotWriter, pins: Pins, gone: npt.NDArray[np.bool_]) -> Pins:
    """Take some references, gone (references,) bool, and their pins out of what was read, and out
    of the stored table of pins."""
    if not gone.any():
        return pins
    kept, stored, first = ~gone[pins.references], writer.table("pins"), 0
    if not kept.any():
        raise InputError("Every image was taken down: there is nothing to build from.")
    writer.drop_table("pins")
    with writer.open_table("pins", stored.schema) as sink:
        for batch in stored.to_batches():
            sink.write_batch(batch.filter(pa.array(kept[first : first + batch.num_rows])))
            first += batch.num_rows
    return pins.without_references(gone)


def read_live(
    workspace: Path, database: Path | str | None, pins: Source | None, boards: Source | None
) -> LivePart | None:
    """The live part of a workspace; None where there is none.

    database: a file or URL; None: WORKSPACE/live.db, if it is there. Raises InputError for a file
    that is not there, ConfigError where what is needed to read it is not installed.
    """
    where = live_database(workspace, database)
    if isinstance(where, Path) and not where.exists():
        if database is None:
            return None
        raise InputError(f"There is no live database {where}: `pinjoin serve` makes it.")
    return LivePart(where, pins, boards)
