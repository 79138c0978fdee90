"""What a ranking would have been worth, from the log of another: counterfactual estimates.

A log knows, for each impression i of item a in context x (a query, a place, …), the reward r and
the propensity p: how likely its policy was to show a there. For a policy that shows a in x with
probability π(a|x), with w = π(a|x) / p:

    ips            mean of w r                                  Horvitz & Thompson 1952
    snips          Σ w r / Σ w                                  Swaminathan & Joachims 2015 (NIPS)
    direct         mean over x of Σ_a π(a|x) q(x,a)             q = a model of the reward
    doubly_robust  mean of Σ_a π(a|x) q(x,a) + w (r − q(x,a))   Dudík, Langford & Li 2011

ips is unbiased if p is right and > 0 wherever π is; doubly_robust too, whatever q (each impression
is judged by a q that did not see it), and varies less the better q is. snips has a bias that
vanishes as the log grows, and is never outside the rewards. direct is as wrong as its model. Value
means: reward per impression, over the contexts of the log. That an item's reward depends on its
context alone, not on its neighbours, is assumed (the item-position model of Li et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError, check
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Int64s
from pinjoin.experiments.logged import Impressions, Pairs, check_impressions, share_unseen
from pinjoin.experiments.overlap import Overlap, cautions, overlap, refuse_without_overlap
from pinjoin.ranking.expected import Floats, expected_rates

ESTIMATORS = ("logged", "ips", "snips", "direct", "doubly_robust")
"""`logged` is the reward per impression of the policy that wrote the log, for comparison."""


@dataclass(frozen=True)
class ValueConfig:
    """How to estimate."""

    clip: float | None = None  # no weight counts more; trades variance for bias (Bottou et al.)
    folds: int = 5  # the reward model that judges one of them is fitted to the others
    resamples: int = 1000  # bootstrap samples behind the intervals; 0 = no intervals
    refits: int = 200  # of them, those with the reward model fitted anew, behind direct's interval
    confidence: float = 0.95  # of the intervals (percentiles)
    least_effective: float = 30.0  # effective impressions below which no estimate is given

    def __post_init__(self) -> None:
        def need(name: str, holds: bool, allowed: str) -> None:
            check(holds, name, "ValueConfig", allowed, getattr(self, name))

        need("clip", self.clip is None or 0 < self.clip < np.inf, "None or a number above 0")
        need("folds", self.folds >= 2, "2 or more")
        need("resamples", self.resamples == 0 or self.resamples >= 100, "0, or 100 or more")
        need("refits", self.refits >= 0, "0 or more")
        need("confidence", 0 < self.confidence < 1, "between 0 and 1")
        need("least_effective", self.least_effective >= 0, "0 or more")


RewardModel = Callable[[Impressions, Pairs], Floats]
"""Learns from some impressions and gives the reward to expect of every pair, float64 [pairs]."""


@dataclass(frozen=True)
class Estimate:
    """A value and its bootstrap interval; NaN where none was asked for."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PolicyValue:
    """What the estimators (`ESTIMATORS`) say of a policy, and how far to trust them."""

    estimates: dict[str, Estimate]
    overlap: Overlap
    impressions: int
    rewarded: int  # impressions with a reward above 0
    confidence: float
    cautions: tuple[str, ...]


def smoothed_rates(log: Impressions, pairs: Pairs) -> Floats:
    """The default reward model: rate of each (context, item), an empirical Bayes posterior mean.

    Every pair borrows from the overall rate × an effect of its context × one of its item
    (`expected_rates`), by how often it was shown and never by what it earned: COEC's places, taken
    at their word from ten actions on, would keep what luck raised and mend only what it lowered,
    a selection bias of `direct` that posterior means are free of (Efron 2011, JASA 106). Without
    any reward in `log`, 0.
    """
    shown = np.bincount(log.pair, minlength=len(pairs))
    earned = np.bincount(log.pair, log.reward, len(pairs))
    if not earned.any():
        return np.zeros(len(pairs))
    levels = np.stack([pairs.context, pairs.item], axis=1)
    return expected_rates(shown, earned, levels, thin=math.inf).rates


def value_of_policy(
    log: Impressions,
    pairs: Pairs,
    *,
    reward_model: RewardModel = smoothed_rates,
    config: ValueConfig | None = None,
    rng: np.random.Generator | None = None,
    progress: Progress = silent,
) -> PolicyValue:
    """Estimate what the policy of `pairs` earns per impression, from what another one logged.

    `rng` draws folds and resamples; None = always the same ones. Intervals are percentiles of
    the bootstrap over units, with propensities and policy taken as given. Those of
    `doubly_robust` hold its reward models fixed; direct's has them fitted anew and is centred on
    the estimate (`_centred`): it does not show how far the model is wrong.

    Raises InputError if the log has no impression or no reward, a propensity is not in (0, 1], a
    reward is below 0 or not finite, there are fewer units than folds, or the log has less than
    `least_effective` to say; ConfigError for a reward model that does not give numbers.
    """
    config = config or ValueConfig()
    rng = rng if rng is not None else np.random.default_rng(0)
    check_impressions(log)
    raw = pairs.probability[log.pair] / log.propensity
    weights = raw if config.clip is None else np.minimum(raw, config.clip)
    found = overlap(raw, weights, log.reward, share_unseen(log, pairs))
    refuse_without_overlap(found, config.least_effective, len(log))
    units, unit = np.unique(log.unit, return_inverse=True)
    if len(units) < config.folds:
        raise InputError(
            f"The log has {len(units)} units (requests, or what is resampled together) and "
            f"{config.folds} folds are asked for. Log more, or ask for fewer folds."
        )
    terms = _terms(log, pairs, weights, reward_model, _folds(unit, config.folds, rng))
    totals = np.stack([np.bincount(unit, term) for term in terms], axis=1)  # (units, terms)
    values = _values(totals.sum(axis=0))
    drawn = _resampled(totals, config.resamples, rng, progress)
    refitted = _refitted(log, pairs, reward_model, unit, config, rng, progress)
    refitted = _centred(refitted, values[ESTIMATORS.index("direct")])
    return PolicyValue(
        estimates={
            name: _estimate(values[i], refitted if name == "direct" else drawn[:, i], config)
            for i, name in enumerate(ESTIMATORS)
        },
        overlap=found,
        impressions=len(log),
        rewarded=int((log.reward > 0).sum()),
        confidence=config.confidence,
        cautions=tuple(cautions(found)),
    )


