"""The rate to expect of a place: how often what is shown there is acted upon, whatever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError, check

Floats = npt.NDArray[np.float64]

THIN = 10.0
"""A cell with fewer actions than this borrows from the others."""

_STRENGTHS = np.geomspace(0.5, 512, 21)
_SWEEPS = 50
_FACTOR_STRENGTH = 1.0


@dataclass(frozen=True)
class ExpectedRates:
    """e(cell): float64 [cells]; with the strength of the prior that thin cells were given."""

    rates: Floats
    prior: Floats
    strength: float


def expected_rates(
    impressions: npt.NDArray[Any],
    actions: npt.NDArray[Any],
    levels: npt.NDArray[np.integer[Any]] | None = None,
    *,
    thin: float = THIN,
) -> ExpectedRates:
    """The expected actions per impression of each cell (§IV.B: "position and device").

    impressions, actions [cells] (actions may be weighted); levels int [cells, factors] says which
    position, device, … a cell is of.

    A cell with `thin` actions or more is taken at its word: e = actions / impressions, so COEC is
    exactly 1 for what does as expected. Below, e = m (a + κ′) / (n m + κ′): the posterior mean of
    a gamma prior around m with κ′ = κ (1 − a / thin), which fades out, so that there is no step.
    m is what the factors of a cell make likely: overall rate × an effect of its position × one of
    its device …, fitted to all cells (Poisson, each effect shrunk to 1 by one imagined action).
    κ, how much cells follow m, is the one of 21 from 0.5 to 512 under which the cells' actions
    are most probable (empirical Bayes: negative binomial). `thin=0` takes the raw rates,
    `thin=math.inf` shrinks every cell. A cell that was never shown has rate m.

    Raises InputError if nothing was shown or nothing was done: then no rate is to be expected.

    >>> expected_rates(np.array([1000, 500]), np.array([100, 20])).rates.tolist()
    [0.1, 0.04]
    """
    check(thin >= 0, "thin", "expected_rates", "a number of actions ≥ 0", thin)
    n, a = np.asarray(impressions, np.float64), np.asarray(actions, np.float64)
    if not n.sum():
        raise InputError(
            "The events have no impression: log what was shown (action = impression), not only "
            "what was clicked."
        )
    if not a.sum():
        raise InputError(
            f"The events have {int(n.sum()):,} impressions and not one action that counts: there "
            "is no rate to expect. Add the log of clicks and saves, or name other actions."
        )
    factors = np.zeros((len(n), 0), np.int64) if levels is None else np.asarray(levels)
    prior = _factor_rates(n, a, factors)
    strength = _strength(n, a, prior)
    with np.errstate(divide="ignore", invalid="ignore"):
        fade = np.where(a < thin, 1 - a / thin, 0.0) if np.isfinite(thin) else np.ones_like(a)
        kappa = strength * fade
        rates = np.where(kappa > 0, prior * (a + kappa) / (n * prior + kappa), a / n)
    rates = np.where(n > 0, rates, prior)
    return ExpectedRates(rates, prior, strength)


def _factor_rates(n: Floats, a: Floats, levels: npt.NDArray[Any]) -> Floats:
    """m [cells]: overall rate × the effect of each factor, by iterated proportional fitting."""
    rate = a.sum() / n.sum()
    codes = [np.unique(levels[:, f], return_inverse=True)[1] for f in range(levels.shape[1])]
    effects = [np.ones(code.max(initial=0) + 1) for code in codes]
    for _ in range(_SWEEPS):
        for f, code in enumerate(codes):
            others = n * rate
            for g, other in enumerate(codes):
                if g != f:
                    others = others * effects[g][other]
            done = np.bincount(code, a, len(effects[f]))
            likely = np.bincount(code, others, len(effects[f]))
            effects[f] = (done + _FACTOR_STRENGTH) / (likely + _FACTOR_STRENGTH)
    prior = np.full(len(n), rate)
    for effect, code in zip(effects, codes, strict=True):
        prior = prior * effect[code]
    return prior


def _strength(n: Floats, a: Floats, prior: Floats) -> float:
    """κ: of the strengths tried, the one that makes the cells' actions most probable."""
    from scipy.special import gammaln

    mean = n * prior
    k = _STRENGTHS[:, None]
    known = np.flatnonzero(mean > 0)
    a, mean = a[known], mean[known]
    likelihood = gammaln(a + k) - gammaln(k) + k * np.log(k / (k + mean))
    likelihood += a * np.log(mean / (k + mean))
    return float(_STRENGTHS[int(np.argmax(likelihood.sum(axis=1)))])
