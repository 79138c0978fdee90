"""Which images may be shown: `in_stock and locale in ('de', 'at') and feature_price < 50`.

An image is eligible if one of its pins satisfies the whole filter. docs/filters.md has the
language; nothing of it can do more than compare columns with values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import check
from pinjoin.core.types import NO_ROW
from pinjoin.data.attributes import COUNTS
from pinjoin.data.schema import TYPES, Type, type_of
from pinjoin.filters.conditions import Condition, columns_of
from pinjoin.filters.errors import FilterError
from pinjoin.filters.evaluation import Binder, Values
from pinjoin.filters.syntax import parse
from pinjoin.lookup import Lookup

__all__ = ["Filter", "FilterError", "Filters", "eligible", "filter_columns", "quoted"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on pins, read but not yet compared with the columns of a catalogue."""

    text: str
    condition: Condition

    @staticmethod
    def parse(text: str) -> Filter:
        """Read a filter. Raises FilterError, which says where it goes wrong.

        >>> Filter.parse("price < 50 and (safe or locale in ('de', 'at'))").columns
        ('price', 'safe', 'locale')
        """
        check(isinstance(text, str), "filter", "related", "text", text)
        return Filter(text, parse(text))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it names."""
        return tuple(dict.fromkeys(column.name for column in columns_of(self.condition)))


class Filters:
    """Which images of a catalogue satisfy a filter; the last `size` answers are kept.

    Thread-safe. A mask takes a byte an image.
    """

    def __init__(self, lookup: Lookup, size: int = 64) -> None:
        self._masks = lru_cache(size)(partial(eligible, lookup))

    def mask(self, text: str) -> Mask:
        """(images,) bool, read-only: see `eligible`."""
        return self._masks(text)


def eligible(lookup: Lookup, text: str | Filter) -> Mask:
    """(images,) bool, read-only: the images with a pin for which the filter is true.

    Not false and not null. `boards` and `pins`, the numbers of an image's boards and pins, are
    the same for all of its pins. Raises FilterError.
    """
    wanted = text if isinstance(text, Filter) else Filter.parse(text)
    teller = Teller(lookup, wanted)
    images = lookup.snapshot.array("pin_image")
    mask = np.zeros(lookup.n_images, bool)
    for first, length, values in _batches(lookup, wanted.columns):
        rows = images[first : first + length][teller.holds(values, length)]
        mask[rows[rows != NO_ROW]] = True
    mask.flags.writeable = False
    return mask


class Teller:
    """Tells of pins of a catalogue whether a filter is true. Raises FilterError if it cannot be
    asked there. types: of the columns that may be named."""

    def __init__(self, lookup: Lookup, wanted: Filter) -> None:
        known = filter_columns(lookup)
        self.types = {name: TYPES[kind] for name, kind in known.items()}
        self._told = Binder(wanted.text, known).bind(wanted.condition)

    def holds(self, values: Values, n: int) -> Mask:
        """(n,) whether it is true of each of n pins, given their columns: not false, not null."""
        found = self._told(values)
        if isinstance(found, pa.Scalar):
            found = pa.repeat(found, n)
        holds: Mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
        return holds


def quoted(text: str) -> str:
    """Text as filters have it: between single quotes, its own doubled.

    >>> quoted("rock 'n' roll")
    "'rock ''n'' roll'"
    """
    return "'" + text.replace("'", "''") + "'"


def filter_columns(lookup: Lookup) -> dict[str, Type]:
    """The columns that filters of a catalogue may name, and their types."""
    stored = {field.name: type_of(field.type) for field in lookup.snapshot.table("pins").schema}
    own: dict[str, Type] = {name: kind for name, kind in stored.items() if kind is not None}
    return own | dict.fromkeys(COUNTS, "number")


def _batches(lookup: Lookup, columns: tuple[str, ...]) -> Iterator[tuple[int, int, Values]]:
    """(first pin, number of pins, columns) of all pins, in the batches they are stored in."""
    stored = [name for name in columns if name not in COUNTS]
    table = lookup.snapshot.table("pins").select(stored or ["pin_id"])
    counts = {name: _counts(lookup, name) for name in COUNTS if name in columns}
    images = lookup.snapshot.array("pin_image")
    batches = table.to_batches()
    starts = accumulate((batch.num_rows for batch in batches), initial=0)
    for first, batch in zip(starts, batches, strict=False):
        values: dict[str, Any] = {name: _as_stored(batch.column(name)) for name in stored}
        rows = images[first : first + batch.num_rows]
        for name, count in counts.items():
            values[name] = pa.array(count[np.minimum(rows, len(count) - 1)])
        yield first, batch.num_rows, values


def _counts(lookup: Lookup, name: str) -> npt.NDArray[np.float64]:
    """(images,) the number of boards or pins of each image."""
    if name == "boards":
        return lookup.incidence.degrees.astype(np.float64)
    return np.diff(lookup.snapshot.array("image_pins.indptr")).astype(np.float64)


def _as_stored(column: pa.Array) -> pa.Array:
    """A source of the user's own may keep other types than `TYPES`."""
    kind = type_of(column.type)
    if kind is None or column.type == TYPES[kind]:
        return column
    return column.cast(TYPES[kind], safe=False)  # times are cut to seconds, as everywhere
