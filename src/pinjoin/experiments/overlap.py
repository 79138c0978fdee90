"""How much a log can say about another policy: what its weights w = π(a|x) / p look like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pinjoin.core.errors import InputError
from pinjoin.ranking.expected import Floats

FEW_REWARDS = 10.0
"""Below so many effective rewards, resampling shows too narrow an interval."""
HEAVY_TAIL = 0.7
"""Above this tail index, means of weights settle too slowly to be relied on."""
UNSEEN = 0.01
"""Above this share of what a policy shows, it matters that the log never showed it."""
_FAR = 4.0  # standard errors


@dataclass(frozen=True)
class Overlap:
    """What the weights of a log look like, seen from another policy.

    effective_size: (Σw)² / Σw², as how many impressions of the policy itself the log counts (Kish
    1965); effective_rewards: the same of w·r over the rewarded impressions. mean_weight is near 1
    where the propensities are right and the log could show all that the policy shows; mean_error
    is its standard error. tail: k̂ of the generalised Pareto law of the largest weights (Vehtari
    et al. 2024), NaN if too few differ; unseen: which share of what the policy shows the log never
    showed in that context; clipped: which share of Σw was cut off.
    """

    effective_size: float
    effective_rewards: float
    mean_weight: float
    mean_error: float
    largest_weight: float
    tail: float
    unseen: float
    clipped: float


def overlap(raw: Floats, weights: Floats, reward: Floats, unseen: float) -> Overlap:
    """Describe weights, [n] each: `raw`, and as used (clipped or the same)."""
    total = float(raw.sum())
    return Overlap(
        effective_size=effective_size(weights),
        effective_rewards=effective_size(weights * reward),
        mean_weight=float(raw.mean()),
        mean_error=float(raw.std() / np.sqrt(len(raw))),
        largest_weight=float(weights.max(initial=0.0)),
        tail=tail_index(raw),
        unseen=unseen,
        clipped=1 - float(weights.sum()) / total if total else 0.0,
    )


def effective_size(weights: Floats) -> float:
    """(Σw)² / Σw² of weights ≥ 0, from 1 to their number; 0 if all are 0.

    >>> effective_size(np.array([1.0, 1.0, 0.0])), effective_size(np.array([3.0, 1.0]))
    (2.0, 1.6)
    """
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def tail_index(weights: Floats) -> float:
    """k̂: the shape of a generalised Pareto law fitted to the min(n/5, 3√n) largest weights > 0.

    1/k moments exist: at k ≥ 0.5 the weights have no variance, at k ≥ 1 no mean. NaN if fewer
    than five weights differ from the one at the cut.
    """
    from scipy.stats import genpareto

    positive = np.sort(weights[weights > 0])
    many = int(min(len(positive) / 5, 3 * np.sqrt(len(positive))))
    if not many:
        return float("nan")
    beyond = positive[-many:] - positive[-many - 1]
    beyond = beyond[beyond > 0]
    if len(np.unique(beyond)) < 5:
        return float("nan")
    with np.errstate(all="ignore"):
        return float(genpareto.fit(beyond / beyond.mean(), floc=0)[0])


def refuse_without_overlap(found: Overlap, least: float, n: int) -> None:
    """InputError if a log says too little about a policy for any number to be given."""
    if found.effective_size < max(least, np.finfo(float).tiny):
        raise InputError(
            f"The log's {n:,} impressions count as {found.effective_size:.1f} of the policy's own, "
            f"at least {least:g} are asked for: the policy shows what the log hardly ever did "
            f"(largest weight {found.largest_weight:,.0f}; {found.unseen:.0%} of what it shows was "
            "never logged in that context). Log more, judge a policy closer to the logged one, or "
            "pass a lower least_effective to see the numbers all the same."
        )


def cautions(found: Overlap) -> Iterator[str]:
    """What makes an estimate less sure than its interval says, in words."""
    if found.effective_rewards < FEW_REWARDS:
        yield (
            f"the rewards count as {found.effective_rewards:.1f} of the policy's own: the "
            "intervals of ips, snips and doubly_robust are too narrow, and may lie too low"
        )
    if found.tail > HEAVY_TAIL:
        yield (
            f"the weights are heavy-tailed (k = {found.tail:.2f} > {HEAVY_TAIL}, the largest is "
            f"{found.largest_weight:,.0f}): a few impressions decide; clip them, or log more evenly"
        )
    if abs(found.mean_weight - 1) > _FAR * found.mean_error + 1e-9:
        yield (
            f"the weights average {found.mean_weight:.3f} ± {found.mean_error:.3f} where 1 is "
            "expected: the propensities are not those of what was shown, or the policy shows what "
            "the log could not"
        )
    if found.unseen > UNSEEN:
        yield (
            f"{found.unseen:.1%} of what the policy shows was never logged in that context: its "
            "worth is guessed (direct, doubly_robust) or left out (ips, snips)"
        )
    if found.clipped > 0:
        yield (
            f"clipping cut off {found.clipped:.1%} of the weights: ips is too low by what those "
            "impressions are worth, snips and doubly_robust lean to the others"
        )
