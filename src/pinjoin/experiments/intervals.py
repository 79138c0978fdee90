"""How far a mean over some queries may be from the mean over all that could be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check

Floats = npt.NDArray[np.float64]

_BLOCK = 1 << 24  # draws at a time


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean (or a ratio of two) and its bootstrap interval."""

    value: float
    low: float
    high: float


def bootstrap_means(values: Floats, rng: np.random.Generator, resamples: int = 2_000) -> Floats:
    """(resamples, columns): means over as many queries, drawn with replacement (Efron, 1979).

    values: (queries, columns), at least one query. All columns share their draws: what is computed
    from two of them, such as a ratio, is paired by query. (`scipy.stats.bootstrap` draws anew for
    each statistic it is asked for.)
    """
    check(len(values) >= 1, "values", "bootstrap_means", "of one query or more", values.shape)
    check(resamples >= 1, "resamples", "bootstrap_means", "a number ≥ 1", resamples)
    n = len(values)
    even = np.full(n, 1 / n)
    step = max(1, _BLOCK // n)
    blocks = [
        rng.multinomial(n, even, size=min(step, resamples - first)) @ values / n
        for first in range(0, resamples, step)
    ]
    return np.concatenate(blocks)


def estimate(value: float, samples: npt.NDArray[Any], confidence: float = 0.95) -> Estimate:
    """The value and the percentile interval of its resamples.

    >>> estimate(0.5, np.linspace(0, 1, 101), confidence=0.9)
    Estimate(value=0.5, low=0.05, high=0.95)
    """
    check(0 < confidence < 1, "confidence", "estimate", "between 0 and 1", confidence)
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return Estimate(float(value), round(float(low), 12), round(float(high), 12))


def ratio(value: float, samples: Floats, base: float, base_samples: Floats) -> Estimate | None:
    """value / base, and its interval by paired resamples; None where the base may be 0."""
    if base <= 0 or base_samples.min() <= 0:
        return None
    return estimate(value / base, samples / base_samples)
