"""A log with propensities beside another policy: which pairs either of them may show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError
from pinjoin.core.types import Int64s
from pinjoin.ranking.expected import Floats


@dataclass(frozen=True)
class Pairs:
    """The (context, item) pairs that were logged or that the policy may show, each once.

    context, item int64 [pairs], by context, then item; probability float64 [pairs]: π(item |
    context), 0 for what the policy never shows.
    """

    context: Int64s
    item: Int64s
    probability: Floats

    def __len__(self) -> int:
        return len(self.item)


@dataclass(frozen=True)
class Impressions:
    """What was logged: pair int64 [n] (numbers into `Pairs`), reward and propensity float64 [n],
    unit int64 [n]: impressions of one unit (a request, a user) are resampled together."""

    pair: Int64s
    reward: Floats
    propensity: Floats
    unit: Int64s

    def __len__(self) -> int:
        return len(self.pair)

    def take(self, rows: npt.NDArray[Any]) -> Impressions:
        """Some of them: rows int [k], repeats allowed, or bool [n]."""
        return Impressions(
            self.pair[rows], self.reward[rows], self.propensity[rows], self.unit[rows]
        )


Name = Callable[[int], str]
"""What a context or an item of this number is called in messages."""


def match_policy(
    context: npt.NDArray[Any],
    item: npt.NDArray[Any],
    policy: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]],
    name_context: Name = "context {}".format,
    name_item: Name = "item {}".format,
) -> tuple[Int64s, Pairs]:
    """(pair int64 [n] of each impression, the pairs), of numbers ≥ 0 for contexts and items.

    context, item int [n]: what was logged; `policy`: context, item and probability [m] of all
    pairs it may show. Contexts of it that were not logged do not count.

    Raises InputError if a logged context is not the policy's, a pair is there twice, or the
    probabilities of a context are not from 0 to 1 with sum 1 (± 1e-6).

    >>> pair, pairs = match_policy(np.array([0, 0]), np.array([7, 3]),
    ...     (np.array([0, 0]), np.array([3, 5]), np.array([0.4, 0.6])))
    >>> pair.tolist(), pairs.item.tolist(), pairs.probability.tolist()
    ([2, 0], [3, 5, 7], [0.4, 0.6, 0.0])
    """
    context, item = np.asarray(context, np.int64), np.asarray(item, np.int64)
    where, shown = (np.asarray(part, np.int64) for part in policy[:2])
    probability = np.asarray(policy[2], np.float64)
    _check_range(probability)
    logged = np.isin(where, context)
    where, shown, probability = where[logged], shown[logged], probability[logged]
    _check_known(context, where, name_context)
    _check_sums(where, probability, name_context)
    width = int(max(item.max(initial=0), shown.max(initial=0))) + 1
    both = np.concatenate([where * width + shown, context * width + item])
    keys, number = np.unique(both, return_inverse=True)
    pairs = Pairs(keys // width, keys % width, np.zeros(len(keys)))
    _check_once(number[: len(where)], pairs, name_context, name_item)
    pairs.probability[number[: len(where)]] = probability
    return number[len(where) :], pairs


def _check_range(probability: Floats) -> None:
    bad = np.flatnonzero(~((probability >= 0) & (probability <= 1)))
    if len(bad):
        raise InputError(
            f"The policy has {len(bad):,} probabilities that are none, first "
            f"{probability[bad[0]]} in row {bad[0]} (counted from 0): numbers from 0 to 1 are "
            "expected."
        )


def _check_known(context: Int64s, policy: Int64s, name: Name) -> None:
    lost = np.flatnonzero(~np.isin(context, policy))
    if len(lost):
        raise InputError(
            f"The policy says nothing about the context of {len(lost):,} impressions, first of "
            f"{name(int(context[lost[0]]))}. Give its probabilities there, or leave these "
            "impressions out."
        )


def _check_sums(context: Int64s, probability: Floats, name: Name) -> None:
    sums = np.bincount(context, probability)
    given = np.bincount(context) > 0
    wrong = np.flatnonzero(given & (np.abs(sums - 1) > 1e-6))
    if len(wrong):
        raise InputError(
            f"The policy's probabilities add up to {sums[wrong[0]]:.6g} in {name(int(wrong[0]))} "
            f"(and not to 1 in {len(wrong):,} of {given.sum():,} contexts). One item is shown in a "
            "context: divide its probabilities by their sum."
        )


def _check_once(number: Int64s, pairs: Pairs, name_context: Name, name_item: Name) -> None:
    times = np.bincount(number, minlength=len(pairs))
    if times.max(initial=0) > 1:
        twice = int(np.argmax(times > 1))
        raise InputError(
            f"The policy has {name_item(int(pairs.item[twice]))} more than once in "
            f"{name_context(int(pairs.context[twice]))}. Add its probabilities up."
        )


def check_impressions(log: Impressions) -> None:
    """InputError unless each impression has a propensity and a reward, some reward above 0."""
    if not len(log):
        raise InputError("The log has no impressions: there is nothing to estimate from.")
    p, r = log.propensity, log.reward
    _check_column(
        p,
        (p > 0) & (p <= 1),
        "propensity",
        "It is how likely the log's policy was to show just this item there: above 0, at most 1. "
        "Log it when showing; leave out what has none.",
    )
    _check_column(r, (r >= 0) & (r < np.inf), "reward", "Numbers of 0 or more are expected.")
    if not r.any():
        raise InputError(
            f"None of the {len(log):,} impressions has a reward: the log can tell no policy from "
            "another. Add the log of clicks and saves, or name other actions."
        )


def _check_column(values: Floats, good: npt.NDArray[np.bool_], what: str, remedy: str) -> None:
    rows = np.flatnonzero(~good)
    if len(rows):
        first = values[rows[0]]
        given = "missing" if np.isnan(first) else f"{first:g}"
        raise InputError(
            f"{len(rows):,} of {len(values):,} impressions have a {what} that is none, first "
            f"impression {rows[0]} (counted from 0): {given}. {remedy}"
        )


def share_unseen(log: Impressions, pairs: Pairs) -> float:
    """Which share of what the policy shows, in the contexts of the log, was never logged."""
    often = np.bincount(pairs.context[log.pair], minlength=int(pairs.context[-1]) + 1)
    mass = pairs.probability * often[pairs.context]
    seen = np.bincount(log.pair, minlength=len(pairs)) > 0
    return float(mass[~seen].sum() / len(log))
