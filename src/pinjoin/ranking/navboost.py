"""Navboost: what people did with a candidate for this very query lifts or sinks it there (§VI).

    nb(q, d) = log((actions + α) / (expected + α))          score += γ · nb

Actions are weighted (a save may say more than a click) and expected is COEC's, in the same
weights: nb is 0 for what does as expected and for what was never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError, check
from pinjoin.ranking.coec import (
    ACTION_CODES,
    ENGAGEMENT,
    CoecTable,
    action_weights,
    cell_totals,
    coec_arrays,
)
from pinjoin.ranking.expected import THIN, Floats, expected_rates

if TYPE_CHECKING:
    from pinjoin.data.event_log import EventLog

GAMMAS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
"""The strengths that `tune_gamma` tries."""


@dataclass(frozen=True)
class NavboostConfig:
    """What counts, and how much doubt there is."""

    alpha: float = 1.0  # imagined actions, as expected: how much evidence it takes
    weights: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(ENGAGEMENT, 1.0))
    thin: float = THIN  # see `expected_rates`

    def __post_init__(self) -> None:
        good = 0 < self.alpha < np.inf
        check(good, "alpha", "NavboostConfig", "a number above 0", self.alpha)
        action_weights(self.weights)


class Navboost:
    """What was done and what was to be expected, for every (query, candidate) shown.

    Made of a log and its rates, then kept up to date event by event: after any events, in any
    order, the values are those of a log that holds them all, at the same rates. (Rates move
    slowly; the next build computes them again.) Reading while another thread adds is safe:
    a reader sees an event or does not.

    >>> nb = Navboost(np.array([0.5]))
    >>> for candidate, clicked in [(7, True), (7, True), (8, False), (8, False)]:
    ...     nb.add(1, candidate, 0)
    ...     if clicked: nb.add(1, candidate, 0, "click")
    >>> nb.values(1, np.array([7, 8, 9])).round(3).tolist()  # log(3 / 2), log(1 / 2), log(1 / 1)
    [0.405, -0.693, 0.0]
    """

    def __init__(
        self,
        rates: npt.NDArray[np.floating[Any]],
        config: NavboostConfig | None = None,
        table: CoecTable | None = None,
    ) -> None:
        """rates (cells,): expected weighted actions per impression; `table`: what is counted
        already, with these rates and weights."""
        self.config = config or NavboostConfig()
        self.rates: Floats = np.asarray(rates, np.float64)
        worth = action_weights(self.config.weights)
        self._worth = {name: float(worth[1 << code]) for name, code in ACTION_CODES.items()}
        empty = np.empty(0, np.uint32)
        self.table = table or CoecTable(
            empty, empty, np.empty(0, np.int64), np.empty(0), np.empty(0)
        )
        self._live: dict[int, dict[int, tuple[float, float]]] = {}

    @staticmethod
    def of_log(log: EventLog, config: NavboostConfig | None = None) -> Navboost:
        """From a whole log and the rates in it; InputError if nothing was shown or done."""
        config = config or NavboostConfig()
        weights = action_weights(config.weights)
        shown, done = cell_totals(log.cell, log.done, len(log.cells), weights)
        rates = expected_rates(shown, done, log.cells.levels, thin=config.thin).rates
        table = coec_arrays(log.query, log.candidate, log.cell, log.done, rates, weights)
        return Navboost(rates, config, table)

    def add(self, query: int, candidate: int, cell: int, action: str = "impression") -> None:
        """Count one event: an impression at a cell, or an action on one.

        The caller sees to it that an event comes once. ConfigError for an unknown action or cell.
        """
        allowed = f"one of {', '.join(ACTION_CODES)}"
        check(action in ACTION_CODES, "action", "Navboost.add", allowed, action)
        known = 0 <= cell < len(self.rates)
        check(known, "cell", "Navboost.add", f"from 0 to {len(self.rates) - 1}", cell)
        of_query = self._live.setdefault(query, {})
        actions, expected = of_query.get(candidate, (0.0, 0.0))
        if action == "impression":
            expected += float(self.rates[cell])
        else:
            actions += self._worth[action]
        of_query[candidate] = (actions, expected)

    def values(self, query: int, candidates: npt.NDArray[np.integer[Any]]) -> Floats:
        """nb of each candidate for the query: float64 (candidates,)."""
        actions, expected = self.sums(query, candidates)
        alpha = self.config.alpha
        boost: Floats = np.log((actions + alpha) / (expected + alpha))
        return boost

    def sums(self, query: int, candidates: npt.NDArray[np.integer[Any]]) -> tuple[Floats, Floats]:
        """(weighted actions, expected) of each candidate for the query: float64 (candidates,)."""
        candidates = np.asarray(candidates)
        actions, expected = np.zeros((2, len(candidates)))
        first = int(np.searchsorted(self.table.query, np.uint32(query), side="left"))
        last = int(np.searchsorted(self.table.query, np.uint32(query), side="right"))
        if last > first:
            names = self.table.candidate[first:last]
            at = np.minimum(np.searchsorted(names, candidates), len(names) - 1)
            known = names[at] == candidates
            actions[known] = self.table.actions[first + at[known]]
            expected[known] = self.table.expected[first + at[known]]
        live = self._live.get(query)
        if live:
            for i, candidate in enumerate(candidates.tolist()):
                if (found := live.get(candidate)) is not None:
                    actions[i] += found[0]
                    expected[i] += found[1]
        return actions, expected


@dataclass(frozen=True)
class GammaChoice:
    """The strength chosen, and the share of held-out triplets in order at each one tried."""

    gamma: float
    shares: Mapping[float, float]


def tune_gamma(
    better_scores: npt.NDArray[np.floating[Any]],
    worse_scores: npt.NDArray[np.floating[Any]],
    better_boosts: npt.NDArray[np.floating[Any]],
    worse_boosts: npt.NDArray[np.floating[Any]],
    gammas: Sequence[float] = GAMMAS,
) -> GammaChoice:
    """The γ under which score + γ · nb puts most held-out triplets in order; of equals the least.

    All (triplets,): a model's scores and `Navboost.values` of the better and the worse document.
    The triplets must come from events that are not in the Navboost (`EventLog.split_by_time`),
    or nb has seen what it is asked. A tie counts as half in order, so that γ = 0 with nothing
    else to go by is worth a half.

    >>> ones, zeros = np.ones(3), np.zeros(3)
    >>> tune_gamma(zeros, ones, np.array([3.0, 3.0, 0.0]), zeros, [0, 0.5, 1]).gamma
    0.5
    """
    arrays = [np.asarray(a, np.float64)
              for a in (better_scores, worse_scores, better_boosts, worse_boosts)]  # fmt: skip
    if len({a.shape for a in arrays}) > 1 or not arrays[0].size:
        raise InputError(
            "tune_gamma needs two scores and two boosts for each of at least one held-out "
            f"triplet. Got arrays of shapes {', '.join(str(a.shape) for a in arrays)}."
        )
    good = len(gammas) > 0 and all(0 <= g < np.inf for g in gammas)
    check(good, "gammas", "tune_gamma", "numbers ≥ 0", gammas)
    lead, lift = arrays[0] - arrays[1], arrays[2] - arrays[3]
    shares = {}
    for gamma in sorted(gammas):
        ahead = lead + gamma * lift
        shares[float(gamma)] = float(np.mean((ahead > 0) + 0.5 * (ahead == 0)))
    best = max(shares, key=lambda gamma: (shares[gamma], -gamma))
    return GammaChoice(best, shares)
