"""Nearest by Hamming distance in very large catalogues: an HNSW graph (Malkov & Yashunin, 2016).

usearch keeps it: chosen by measurement (`benchmarks/nearest.py`). It is mapped from its bytes, not
loaded. Rows are numbered anew by every build, so the graph numbers its codes by when they came and
keeps the row of each beside it: the next build takes the graph over, adds what is new, and only
renumbers the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from pinjoin.candidates.nearest import (
    Bools,
    ExactHamming,
    UInt8s,
    UInt16s,
    as_code,
    as_codes,
    check_allowed,
    without,
)
from pinjoin.candidates.sketched import SketchedHamming, nearest_of
from pinjoin.core.cores import cores
from pinjoin.core.errors import ConfigError, SnapshotError, check
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import NO_ROW, UInt32s

_CONNECTIVITY, _EXPANSION_ADD = 16, 128
_SCANNED_PER_VIEWED = 150_000  # bytes a scan reads while the graph is walked for one code in view
_BLOCK = 10_000
_RARE = 0.1  # below this share of allowed codes, to scan them is cheaper
_STALE = 0.2  # above this share of codes that are no longer there, a graph is built afresh


@dataclass(frozen=True)
class StoredGraph:
    """A graph as it is kept: bytes of usearch's, uint8, and of each code in it, in the order they
    came, its row, (codes,) uint32; NO_ROW where it is no longer in the catalogue."""

    bytes: UInt8s
    rows: UInt32s


class ApproximateHamming:
    """A `HammingIndex` that compares with few of the codes: recall@100 ≥ 0.95 at 1 M.

    Distances are exact, their rows ranked as everywhere; what is approximate is whether all of the
    nearest come. Which rows do may differ between builds on more than one thread. Only rows that
    are in the graph come. scan: what searches where the graph does not pay (a rare filter, a long
    list); ExactHamming if None. Thread-safe.
    """

    def __init__(
        self, codes: UInt8s, graph: Any, rows: UInt32s, scan: SketchedHamming | None = None
    ) -> None:
        self.exact = ExactHamming(codes)
        self._scan = scan or self.exact
        self._scanned = codes.nbytes if scan is None else scan.sketches.nbytes
        self._graph, self._rows = graph, rows
        self.n_added = 0  # by `build`, beside those of an earlier graph
        self._mapped: UInt8s | None = None  # usearch does not keep what it views alive
        self._lock = threading.Lock()  # one scratch serves all of a graph's searches
        there = rows[rows != NO_ROW]
        if len(there) and int(there.max()) >= len(codes):
            raise SnapshotError(
                f"The index of pictures has row {there.max()}, of codes there are {len(codes)}: "
                "build the snapshot again."
            )
        self._present = np.zeros(len(codes), np.bool_)
        self._present[there] = True

    @classmethod
    def build(
        cls,
        codes: UInt8s,
        present: Bools | None = None,
        earlier: StoredGraph | None = None,
        *,
        threads: int | None = None,
        progress: Progress = silent,
    ) -> ApproximateHamming:
        """Index (n, bits / 8) uint8 codes.

        present: (n,) bool, which rows; all if None. earlier: a graph to add to, with the rows that
        its codes have now; not taken if a fifth of them are gone. Raises ConfigError if usearch is
        not installed, SnapshotError if `earlier` cannot be read.
        """
        check(threads is None or threads >= 1, "threads", "build", "≥ 1 or None", threads)
        codes = as_codes(codes)
        new = np.ones(len(codes), np.bool_) if present is None else present.copy()
        graph, rows = _graph(codes.shape[1] * 8), np.empty(0, np.uint32)
        if earlier is not None and np.mean(earlier.rows == NO_ROW) <= _STALE:
            _read(graph, graph.load, earlier)
            rows = earlier.rows
            new[rows[rows != NO_ROW]] = False
        added = np.flatnonzero(new).astype(np.uint32)
        with progress("indexing pictures", len(added)) as advance:
            for first in range(0, len(added), _BLOCK):
                block = added[first : first + _BLOCK]
                numbers = np.arange(first, first + len(block)) + len(rows)
                graph.add(numbers, codes[block], threads=threads or cores())
                advance(len(block))
        built = cls(codes, graph, np.concatenate([rows, added]))
        built.n_added = len(added)
        return built

    @classmethod
    def open(
        cls, stored: StoredGraph, codes: UInt8s, scan: SketchedHamming | None = None
    ) -> ApproximateHamming:
        """A graph of these codes as `stored` gave it; its bytes may be memory-mapped.

        Raises ConfigError without usearch, SnapshotError if it is none or of other codes.
        """
        graph = _graph(as_codes(codes).shape[1] * 8)
        _read(graph, graph.view, stored)
        opened = cls(codes, graph, stored.rows, scan)
        opened._mapped = stored.bytes
        return opened

    def stored(self) -> StoredGraph:
        """What to keep of it: a copy of some 1.3 times the bytes of the codes."""
        return StoredGraph(np.frombuffer(self._graph.save(), np.uint8), self._rows)

    @property
    def bits(self) -> int:
        return self.exact.bits

    def __len__(self) -> int:
        return len(self.exact)

    def search(
        self,
        code: UInt8s,
        k: int,
        *,
        exclude: Sequence[int] = (),
        allowed: Bools | None = None,
    ) -> tuple[UInt32s, UInt16s]:
        """As `HammingIndex.search`, but for some of the nearest that may be missed."""
        check(k >= 1, "k", "ApproximateHamming.search", "a number ≥ 1", k)
        as_code(code, self.bits)
        check_allowed(allowed, len(self))
        wanted = k + len(exclude)
        mask = self._present if allowed is None else self._present & allowed
        share = np.count_nonzero(mask) / max(len(self._rows), 1)
        near = self._walk(code, wanted, share)
        near = near[mask[near]]
        if len(near) < wanted:
            return self._scan.search(code, k, exclude=exclude, allowed=mask)
        rows, distances = nearest_of(self.exact, code, near, wanted)
        return without(rows, distances, exclude, k)

    def _walk(self, code: UInt8s, k: int, share: float) -> UInt32s:
        """Rows near to a code, enough for k of them to be among a share of all; none if a scan is
        cheaper."""
        if share < _RARE:
            return np.empty(0, np.uint32)
        wanted = k if share == 1.0 else int(k * (2 - share) / share) + 10  # what is near is alike
        if _expansion(wanted) * _SCANNED_PER_VIEWED >= self._scanned:
            return np.empty(0, np.uint32)
        with self._lock:
            self._graph.expansion_search = _expansion(wanted)
            found = self._graph.search(np.ascontiguousarray(code), wanted, threads=1)
        rows = self._rows[np.asarray(found.keys, np.int64)]
        still: UInt32s = rows[rows != NO_ROW]
        return still


def has_usearch() -> bool:
    """Whether graphs can be built and opened."""
    return find_spec("usearch") is not None


def _expansion(k: int) -> int:
    """How many codes to keep in view for the nearest k. At 1 M codes of 4,096 bits recall@100 is
    .937 in view of 300, .951 of 400, .979 of 800, recall@1,000 .913 of 2,000, .956 of 3,000."""
    return 100 + 3 * k


def _graph(bits: int) -> Any:
    try:
        from usearch.index import Index
    except ImportError:
        raise ConfigError(
            "An index of pictures needs usearch. Install it: pip install 'pinjoin[ann]'"
        ) from None
    return Index(
        ndim=bits,
        metric="hamming",
        dtype="b1",
        connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION_ADD,
    )


def _read(graph: Any, read: Callable[[UInt8s], None], stored: StoredGraph) -> None:
    """Make a graph what was stored: `read` is its own `load` or `view`."""
    bits = graph.ndim
    try:
        read(stored.bytes)
    except (RuntimeError, ValueError, OSError) as error:
        raise SnapshotError(
            f"The index of pictures cannot be read ({error}): build the snapshot again."
        ) from None
    if graph.ndim != bits or len(graph) != len(stored.rows):
        raise SnapshotError(
            f"The index of pictures is of {len(graph)} codes of {graph.ndim} bits, expected were "
            f"{len(stored.rows)} of {bits} bits: build the snapshot again."
        )
