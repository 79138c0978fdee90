"""Deterministic top-k of float32 scores: a radix sort that keeps the order of equal scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_U = np.uint64
_DIGIT = _U(11)
_BINS = 2048


@njit(cache=True, nogil=True)
def descending_keys(scores: Any, n: Any, keys: Any) -> None:
    """uint32 keys whose ascending order is the descending order of scores[:n]; NaN comes last."""
    bits = scores.view(np.uint32)
    for i in range(n):
        b = bits[i]
        if scores[i] != scores[i]:
            keys[i] = np.uint32(0xFFFFFFFF)
        elif b == np.uint32(0x80000000):  # -0.0 ties with 0.0
            keys[i] = np.uint32(0x7FFFFFFF)
        elif b & np.uint32(0x80000000):
            keys[i] = b
        else:
            keys[i] = np.uint32(0x7FFFFFFF) - b


@njit(cache=True, nogil=True)
def top_k_order(k: Any, n: Any, keys: Any, order: Any, spare: Any, histogram: Any) -> Any:
    """Positions of the k smallest of keys[:n], ascending, ties by position, in order[:result].

    order and spare are uint32 scratch of length ≥ n, histogram uint64 of length 2,048.
    Least-significant-digit radix sort, after dropping by the leading digit what cannot get in.
    """
    n = _U(n)
    shift = _U(32) - _DIGIT
    kept = n
    if k < n:
        histogram[:] = _U(0)
        for i in range(n):
            histogram[_U(keys[i]) >> shift] += _U(1)
        last = _U(0)
        below = histogram[0]
        while below < _U(k):
            last += _U(1)
            below += histogram[last]
        kept = _U(0)
        for i in range(n):
            order[kept] = i
            kept += _U((_U(keys[i]) >> shift) <= last)
    else:
        for i in range(n):
            order[i] = i
    source, target = order, spare
    for step in range(3):
        down = _U(step) * _DIGIT
        histogram[:] = _U(0)
        for i in range(kept):
            histogram[(_U(keys[source[i]]) >> down) & _U(_BINS - 1)] += _U(1)
        total = _U(0)
        for value in range(_BINS):
            here = histogram[value]
            histogram[value] = total
            total += here
        for i in range(kept):
            at = source[i]
            digit = (_U(keys[at]) >> down) & _U(_BINS - 1)
            target[histogram[digit]] = at
            histogram[digit] += _U(1)
        source, target = target, source
    result = min(_U(k), kept)
    for i in range(result):  # three passes end in spare
        order[i] = spare[i]
    return result
