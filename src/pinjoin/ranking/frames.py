"""`pinjoin.coec`: COEC of any data frame of events, as a frame of the same kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import InputError
from pinjoin.core.types import UInt32s
from pinjoin.data.frames import action_codes, joined, numbered, plain, require, to_arrow
from pinjoin.ranking.coec import (
    ENGAGEMENT,
    CoecTable,
    action_weights,
    cell_totals,
    coec_arrays,
    coec_interval,
)
from pinjoin.ranking.expected import THIN, expected_rates

Frame = TypeVar("Frame")


def coec(
    events: Frame,
    *,
    by: Sequence[str] | None = None,
    actions: Collection[str] = ENGAGEMENT,
    thin: float = THIN,
    confidence: float | None = None,
) -> Frame:
    """Clicks over expected clicks of each (query, candidate) in a frame of events.

    `events` (pandas, polars, Arrow, … anything narwhals knows) has one row per event: `query`,
    `candidate`, `action` ("impression", "click", "clickthrough", "save", "hide"), `position`
    (or `row` and `column`), `device`, and optionally `surface`, `request_id`; others are ignored.
    With a `request_id`, repeats of a (request_id, candidate, action) count once, and an action
    has the position and device of its impression, wherever that is in the frame; one without
    an impression is left out. Without it, every row counts as it is.

    `by`: the columns that make a place; by default position and device, and surface if present.
    `actions`: which ones count, 1 each. `thin`: see `expected_rates`.
    `confidence`: 0.95, say, adds `coec_low` and `coec_high` (`coec_interval`).

    Returns a frame of the same kind: `query`, `candidate` (their types as given), `impressions`,
    `actions` (int64), `expected`, `coec` (float64), by query, then candidate, ascending.

    Raises InputError, naming column and value, for what is missing, null or unknown, and where
    nothing was shown or done; ConfigError for a wrong parameter.

    >>> table = pa.table({
    ...     "query": ["q"] * 60, "candidate": ["a", "b"] * 30, "device": ["phone"] * 60,
    ...     "position": [1] * 60, "action": ["impression"] * 40 + ["click"] * 20,
    ... })
    >>> coec(table).to_pydict()["coec"]  # 10 actions / (20 × 20 / 40)
    [1.0, 1.0]
    """
    weights = action_weights(actions)
    table, rebuild = to_arrow(events, _KNOWN, "events", "coec")
    by = _places(table, by)
    require(table, ("query", "candidate", "action"))
    if not table.num_rows:
        raise InputError("The events have no rows. Check where they come from.")
    query, queries = numbered(table, "query")
    candidate, candidates = numbered(table, "candidate")
    action = action_codes(table)
    cell, levels = _cells(table, by, action == 0)
    done = np.left_shift(np.uint8(1), action)
    if "request_id" in table.column_names:
        kept, done = joined(table, candidate, action)
        query, candidate, cell = query[kept], candidate[kept], cell[kept]
    _check_placed(cell, by)
    shown, did = cell_totals(cell, done, len(levels), weights)
    rates = expected_rates(shown, did, levels, thin=thin).rates
    found = coec_arrays(query, candidate, cell, done, rates, weights)
    out: Frame = rebuild(_as_table(found, queries, candidates, confidence))
    return out


def _as_table(
    found: CoecTable, queries: pa.Array, candidates: pa.Array, confidence: float | None
) -> pa.Table:
    columns: dict[str, Any] = {
        "query": queries.take(pa.array(found.query)),
        "candidate": candidates.take(pa.array(found.candidate)),
        "impressions": found.impressions,
        "actions": found.actions.astype(np.int64),
        "expected": found.expected,
        "coec": found.coec,
    }
    if confidence is not None:
        low, high = coec_interval(found.actions, found.expected, confidence)
        columns |= {"coec_low": low, "coec_high": high}
    return pa.table(columns)


_KNOWN = frozenset(
    {"request_id", "query", "candidate", "action", "position", "row", "column", "device", "surface"}
)


def _places(table: pa.Table, by: Sequence[str] | None) -> tuple[str, ...]:
    """The columns that make a place."""
    grid = ("row", "column")
    names = table.column_names
    position = grid if "position" not in names and set(grid) <= set(names) else ("position",)
    if by is None:
        by = (*position, "device", *(["surface"] if "surface" in names else []))
        if "device" not in names and set(position) <= set(names):
            raise InputError(
                f"The events have no column 'device'; there are {', '.join(names)}. Rename "
                "yours, or pass by=('position',) if all were shown on one."
            )
    allowed = ("position", *grid, "device", "surface")
    wrong = [name for name in by if name not in allowed]
    if wrong or not by or isinstance(by, str):
        raise InputError(
            f"The by parameter of coec must be some of {', '.join(allowed)}. Got {by!r} instead."
        )
    require(table, by)
    return tuple(by)


_NO_CELL = 0xFFFFFFFF


def _cells(
    table: pa.Table, by: Sequence[str], is_shown: npt.NDArray[np.bool_]
) -> tuple[UInt32s, npt.NDArray[np.int64]]:
    """The place of each row, uint32 [n], and its level in each column of `by`, [cells, columns].

    An action may lack its position or device (it has those of its impression); an impression
    may lack its device, and then has the device "none".
    """
    codes = []
    placed = np.ones(table.num_rows, bool)
    for name in by:
        array = plain(table, name)
        missing = array.is_null().to_numpy(zero_copy_only=False)
        if name in ("position", "row", "column"):
            if (missing & is_shown).any():
                shown = int(np.flatnonzero(missing & is_shown)[0])
                raise InputError(
                    f"The events have {int((missing & is_shown).sum()):,} impressions without "
                    f"{name}, first in row {shown} (counted from 0). Fill it in or leave them out."
                )
            if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
                array = pc.replace_substring_regex(array, r"[\s()\[\]]", "")
        placed &= ~missing | is_shown
        indices = array.dictionary_encode().indices.fill_null(-1)
        codes.append(indices.to_numpy(zero_copy_only=False).astype(np.int64) + 1)
    key = np.zeros(table.num_rows, np.int64)
    for code in codes:
        key = key * (int(code.max()) + 1) + code
    _, first, cell = np.unique(key, return_index=True, return_inverse=True)
    numbers = np.where(placed, cell, _NO_CELL).astype(np.uint32)
    return numbers, np.stack([code[first] for code in codes], axis=1)


def _check_placed(cell: UInt32s, by: Sequence[str]) -> None:
    lost = np.flatnonzero(cell == _NO_CELL)
    if len(lost):
        raise InputError(
            f"The events have {len(lost):,} actions without {' or '.join(by)}, first in row "
            f"{lost[0]} (counted from 0), and no request_id to find their impressions by. "
            "Fill them in, or add the request_id of each event."
        )
