"""The inner loops of RankSVM; sums are in float64 whatever the features are in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def add_moments(values: Any, pivot: Any, sums: Any, squares: Any) -> None:
    """Add the rows of values (n, features) − pivot, and their squares, to float64 sums."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            away = np.float64(values[i, j]) - pivot[j]
            sums[j] += away
            squares[j] += away * away


@njit(cache=True, nogil=True)
def standardise(better: Any, worse: Any, inverse: Any, out: Any) -> None:
    """out = (better − worse) × inverse, all (n, features) but inverse (features,)."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = (np.float64(better[i, j]) - np.float64(worse[i, j])) * inverse[j]


@njit(cache=True, nogil=True)
def pull(rows: Any, margins: Any, out: Any) -> Any:
    """out (features,) = Σ max(0, 1 − margin) × row; returns Σ max(0, 1 − margin)²."""
    out[:] = 0.0
    total = 0.0
    for i in range(rows.shape[0]):
        left = 1.0 - margins[i]
        if left > 0.0:
            total += left * left
            for j in range(rows.shape[1]):
                out[j] += left * np.float64(rows[i, j])
    return total


@njit(cache=True, nogil=True)
def along(margins: Any, moved: Any, t: Any) -> Any:
    """(Σ left × moved, Σ moved²) over the triplets with left = 1 − margin − t × moved > 0."""
    slope, bend = 0.0, 0.0
    for i in range(len(margins)):
        d = np.float64(moved[i])
        left = 1.0 - margins[i] - t * d
        if left > 0.0:
            slope += left * d
            bend += d * d
    return slope, bend
