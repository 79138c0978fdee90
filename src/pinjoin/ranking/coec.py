"""Clicks over expected clicks: how much better something does than its places let expect (§IV.B).

    COEC(q, d) = Σ actions on d for q / Σ over its impressions e(position, device[, surface])

1 = exactly as expected; a click at the bottom says more than one at the top.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError, check
from pinjoin.core.types import Int64s, UInt32s
from pinjoin.ranking.expected import THIN, ExpectedRates, Floats, expected_rates

if TYPE_CHECKING:
    from pinjoin.data.event_log import EventLog

ACTION_CODES = {"impression": 0, "click": 1, "clickthrough": 2, "save": 3, "hide": 4}
"""Bit numbers of what can be done to an impression, as in `pinjoin.data.events.ACTIONS`."""

ENGAGEMENT = ("click", "clickthrough", "save")
"""What counts as an action. To hide is none."""

_DONE_BITS = len(ACTION_CODES)


@dataclass(frozen=True)
class CoecTable:
    """COEC of every (query, candidate) that was shown, by query, then candidate.

    query, candidate uint32 [pairs]; impressions int64; actions and expected float64.
    """

    query: UInt32s
    candidate: UInt32s
    impressions: Int64s
    actions: Floats
    expected: Floats

    def __len__(self) -> int:
        return len(self.query)

    @property
    def coec(self) -> Floats:
        """actions / expected, float64 [pairs]; 0 where nothing was done."""
        return ratio(self.actions, self.expected)

    def interval(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """(low, high) of COEC: see `coec_interval`."""
        return coec_interval(self.actions, self.expected, confidence)


def ratio(actions: Floats, expected: Floats) -> Floats:
    """actions / expected; 0 where there is no action, whatever was expected."""
    out: Floats = np.divide(actions, expected, out=np.zeros(len(actions)), where=actions != 0)
    return out


def coec_interval(
    actions: npt.NDArray[Any], expected: npt.NDArray[Any], confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Between which values the true COEC lies, given so many actions: [n], [n].

    The exact (Garwood) interval of a Poisson count over what was expected. Few impressions make
    it wide; without an action its low end is 0.

    >>> low, high = coec_interval(np.array([0, 10, 1000]), np.array([1.0, 10.0, 1000.0]))
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.0, 0.48, 0.94], [3.69, 1.84, 1.06])
    """
    from scipy.special import gammaincinv

    check(0 < confidence < 1, "confidence", "coec_interval", "between 0 and 1", confidence)
    a, tail = np.asarray(actions, np.float64), (1 - confidence) / 2
    low = np.where(a > 0, gammaincinv(np.maximum(a, 1e-9), tail), 0.0)
    high = gammaincinv(a + 1, 1 - tail)
    return low / expected, high / expected


def action_weights(actions: Collection[str] | Mapping[str, float]) -> Floats:
    """What a mask of done actions is worth, float64 [32]: bit a stands for action a.

    `actions`: those that count 1 each, or how much each counts (0 or more).
    Raises ConfigError for an unknown action, none, or a weight below 0.

    >>> float(action_weights({"click": 1, "save": 2})[0b01011])
    3.0
    """
    worth = dict(actions) if isinstance(actions, Mapping) else dict.fromkeys(actions, 1.0)
    allowed = f"some of {', '.join(list(ACTION_CODES)[1:])}"
    known = bool(worth) and set(worth) <= set(ACTION_CODES) - {"impression"}
    check(known, "actions", "action_weights", allowed, actions)
    positive = all(0 <= w < np.inf for w in worth.values())
    check(positive, "actions", "action_weights", "weights of 0 or more", actions)
    masks = np.arange(1 << _DONE_BITS)
    bits = [(masks >> ACTION_CODES[name] & 1) * float(w) for name, w in worth.items()]
    weights: Floats = np.sum(bits, axis=0, dtype=np.float64)
    return weights


def cell_totals(
    cell: npt.NDArray[Any], done: npt.NDArray[np.uint8], n_cells: int, weights: Floats
) -> tuple[Int64s, Floats]:
    """(impressions int64, weighted actions float64), each [cells], of events [n]."""
    from pinjoin.ranking._coec_kernel import count_cells

    counts = np.zeros((n_cells, 1 << _DONE_BITS), np.int64)
    count_cells(cell, done, counts)
    return counts[:, 1::2].sum(axis=1), counts @ weights


def coec_arrays(
    query: UInt32s,
    candidate: UInt32s,
    cell: UInt32s,
    done: npt.NDArray[np.uint8],
    rates: Floats,
    weights: Floats,
) -> CoecTable:
    """COEC of events as arrays [n]; `done` has bit 0 for an impression, bit a for action a.

    An event may be an impression with its actions, or only either. rates float64 [cells],
    weights float64 [32] (`action_weights`). Pairs that have no impression are left out.
    The result does not depend on the order of the events. 8 bytes of scratch per event;
    100 M events take some seconds on one core.
    """
    from pinjoin.ranking._coec_kernel import add_up, count_pairs, pack

    n = len(query)
    queries = int(query.max(initial=0)) + 1
    bits = int(candidate.max(initial=0)).bit_length()
    cell_bits = (len(rates) - 1).bit_length()
    shift = cell_bits + _DONE_BITS
    # Queries whose number does not fit beside the rest in 64 bits are done in several rounds.
    block = 1 << min(32, 64 - bits - shift)
    parts: list[CoecTable] = []
    scratch = np.empty(n, np.uint64)
    for first in range(0, queries, block):
        used = pack(query, candidate, cell, done, first, first + block,
                    bits, cell_bits, _DONE_BITS, scratch)  # fmt: skip
        words = scratch[:used]
        words.sort()
        pairs = np.empty(count_pairs(words, shift), np.uint64)
        impressions = np.empty(len(pairs), np.int64)
        actions, expected = np.empty((2, len(pairs)))
        add_up(words, cell_bits, _DONE_BITS, rates, weights, pairs, impressions, actions, expected)
        seen = impressions > 0
        low = np.uint64((1 << bits) - 1)
        parts.append(
            CoecTable(
                ((pairs >> np.uint64(bits))[seen] + np.uint64(first)).astype(np.uint32),
                (pairs & low)[seen].astype(np.uint32),
                impressions[seen],
                actions[seen],
                expected[seen],
            )
        )
    if len(parts) == 1:
        return parts[0]
    columns = ("query", "candidate", "impressions", "actions", "expected")
    return CoecTable(*(np.concatenate([getattr(p, name) for p in parts]) for name in columns))


def coec_of_log(
    log: EventLog,
    *,
    actions: Collection[str] | Mapping[str, float] = ENGAGEMENT,
    thin: float = THIN,
    rates: ExpectedRates | None = None,
) -> CoecTable:
    """COEC of a log; e over the whole of it, or `rates` of another log with the same cells.

    Raises InputError if nothing was shown or done; ConfigError for an unknown action.
    """
    weights = action_weights(actions)
    if rates is None:
        shown, done = cell_totals(log.cell, log.done, len(log.cells), weights)
        rates = expected_rates(shown, done, log.cells.levels, thin=thin)
    if len(rates.rates) != len(log.cells):
        raise InputError(
            f"The rates are of {len(rates.rates)} cells and the log has {len(log.cells)}. "
            "Compute them from a log that was read together with this one."
        )
    return coec_arrays(log.query, log.candidate, log.cell, log.done, rates.rates, weights)
