"""A log of what people did, in the rows of a catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pinjoin.core.errors import InputError
from pinjoin.data.event_log import EventLog
from pinjoin.lookup import Lookup
from pinjoin.ranking.coec import CoecTable, action_weights, cell_totals, coec_of_log
from pinjoin.ranking.expected import ExpectedRates, Floats, expected_rates

_NAMED = 3  # ids that are unknown


@dataclass(frozen=True)
class Logged:
    """What of a log is about images of the catalogue.

    log: its impressions of one image for another; rates: of the cells of the whole log, whatever
    was shown there; left_out: impressions of something else; unknown: ids that no image has, the
    most frequent first, `n_unknown` in all.
    """

    log: EventLog
    rates: ExpectedRates
    actions: Mapping[str, float]
    left_out: int
    unknown: tuple[str, ...]
    n_unknown: int

    @property
    def worth(self) -> Floats:
        """(impressions,) what was done to each is worth."""
        worth: Floats = action_weights(self.actions)[self.log.done]
        return worth

    @property
    def table(self) -> CoecTable:
        """COEC of each pair."""
        return coec_of_log(self.log, actions=self.actions, rates=self.rates)

    def at_face_value(self) -> Logged:
        """As if all places were alike: clicks count for what they are."""
        everywhere = float(self.table.actions.sum() / self.table.impressions.sum())
        rates = np.full_like(self.rates.rates, everywhere)
        return replace(self, rates=ExpectedRates(rates, rates, 0.0))


def in_rows(known: Lookup, log: EventLog, actions: Mapping[str, float]) -> Logged:
    """A log whose items are pin ids, signatures or image references of a catalogue.

    Raises InputError if nothing in it is about the catalogue, or nothing was shown or done.
    """
    weights = action_weights(actions)
    shown, done = cell_totals(log.cell, log.done, len(log.cells), weights)
    rates = expected_rates(shown, done, log.cells.levels)
    if log.items is None:
        raise InputError("The log is in rows already; it must have the names of its items.")
    rows = known.find_all(log.items)
    times = np.bincount(log.query, minlength=len(rows)) + np.bincount(
        log.candidate, minlength=len(rows)
    )
    lost = np.flatnonzero(rows < 0)
    named = lost[np.argsort(-times[lost], kind="stable")[:_NAMED]]
    unknown = tuple(log.items[int(item)].as_py() for item in named)
    mapped = log.with_rows(rows)
    mapped = mapped.where(mapped.query != mapped.candidate)
    if not len(mapped):
        raise InputError(
            f"None of the {len(log):,} impressions is of one image of {known.path} for another: "
            f"unknown are {len(lost):,} of {len(rows):,} ids, such as "
            f"{', '.join(map(repr, unknown))}. Queries and candidates must be pin ids, signatures "
            "or image references of the catalogue; map the columns that hold them "
            "(--map query=COLUMN)."
        )
    return Logged(mapped, rates, actions, len(log) - len(mapped), unknown, len(lost))
