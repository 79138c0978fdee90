"""Nearest by content: pictures by the Hamming distance of their bits, texts by sparse cosine.

For images with few or no boards in common with any other. Every index here answers the same
question with the same contract, `HammingIndex`: exact where a scan is fast enough, approximate
(`pinjoin.candidates.approximate`) beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pinjoin.core.cores import cores
from pinjoin.core.errors import ConfigError, check
from pinjoin.core.types import Float32s, UInt32s

UInt8s = npt.NDArray[np.uint8]
UInt16s = npt.NDArray[np.uint16]
Bools = npt.NDArray[np.bool_]

INVERTED = ("indptr", "images", "weights")
"""The arrays of `TextNeighbours` to keep, in the order `from_arrays` takes them."""

_BLOCK_BYTES = 4 << 20  # a thread's share of a scan is worth starting it from here on
_SPARE = 16  # the kernels write whole vectors


class HammingIndex(Protocol):
    """Finds the codes nearest to one. Codes are packed bits, (n, bits / 8) uint8."""

    @property
    def bits(self) -> int: ...

    def __len__(self) -> int: ...

    def search(
        self,
        code: UInt8s,
        k: int,
        *,
        exclude: Sequence[int] = (),
        allowed: Bools | None = None,
    ) -> tuple[UInt32s, UInt16s]:
        """The k rows nearest to `code`, (bits / 8,) uint8: (rows, distances in bits), nearest
        first, ties by row; fewer only if fewer are left.

        exclude: rows that do not come, such as the query's own. allowed: (n,) bool, only rows
        that are True come.
        """
        ...


class ExactHamming:
    """Compares with every code. Codes may be memory-mapped; nothing is copied.

    Thread-safe. `threads` scan large catalogues together; the result is the same for any number.
    """

    def __init__(self, codes: UInt8s, *, threads: int | None = None) -> None:
        check(threads is None or threads >= 1, "threads", "ExactHamming", "≥ 1 or None", threads)
        self.codes = as_codes(codes)
        self._words = _words(self.codes)
        self._threads = threads or cores()

    @property
    def bits(self) -> int:
        return int(self.codes.shape[1]) * 8

    def __len__(self) -> int:
        return len(self.codes)

    def distances(self, code: UInt8s, rows: UInt32s) -> UInt16s:
        """(m,) uint16: bits in which `code` differs from each of the rows, in any order."""
        from pinjoin.candidates._nearest_kernel import distances_to

        rows = np.ascontiguousarray(rows, np.uint32)
        last = len(self) - 1
        inside = not len(rows) or int(rows.max()) <= last
        check(inside, "rows", "ExactHamming.distances", f"rows from 0 to {last}", rows)
        out = np.empty(len(rows), np.uint16)
        distances_to(self._words, rows, as_code(code, self.bits), out)
        return out

    def search(
        self,
        code: UInt8s,
        k: int,
        *,
        exclude: Sequence[int] = (),
        allowed: Bools | None = None,
    ) -> tuple[UInt32s, UInt16s]:
        """As `HammingIndex.search`, exactly."""
        check(k >= 1, "k", "ExactHamming.search", "a number ≥ 1", k)
        query = as_code(code, self.bits)
        rows, distances = self._scan(query, k + len(exclude), listed_rows(allowed, len(self)))
        return without(rows, distances, exclude, k)

    def _scan(self, query: Any, k: int, listed: UInt32s | None) -> tuple[UInt32s, UInt16s]:
        from pinjoin.candidates._nearest_kernel import order_nearest

        n = len(self) if listed is None else len(listed)
        k = min(k, n)
        if k == 0:
            return np.empty(0, np.uint32), np.empty(0, np.uint16)
        blocks = max(1, min(self._threads, n * self.bits // 8 // _BLOCK_BYTES))
        edges = [n * block // blocks for block in range(blocks + 1)]

        def part(block: int) -> tuple[UInt32s, UInt16s]:
            return self._scan_block(query, edges[block], edges[block + 1], k, listed)

        if blocks == 1:
            parts = [part(0)]
        else:
            with ThreadPoolExecutor(blocks) as pool:
                parts = list(pool.map(part, range(blocks)))
        rows = np.concatenate([found for found, _ in parts])
        distances = np.concatenate([found for _, found in parts])
        out_rows, out_distances = np.empty(k, np.uint32), np.empty(k, np.uint16)
        tally = np.zeros(self.bits + 1, np.uint32)
        order_nearest(rows, distances, len(rows), k, tally, out_rows, out_distances)
        return out_rows, out_distances

    def _scan_block(
        self, query: Any, first: int, last: int, k: int, listed: UInt32s | None
    ) -> tuple[UInt32s, UInt16s]:
        from pinjoin.candidates._nearest_kernel import scan

        room = min(last - first, 2 * k + 1024) + 1
        rows, distances = np.empty(room, np.uint32), np.empty(room, np.uint16)
        tally = np.zeros(self.bits + 1, np.uint32)
        every = np.empty(0, np.uint32) if listed is None else listed
        n = scan(self._words, query, first, last, every, k, rows, distances, tally)
        return rows[:n], distances[:n]


def listed_rows(allowed: Bools | None, n: int) -> UInt32s | None:
    """The rows that a mask allows, ascending; None if there is no mask or it allows all."""
    check_allowed(allowed, n)
    if allowed is None or np.all(allowed):
        return None
    return np.flatnonzero(allowed).astype(np.uint32)


def check_allowed(allowed: Bools | None, n: int) -> None:
    """Raise ConfigError unless a mask, if there is one, has a bool for each of n rows."""
    if allowed is not None:
        mask = np.asarray(allowed)
        right = mask.shape == (n,) and mask.dtype == np.bool_
        check(right, "allowed", "search", f"{n} booleans", f"{mask.dtype} of shape {mask.shape}")


def without(
    rows: UInt32s, values: npt.NDArray[Any], exclude: Sequence[int], k: int
) -> tuple[UInt32s, npt.NDArray[Any]]:
    """The first k of ranked rows that are not excluded, and their values."""
    if len(exclude):
        keep = ~np.isin(rows, np.asarray(exclude, np.int64))
        rows, values = rows[keep], values[keep]
    return rows[:k], values[:k]


def as_codes(codes: UInt8s) -> UInt8s:
    """Codes as a plain (n, bits / 8) uint8 array in C order, checked. Raises ConfigError."""
    codes = np.asarray(codes)
    right = codes.ndim == 2 and codes.dtype == np.uint8 and codes.flags.c_contiguous
    if not right or codes.shape[1] % 8 or not 8 <= codes.shape[1] <= 1024:
        raise ConfigError(
            "Codes must be a C-ordered (n, bits / 8) uint8 array of 64 to 8,192 bits, a multiple "
            f"of 64 (pad with zero bits). Got {codes.dtype} of shape {codes.shape} instead."
        )
    return codes


def as_code(code: UInt8s, bits: int) -> npt.NDArray[np.uint64]:
    """One code as (bits / 64,) uint64, checked. Raises ConfigError."""
    code = np.asarray(code)
    if code.shape != (bits // 8,) or code.dtype != np.uint8:
        raise ConfigError(
            f"A code to search for must be ({bits // 8},) uint8, as those of the index. "
            f"Got {code.dtype} of shape {code.shape} instead."
        )
    return np.ascontiguousarray(code).copy().view(np.uint64)


def _words(codes: UInt8s) -> npt.NDArray[np.uint64]:
    """All codes as one read-only row of uint64, without a copy."""
    words = codes.reshape(-1).view(np.uint64)
    words.flags.writeable = False  # mapped files are: so the loops are compiled once
    return words


class TextNeighbours:
    """Nearest by cosine of sparse weights (annotations), exactly: an inverted index.

    ids, weights: (images, terms of each) uint32 and float32 ≥ 0, each row of unit length; ids of
    n_terms or more, such as 0xFFFFFFFF, fill up. indptr, images, weights: of each term the images
    that have it, ascending, and its weight there; keep them to open the index again with
    `from_arrays`. Thread-safe.
    """

    def __init__(self, ids: UInt32s, weights: Float32s, n_terms: int) -> None:
        from pinjoin.candidates._nearest_kernel import invert

        ids = np.ascontiguousarray(ids, np.uint32)
        weights = np.ascontiguousarray(weights, np.float32)
        if ids.ndim != 2 or ids.shape != weights.shape:
            raise ConfigError(
                "The ids and weights of TextNeighbours must be two (images, terms) arrays of one "
                f"shape. Got {ids.shape} and {weights.shape} instead."
            )
        least = float(weights.min(initial=0))
        check(least >= 0, "weights", "TextNeighbours", "numbers ≥ 0", least)
        indptr, images, values = invert(ids, weights, n_terms)
        self._open(indptr, images, values, len(ids))

    @classmethod
    def from_arrays(
        cls, indptr: npt.NDArray[np.int64], images: UInt32s, weights: Float32s, n_images: int
    ) -> TextNeighbours:
        """From the arrays of an earlier one; they may be memory-mapped."""
        opened = cls.__new__(cls)
        opened._open(indptr, images, weights, n_images)
        return opened

    def _open(
        self, indptr: npt.NDArray[np.int64], images: UInt32s, weights: Float32s, n_images: int
    ) -> None:
        self.indptr, self.images, self.weights = indptr, images, weights
        self.n_images = n_images
        self._idle: list[tuple[npt.NDArray[Any], ...]] = []  # pop and append are atomic

    @property
    def n_terms(self) -> int:
        return len(self.indptr) - 1

    def search(
        self,
        ids: UInt32s,
        weights: Float32s,
        k: int,
        *,
        exclude: Sequence[int] = (),
        allowed: Bools | None = None,
    ) -> tuple[UInt32s, Float32s]:
        """The k images of largest cosine: (rows, cosines), largest first, ties by row. Images
        that share no term with the query do not come.

        ids, weights: (terms,) of the query, padded like the index. Sums are float32, by term id,
        so that images with equal annotations tie.
        """
        from pinjoin.candidates._nearest_kernel import text_nearest

        check(k >= 1, "k", "TextNeighbours.search", "a number ≥ 1", k)
        ids, weights = np.asarray(ids, np.uint32), np.asarray(weights, np.float32)
        same = ids.ndim == 1 and ids.shape == weights.shape
        check(same, "ids", "TextNeighbours.search", "as long as weights", ids.shape)
        known = (ids < self.n_terms) & (weights > 0)
        order = np.argsort(ids[known], kind="stable")
        wanted = self.n_images if allowed is not None else k + len(exclude)
        wanted = min(wanted, self.n_images)
        rows, scores = np.empty(wanted, np.uint32), np.empty(wanted, np.float32)
        scratch = self._idle.pop() if self._idle else self._scratch()
        n = text_nearest(
            ids[known][order], weights[known][order], self.indptr, self.images, self.weights,
            wanted, scratch, rows, scores,
        )  # fmt: skip
        self._idle.append(scratch)  # an interrupted one is dropped: it is not all zero
        rows, scores = rows[:n], scores[:n]
        if allowed is not None:
            check_allowed(allowed, self.n_images)
            rows, scores = rows[allowed[rows]], scores[allowed[rows]]
        return without(rows, scores, exclude, k)

    def _scratch(self) -> tuple[npt.NDArray[Any], ...]:
        n = self.n_images
        flags = (n // 64 + 64) // 64 * 64
        sums = np.zeros(flags * 64, np.float32)
        groups, rows, keys, order, spare = (
            np.empty(size + _SPARE, np.uint32) for size in (flags, n, n, n, n)
        )
        return (
            sums, sums.view(np.uint32), np.zeros(flags, np.uint8), groups, rows,
            np.empty(n, np.float32), keys, order, spare, np.empty(2048, np.uint64),
        )  # fmt: skip
