"""Nearest by Hamming distance in large catalogues: an HNSW graph (Malkov & Yashunin, 2016).

usearch keeps it: chosen by measurement (`benchmarks/nearest.py`). It is mapped from its file, not
loaded; codes added live are few, so they are scanned beside it, until the next build takes them
in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinjoin.candidates.nearest import (
    Bools,
    ExactHamming,
    HammingIndex,
    UInt8s,
    UInt16s,
    as_code,
    as_codes,
    listed_rows,
    without,
)
from pinjoin.core.cores import cores
from pinjoin.core.errors import ConfigError, SnapshotError, check
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import UInt32s

EXACT_BYTES = 64 << 20
"""Up to so many bytes of codes a scan takes some 5 ms on one core: exact is fast enough."""

_CONNECTIVITY, _EXPANSION_ADD = 16, 128
_LEAST_EXPANSION = 400
_SCANNED_PER_VIEWED = 300  # codes a scan reads while the graph is walked for one in view
_BLOCK = 50_000
_RARE = 0.1  # below this share of allowed rows, to scan them is cheaper


class ApproximateHamming:
    """A `HammingIndex` that compares with few of the codes: recall@100 ≥ 0.95 at 1 M.

    Distances are exact, their rows ranked as everywhere; what is approximate is whether all of the
    nearest come. Which rows do may differ between builds on more than one thread. Thread-safe.
    """

    def __init__(self, codes: UInt8s, graph: Any) -> None:
        self.exact = ExactHamming(codes)
        self._graph = graph
        self._added: ExactHamming | None = None
        self._lock = threading.Lock()  # one scratch serves all of a graph's searches
        if len(graph) != len(self.exact) or graph.ndim != self.exact.bits:
            raise SnapshotError(
                f"The index is of {len(graph)} codes of {graph.ndim} bits, the codes are "
                f"{len(self.exact)} of {self.exact.bits} bits: build the snapshot again."
            )

    @classmethod
    def build(
        cls, codes: UInt8s, *, threads: int | None = None, progress: Progress = silent
    ) -> ApproximateHamming:
        """Index (n, bits / 8) uint8 codes. Raises ConfigError if usearch is not installed."""
        check(threads is None or threads >= 1, "threads", "build", "≥ 1 or None", threads)
        codes = as_codes(codes)
        graph = _graph(codes.shape[1] * 8)
        threads = threads or cores()
        with progress("indexing codes", len(codes)) as advance:
            for first in range(0, len(codes), _BLOCK):
                block = np.ascontiguousarray(codes[first : first + _BLOCK])
                graph.add(np.arange(first, first + len(block)), block, threads=threads)
                advance(len(block))
        return cls(codes, graph)

    @classmethod
    def open(cls, path: Path | str, codes: UInt8s) -> ApproximateHamming:
        """Map an index that `save` wrote, of these codes. Raises ConfigError without usearch,
        SnapshotError if the file is none or of other codes."""
        graph = _graph(as_codes(codes).shape[1] * 8)
        try:
            graph.view(os.fspath(path))
        except (RuntimeError, ValueError, OSError) as error:
            raise SnapshotError(f"{path} is no index of codes ({error}): build it again.") from None
        return cls(codes, graph)

    def save(self, path: Path | str) -> None:
        """Write the index without the codes added since it was built."""
        self._graph.save(os.fspath(path))

    def add(self, codes: UInt8s) -> None:
        """More codes, at once found by `search`; their rows follow the last one."""
        codes = as_codes(codes)
        earlier = [] if self._added is None else [self._added.codes]
        self._added = ExactHamming(np.concatenate([*earlier, codes]))

    @property
    def bits(self) -> int:
        return self.exact.bits

    def __len__(self) -> int:
        return len(self.exact) + (0 if self._added is None else len(self._added))

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
        listed_rows(allowed, len(self))
        added = self._added
        wanted = k + len(exclude)
        rows, distances = self._indexed(code, wanted, allowed)
        if added is not None:
            n = len(self.exact)
            mask = None if allowed is None else allowed[n:]
            new_rows, new_distances = added.search(code, wanted, allowed=mask)
            rows = np.concatenate([rows, new_rows + np.uint32(n)])
            distances = np.concatenate([distances, new_distances])
            order = np.lexsort((rows, distances))
            rows, distances = rows[order], distances[order]
        return without(rows, distances, exclude, k)

    def _indexed(self, code: UInt8s, k: int, allowed: Bools | None) -> tuple[UInt32s, UInt16s]:
        n = len(self.exact)
        mask = None if allowed is None else allowed[:n]
        share = 1.0 if mask is None else float(mask.mean()) if n else 0.0
        wanted = k if share == 1.0 else int(1.5 * k / max(share, _RARE)) + 10
        if share < _RARE or _expansion(wanted) * _SCANNED_PER_VIEWED >= n:
            return self.exact.search(code, k, allowed=mask)
        rows = self._walk(code, wanted)
        if mask is not None:
            rows = rows[mask[rows]]
        if len(rows) < k:
            return self.exact.search(code, k, allowed=mask)
        distances = self.exact.distances(code, rows)
        order = np.lexsort((rows, distances))[:k]
        return rows[order], distances[order]

    def _walk(self, code: UInt8s, k: int) -> UInt32s:
        with self._lock:
            self._graph.expansion_search = _expansion(k)
            found = self._graph.search(np.ascontiguousarray(code), k, threads=1)
        return np.asarray(found.keys).astype(np.uint32)


def _expansion(k: int) -> int:
    """How many codes to keep in view for the nearest k. At 1 M codes of 1,024 bits recall@100 is
    .945 in view of 300, .962 of 400, .974 of 500."""
    return max(_LEAST_EXPANSION, 4 * k)


def hamming_index(codes: UInt8s, path: Path | str | None = None) -> HammingIndex:
    """What to search codes with: the index saved at `path`, if they are many and it is there;
    exactly otherwise."""
    codes = as_codes(codes)
    if codes.nbytes <= EXACT_BYTES or path is None or not Path(path).exists():
        return ExactHamming(codes)
    return ApproximateHamming.open(path, codes)


def _graph(bits: int) -> Any:
    try:
        from usearch.index import Index
    except ImportError:
        raise ConfigError(
            "An index of codes needs usearch. Install it: pip install 'pinjoin[ann]'"
        ) from None
    return Index(
        ndim=bits,
        metric="hamming",
        dtype="b1",
        connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION_ADD,
    )