def _folds(unit: Int64s, folds: int, rng: np.random.Generator) -> Int64s:
    """The fold of each impression, [n]: units in equal numbers, at random."""
    of_unit = rng.permutation(int(unit.max()) + 1) % folds
    found: Int64s = of_unit[unit]
    return found


def _terms(
    log: Impressions, pairs: Pairs, weights: Floats, model: RewardModel, fold: Int64s
) -> Floats:
    """What the estimators add up, (terms, n): see `_values`."""
    direct = _chosen(pairs, _rates(model, log, pairs))[log.pair]
    robust = np.empty(len(log))
    for f in range(int(fold.max()) + 1):
        mine = fold == f
        rates = _rates(model, log.take(~mine), pairs)  # of impressions that it did not see
        pair = log.pair[mine]
        robust[mine] = _chosen(pairs, rates)[pair] + weights[mine] * (
            log.reward[mine] - rates[pair]
        )
    ones = np.ones(len(log))
    return np.stack([ones, log.reward, weights, weights * log.reward, direct, robust])


def _rates(model: RewardModel, log: Impressions, pairs: Pairs) -> Floats:
    rates = np.asarray(model(log, pairs), np.float64)
    good = rates.shape == (len(pairs),) and bool(np.isfinite(rates).all())
    allowed = f"a function that gives {len(pairs)} finite numbers, one for each pair"
    got = f"{rates.shape} numbers, {int(np.isnan(rates).sum())} of them NaN"
    check(good, "reward_model", "value_of_policy", allowed, got)
    return rates


def _chosen(pairs: Pairs, rates: Floats) -> Floats:
    """Σ_a π(a|x) rates(x, a): what the policy's choice earns in each pair's context, [pairs]."""
    sums: npt.NDArray[Any] = np.bincount(pairs.context, pairs.probability * rates)
    found: Floats = sums[pairs.context]
    return found


def _values(totals: npt.NDArray[Any]) -> Floats:
    """ESTIMATORS in order, of sums (…, terms)."""
    n, reward, weight, weighted, direct, robust = np.moveaxis(totals, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample may have no weight at all
        return np.stack([reward / n, weighted / n, weighted / weight, direct / n, robust / n], -1)


def _resampled(
    totals: npt.NDArray[Any], resamples: int, rng: np.random.Generator, progress: Progress
) -> Floats:
    """ESTIMATORS of the log with its units drawn anew: (resamples, estimators)."""
    n = len(totals)
    drawn = np.empty((resamples, totals.shape[1]))
    with progress("resampling", resamples) as advance:
        for i in range(resamples):
            times = np.bincount(rng.integers(0, n, n), minlength=n)
            drawn[i] = times.astype(np.float64) @ totals
            advance(1)
    return _values(drawn)


def _refitted(
    log: Impressions,
    pairs: Pairs,
    model: RewardModel,
    unit: Int64s,
    config: ValueConfig,
    rng: np.random.Generator,
    progress: Progress,
) -> Floats:
    """`direct` of logs whose units are drawn anew, the model fitted to each: (refits,)."""
    n = int(unit.max()) + 1
    found = np.empty(min(config.refits, config.resamples))
    with progress("fitting anew", len(found)) as advance:
        for i in range(len(found)):
            times = np.bincount(rng.integers(0, n, n), minlength=n)
            drawn = log.take(np.repeat(np.arange(len(log)), times[unit]))
            found[i] = _chosen(pairs, _rates(model, drawn, pairs))[drawn.pair].mean()
            advance(1)
    return found


def _centred(drawn: Floats, value: float) -> Floats:
    """`drawn`, moved so that its mean is `value`.

    A model takes the repeats in a resample for more impressions that agree, and smooths less: its
    refits may all lie to one side of `value`, and their percentiles leave it out. Moved, and not
    mirrored: what a bootstrap says of a bias is too rough to correct for (Efron & Tibshirani 1993,
    §10.6).
    """
    return drawn + (value - drawn.mean()) if len(drawn) else drawn


def _estimate(value: float, drawn: Floats, config: ValueConfig) -> Estimate:
    if not len(drawn):
        return Estimate(float(value), float("nan"), float("nan"))
    tail = (1 - config.confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Estimate(float(value), float(low), float(high))
