"""Which index of its pictures' codes a snapshot gets, and what it is searched with.

Few codes are scanned, more by sketches, which cost a build nothing. A graph takes long to build
(1 M codes: 20 minutes on two cores), so it is made only where it is faster than both, and handed
on from build to build.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.candidates.approximate import ApproximateHamming, StoredGraph, has_usearch
from pinjoin.candidates.nearest import ExactHamming, HammingIndex
from pinjoin.candidates.sketched import SKETCH_BYTES, SketchedHamming, sketches_of
from pinjoin.core.errors import ConfigError, SnapshotError
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import NO_ROW, UInt32s
from pinjoin.snapshot.reader import Snapshot, open_snapshot
from pinjoin.snapshot.writer import SnapshotWriter

IndexChoice = Literal["auto", "never"]
"""Whether a graph is built where it pays (and usearch is installed)."""

EXACT_BYTES = 64 << 20
"""Up to so many bytes of codes a scan takes some 5 ms on one core: exact is fast enough."""

GRAPH_FROM = 4_000_000
"""From so many pictures on, the nearest 1,000 come sooner from a graph than from sketches."""

_GRAPH, _ROWS, _SKETCHES = "visual.graph", "visual.graph.rows", "visual.sketches"
_BLOCK = 1 << 16  # codes compared at once

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Indexed:
    """What became of the graph of a build."""

    pictures: int = 0  # that can be found in it
    added: int = 0  # of these, those that the snapshot before did not have
    missing: bool = False  # there is none though it would pay: usearch is not installed


def save_index(writer: SnapshotWriter, choice: IndexChoice, progress: Progress = silent) -> Indexed:
    """Store what `open_index` opens, for pictures that are stored already.

    What the graph of the workspace's current snapshot has of the same images with the same codes
    is taken over, not indexed again.
    """
    stored = writer.so_far()
    codes, n = stored.array("visual.bits"), int(stored.array("visual.present").sum())
    if codes.nbytes > EXACT_BYTES and codes.shape[1] > SKETCH_BYTES:
        writer.save_array(_SKETCHES, sketches_of(codes))
    if choice == "never" or n < GRAPH_FROM:
        return Indexed()
    if not has_usearch():
        return Indexed(missing=True)
    index = _graph(stored, _current(writer), progress)
    graph = index.stored()
    writer.save_array(_GRAPH, graph.bytes)
    writer.save_array(_ROWS, graph.rows)
    return Indexed(n, index.n_added)


def open_index(snapshot: Snapshot) -> HammingIndex:
    """What to search the pictures of a snapshot with. Arrays are mapped, not loaded.

    A graph that cannot be opened here (no usearch, or one that does not read it) is a warning in
    the log, and pictures are scanned.
    """
    codes, scan = snapshot.array("visual.bits"), None
    if snapshot.has(_SKETCHES):
        scan = SketchedHamming(codes, snapshot.array(_SKETCHES))
    if snapshot.has(_GRAPH):
        stored = StoredGraph(snapshot.array(_GRAPH), snapshot.array(_ROWS))
        try:
            return ApproximateHamming.open(stored, codes, scan)
        except (ConfigError, SnapshotError) as error:
            _log.warning("%s Until then neighbours by picture are scanned for.", error)
    return scan or ExactHamming(codes)


def _current(writer: SnapshotWriter) -> Snapshot | None:
    try:
        return open_snapshot(writer.workspace)
    except SnapshotError:  # there is none yet, or none that could be trusted
        return None


def _graph(stored: Snapshot, before: Snapshot | None, progress: Progress) -> ApproximateHamming:
    codes, present = stored.array("visual.bits"), stored.array("visual.present").view(np.bool_)
    earlier = _taken_over(before, stored) if before is not None else None
    try:
        return ApproximateHamming.build(codes, present, earlier, progress=progress)
    except SnapshotError as error:
        if earlier is None:
            raise
        _log.warning("%s That is being done.", error)
        return ApproximateHamming.build(codes, present, progress=progress)


def _taken_over(before: Snapshot, stored: Snapshot) -> StoredGraph | None:
    """The graph of an earlier snapshot, with the rows that its codes have now."""
    if not before.has(_GRAPH):
        return None
    old_codes, old_rows = before.array("visual.bits"), before.array(_ROWS)
    codes, present = stored.array("visual.bits"), stored.array("visual.present").view(np.bool_)
    if old_codes.shape[1] != codes.shape[1]:
        return None
    now = _rows_now(before.table("images")["signature"], stored.table("images")["signature"])
    rows = np.full(len(old_rows), NO_ROW, np.uint32)
    known = old_rows != NO_ROW
    rows[known] = now[old_rows[known]]
    kept = np.flatnonzero(rows != NO_ROW)
    for first in range(0, len(kept), _BLOCK):
        at = kept[first : first + _BLOCK]
        same = (old_codes[old_rows[at]] == codes[rows[at]]).all(axis=1) & present[rows[at]]
        rows[at[~same]] = NO_ROW
    return StoredGraph(before.array(_GRAPH), rows)


def _rows_now(old: pa.ChunkedArray, new: pa.ChunkedArray) -> UInt32s:
    """The row of each of the old signatures among the new; NO_ROW where it is not there."""
    found: Any = pc.fill_null(pc.index_in(old, value_set=new.cast(old.type)), -1)
    rows: UInt32s = found.to_numpy().astype(np.uint32)  # -1 becomes NO_ROW
    return rows
