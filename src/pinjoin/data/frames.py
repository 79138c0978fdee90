"""Data frames of events, of whatever library, as checked Arrow columns and numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import InputError
from pinjoin.core.types import UInt32s
from pinjoin.data.event_log import join
from pinjoin.data.events import ACTIONS


def to_arrow(
    frame: Any, columns: Collection[str] | None, parameter: str, caller: str
) -> tuple[pa.Table, Callable[[pa.Table], Any]]:
    """Those of `columns` (None = all) that a frame has, as an Arrow table; and how to make a frame
    of its kind of another. `parameter` of `caller` is what errors call it.
    """
    import narwhals.stable.v2 as nw

    if isinstance(frame, pa.RecordBatch):
        frame = pa.Table.from_batches([frame])
    try:
        known = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise InputError(
            f"The {parameter} parameter of {caller} must be a data frame in memory (pandas, "
            f"polars, pyarrow, …). Got {type(frame).__name__} instead. Collect a lazy one first; "
            "for files use `pinjoin.data.events.open_events`."
        ) from error
    try:
        names = [name for name in known.columns if columns is None or name in columns]
        table = known.select(names).to_arrow()
    except (pa.ArrowException, TypeError) as error:
        raise InputError(
            f"The {parameter} cannot be read as a table: {error}. Give each column one type."
        ) from error
    return table, lambda found: nw.from_arrow(found, backend=known.implementation).to_native()


def require(table: pa.Table, names: Sequence[str]) -> None:
    """InputError unless the events have these columns."""
    for name in names:
        if name not in table.column_names:
            also = " (or row and column, for a grid)" if name == "position" else ""
            raise InputError(
                f"The events have no column {name!r}{also}; of those that count there are "
                f"{', '.join(table.column_names) or 'none'}. Rename yours."
            )


def plain(table: pa.Table, name: str) -> pa.Array:
    """A column as one plain array, NaN as null."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    array = column.combine_chunks()
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)


def numbered(table: pa.Table, name: str) -> tuple[UInt32s, pa.Array]:
    """Ids as numbers in ascending order of the ids, and the ids."""
    array = plain(table, name)
    refuse_null(array, name, "Leave these rows out or fill the id in.")
    encoded = array.dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), np.uint32)
    rank[order] = np.arange(len(order), dtype=np.uint32)
    numbers: UInt32s = rank[encoded.indices.to_numpy()]
    return numbers, encoded.dictionary.take(pa.array(order))


def refuse_null(array: pa.Array, name: str, remedy: str) -> None:
    """InputError if a column has a row without a value."""
    if array.null_count:
        first = int(pc.index(array.is_null(), True).as_py())
        raise InputError(
            f"The events have {array.null_count:,} rows without {name}, first in row {first} "
            f"(counted from 0). {remedy}"
        )


def action_codes(table: pa.Table) -> npt.NDArray[np.uint8]:
    """Numbers of ACTIONS, uint8 [n]; InputError for one that is none."""
    array = plain(table, "action")
    refuse_null(array, "action", "Leave these rows out.")
    found = pc.index_in(array, pa.array(ACTIONS, pa.string()).cast(array.type))
    if found.null_count:
        given = array.filter(found.is_null())[0].as_py()
        raise InputError(
            f"The events have an action {given!r}; it must be one of "
            f"{', '.join(ACTIONS)}. Rename it, or leave such rows out."
        )
    codes: npt.NDArray[np.uint8] = found.to_numpy(zero_copy_only=False).astype(np.uint8)
    return codes


def joined(
    table: pa.Table, candidate: UInt32s, action: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """(rows of the impressions, each once; what was done to them)."""
    array = plain(table, "request_id")
    refuse_null(array, "request_id", "Fill it in, or drop the column if requests are not known.")
    request = array.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.uint32)
    found = join(request, candidate, action)
    kept = np.flatnonzero(found.state == 0)
    return kept, found.done[kept]
