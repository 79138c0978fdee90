"""Navboost: what people did with a candidate for this very query lifts or sinks it there (§VI).

    nb(q, d) = log((actions + α) / (expected + α))          score += γ · nb

Actions are weighted (a save may say more than a click) and expected is COEC's, in the same
weights: nb is 0 for what does as expected and for what was never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError, check
from pinjoin.core.types import Int64s
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

ELSEWHERE = -1
"""In place of a cell: none that the log knows."""

_ENDINGS = 0xFFFF

Place = tuple[str | None, str | None, str | None]
"""Position, device and surface."""


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
    slowly; the next training computes them again.) Reading while one other thread adds is safe:
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
        places: Sequence[Place] = (),
        until: int | None = None,
    ) -> None:
        """rates (cells,): expected weighted actions per impression; `table`: what is counted
        already, with these rates and weights; places: of the cells, for `cell`; until: the time
        (unix seconds) of the last event counted, None if unknown."""
        self.config = config or NavboostConfig()
        self.rates: Floats = np.asarray(rates, np.float64)
        self.places, self.until = tuple(places), until
        self._cells = {place: cell for cell, place in enumerate(self.places)}
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
        rates = expected_rates(shown, done, log.cells.levels, thin=config.thin)
        return Navboost.at_rates(log, rates.rates, config)

    @staticmethod
    def at_rates(log: EventLog, rates: Floats, config: NavboostConfig | None = None) -> Navboost:
        """From a log and rates (cells,) that are known, of a log that holds more, say."""
        config = config or NavboostConfig()
        weights = action_weights(config.weights)
        table = coec_arrays(log.query, log.candidate, log.cell, log.done, rates, weights)
        return Navboost(rates, config, table, log.cells.places(), log.until)

    def cell(
        self, position: str | None, device: str | None = None, surface: str | None = None
    ) -> int:
        """The number of a place, of one that the log did not know as well."""
        return self._cells.get((position, device, surface), ELSEWHERE)

    def add(self, query: int, candidate: int, cell: int, action: str = "impression") -> None:
        """Count one event: an impression at a cell, or an action on one. What is shown elsewhere
        than the log knows is expected to do as what was shown does.

        The caller sees to it that an event comes once. ConfigError for an unknown action or cell.
        """
        allowed = f"one of {', '.join(ACTION_CODES)}"
        check(action in ACTION_CODES, "action", "Navboost.add", allowed, action)
        known = cell == ELSEWHERE or 0 <= cell < len(self.rates)
        check(known, "cell", "Navboost.add", f"from 0 to {len(self.rates) - 1}", cell)
        of_query = self._live.setdefault(query, {})
        actions, expected = of_query.get(candidate, (0.0, 0.0))
        if action == "impression":
            expected += self._mean_rate if cell == ELSEWHERE else float(self.rates[cell])
        else:
            actions += self._worth[action]
        of_query[candidate] = (actions, expected)

    def values(self, query: int, candidates: npt.NDArray[np.integer[Any]]) -> Floats:
        """nb of each candidate for the query: float64 (candidates,)."""
        actions, expected = self.sums(query, candidates)
        alpha, boost = self.config.alpha, np.zeros(len(actions))
        some = np.flatnonzero((actions != 0) | (expected != 0))  # of many candidates, few
        boost[some] = np.log((actions[some] + alpha) / (expected[some] + alpha))
        return boost

    def sums(self, query: int, candidates: npt.NDArray[np.integer[Any]]) -> tuple[Floats, Floats]:
        """(weighted actions, expected) of each candidate for the query: float64 (candidates,)."""
        candidates = np.asarray(candidates)
        actions, expected = np.zeros((2, len(candidates)))
        first, last = np.searchsorted(self.table.query, np.array([query, query + 1], np.uint32))
        t = self.table
        for names, done, likely in (
            (t.candidate[first:last], t.actions[first:last], t.expected[first:last]),
            self._live_of(query),
        ):
            if len(names):
                known, at = _found(names, candidates)
                actions[known] += done[at]
                expected[known] += likely[at]
        return actions, expected

    @cached_property
    def _mean_rate(self) -> float:
        shown = int(self.table.impressions.sum())
        return float(self.table.expected.sum() / shown if shown else self.rates.mean())

    def knows(self, query: int) -> bool:
        """Whether anything was shown for a query."""
        at = int(np.searchsorted(self.table.query, np.uint32(query)))
        known = at < len(self.table) and int(self.table.query[at]) == query
        return known or query in self._live

    def _live_of(self, query: int) -> tuple[Int64s, Floats, Floats]:
        """(candidates, ascending, their actions, expected) of what was added for a query."""
        live = sorted(self._live.get(query, {}).copy().items())
        names = np.array([name for name, _ in live], np.int64)
        sums = np.array([pair for _, pair in live]).reshape(len(live), 2)
        return names, sums[:, 0], sums[:, 1]


def _found(names: npt.NDArray[Any], candidates: npt.NDArray[Any]) -> tuple[Int64s, Int64s]:
    """(places of the candidates that are among names (n,), ascending, their places in names)."""
    # Of thousands of candidates a query has seen few: most are told by their last bits.
    ending = np.zeros(_ENDINGS + 1, np.bool_)
    ending[names & _ENDINGS] = True
    maybe = np.flatnonzero(ending[candidates & _ENDINGS])
    at = np.minimum(np.searchsorted(names, candidates[maybe]), len(names) - 1)
    right = names[at] == candidates[maybe]
    return maybe[right], at[right]


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
