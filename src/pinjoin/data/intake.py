"""One block of rows being taken in: its fields as canonical columns, and which rows are lost.

Whole columns are looked at, never a row at a time; the costly steps (Unicode, white space,
patterns) run only on batches whose bytes show that they may be needed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.data import strings, values
from pinjoin.data.blocks import Block
from pinjoin.data.rejects import VALUE_LIMIT, Rejects
from pinjoin.data.schema import TYPES

FIELD_LIMIT = 1 << 20
"""A field longer than this (bytes) is no title or path; its row is rejected."""

NOT_UTF8 = "not UTF-8 text"
TOO_LONG = "the field is longer than 1 MiB"
EMPTY = "{column} is missing"
CONTROL = "a control character in {column}"
NOT_WHOLE = "{column} is a number that is not whole, or too large to be exact"
NO_TIME = "not a time between the years 1 and 9999; the row is kept without it"
NO_NUMBER = "not a finite number; the row is kept without it"
NOT_BOOL = "{column} is neither true nor false; the row is kept without it"
NOT_NUMBER = "{column} is no finite number, or too large to be exact; the row is kept without it"
NOT_TIME = "{column} is not a time between the years 1 and 9999; the row is kept without it"

_REMEDIES = {
    NOT_UTF8: "Save the file as UTF-8, or give encoding='latin-1' (--encoding latin-1) or what "
    "it was written in.",
    TOO_LONG: "Look for a quote that is not closed, or map another column.",
    EMPTY: "Fill it in, or map the column that holds it: --map {column}=COLUMN.",
    CONTROL: "Remove line breaks, tabs and NUL bytes from ids and image references.",
    NOT_WHOLE: "Write ids as text or whole numbers.",
    NO_TIME: "Write unix seconds (divide milliseconds by 1000) or ISO 8601, such as "
    "2015-03-01T12:00:00Z.",
    NO_NUMBER: "Write a plain number, or leave it empty.",
    **dict.fromkeys(
        (NOT_BOOL, NOT_NUMBER, NOT_TIME),
        "Mend it, leave it empty, or keep the column as text: --attribute {column}:text.",
    ),
}
_ATTRIBUTES: Mapping[pa.DataType, tuple[values.Reader, str]] = {
    TYPES["bool"]: (values.booleans, NOT_BOOL),
    TYPES["number"]: (values.exact_numbers, NOT_NUMBER),
    TYPES["time"]: (values.times, NOT_TIME),
}


class Intake:
    """One block on its way. `lost` bool [rows]: those that are rejected."""

    def __init__(self, block: Block, file: str, rejects: Rejects) -> None:
        self.block = block
        self.lost = np.zeros(block.length, bool)
        self.any_lost = False
        self._file = file
        self._rejects = rejects

    def ids(self, column: str, raw: pa.Array, required: bool) -> pa.StringArray:
        """Ids: stripped, NFC, whole numbers without `.0`; null where missing."""
        array = strings.as_strings(raw)
        if array is None:
            array, bad = _as_id_text(raw)
            if bad.any():
                self.lose(bad, column, raw, NOT_WHOLE)
        array = self._name(column, array, raw, normal_form=True)
        tail = strings.View.of(array).ends_with(b".0") if _has_point(array) else None
        if tail is not None and tail.any():
            array = pc.replace_substring_regex(array, r"^(-?\d+)\.0$", r"\1")
        return self._require(column, array, raw, required)

    def reference(self, column: str, raw: pa.Array) -> pa.StringArray:
        """An image's path or address: stripped; otherwise left as the file system knows it."""
        array = self._name(column, self._as_text(raw), raw, normal_form=False)
        return self._require(column, array, raw, required=True)

    def text(self, column: str, raw: pa.Array) -> pa.StringArray:
        """Free text as it is; null where empty."""
        array, view, _ = self._valid(column, self._as_text(raw), raw)
        return strings.with_nulls(array, view.lengths == 0)

    def attribute(self, field: pa.Field, raw: pa.Array) -> pa.Array:
        """What filters compare: null where missing, text stripped and NFC-normalised."""
        if field.type in _ATTRIBUTES:
            read, reason = _ATTRIBUTES[field.type]
            return self.values(field.name, raw, lambda a: read(values.present(a)), reason)
        array, view, (_, high) = self._valid(field.name, self._as_text(raw), raw)
        array = _trimmed(array, view, high, normal_form=True)
        return self._require(field.name, array, raw, required=False)

    def values(
        self,
        column: str,
        raw: pa.Array,
        read: values.Reader,
        reason: str,
        remedy: str | None = None,
    ) -> pa.Array:
        """Times or numbers; a value that is none is dropped, its row is kept."""
        array = strings.as_strings(raw)
        if array is None:
            array = raw
        else:
            array, _, _ = self._valid(column, array, raw)
        found, bad = read(array)
        bad &= ~self.lost
        if bad.any():
            self._report(np.flatnonzero(bad), column, raw, reason, remedy, "value")
        return found

    def _as_text(self, raw: pa.Array) -> pa.StringArray:
        array = strings.as_strings(raw)
        return raw.cast(pa.string()) if array is None else array

    def _valid(
        self, column: str, array: pa.StringArray, raw: pa.Array
    ) -> tuple[pa.StringArray, strings.View, tuple[int, int]]:
        """Valid UTF-8 of bearable length, its view and the range of its bytes."""
        view = strings.View.of(array)
        low, high = view.range()
        if high > 0x7F:
            bad = strings.not_utf8(array)
            if len(bad):
                self.lose(_mask(bad, len(array)), column, raw, NOT_UTF8)
                array = strings.without(array, bad)
                view = strings.View.of(array)
        lengths = view.lengths
        if lengths.size and lengths.max() > FIELD_LIMIT:
            self.lose(lengths > FIELD_LIMIT, column, raw, TOO_LONG)
        return array, view, (low, high)

    def _name(
        self, column: str, array: pa.StringArray, raw: pa.Array, normal_form: bool
    ) -> pa.StringArray:
        """Text without blank edges, and no row of it with a control character."""
        array, view, (low, high) = self._valid(column, array, raw)
        if low > 0x20 and high < 0x7F:
            return array
        array = _trimmed(array, view, high, normal_form)
        if low < 0x20 or high >= 0x7F:
            bad = values.rows_of(pc.match_substring_regex(array, r"\p{Cc}"))
            if bad.any():
                self.lose(bad, column, raw, CONTROL)
        return array

    def _require(
        self, column: str, array: pa.StringArray, raw: pa.Array, required: bool
    ) -> pa.StringArray:
        """Null where empty or a word for missing; rows lost for it if the column is required."""
        view = strings.View.of(array)
        lengths = view.lengths
        missing = lengths == 0
        short = np.flatnonzero((lengths >= 3) & (lengths <= 4))
        if len(short):
            initials = view.data[view.offsets[short]]
            short = short[np.isin(initials, np.frombuffer(b"nN<", np.uint8))]
        if len(short):
            words = pc.is_in(array.take(pa.array(short)), pa.array(values.MISSING_WORDS))
            missing[short[values.rows_of(words)]] = True
        array = strings.with_nulls(array, missing)
        if required and array.null_count:
            gone = values.rows_of(array.is_null())
            self.lose(gone, column, raw, EMPTY)
        return array

    def lose(
        self, bad: np.ndarray, column: str, raw: pa.Array, reason: str, remedy: str | None = None
    ) -> None:
        """Reject rows, each for its first reason only; `raw` holds what was given.

        Reasons of this module bring their remedy.
        """
        new = np.flatnonzero(bad & ~self.lost)
        if len(new):
            self._report(new, column, raw, reason, remedy, "row")
            self.lost[new] = True
            self.any_lost = True

    def _report(
        self,
        index: np.ndarray,
        column: str,
        raw: pa.Array,
        reason: str,
        remedy: str | None,
        dropped: str,
    ) -> None:
        shown = strings.as_strings(raw)
        given = (raw if shown is None else strings.as_bytes(shown)).take(pa.array(index))
        if shown is not None:
            given = pc.binary_slice(given, 0, 4 * VALUE_LIMIT + 4)
        self._rejects.add_many(
            file=self._file,
            rows=self.block.rows(index).tolist(),
            column=column,
            values=(value.as_py() for value in given),
            reason=reason.format(column=column),
            remedy=(remedy or _REMEDIES[reason]).format(column=column),
            dropped="value" if dropped == "value" else "row",
        )


def _trimmed(
    array: pa.StringArray, view: strings.View, high: int, normal_form: bool
) -> pa.StringArray:
    """Text without blank edges; `high` is the largest of its bytes."""
    if high > 0x7F:
        array = pc.utf8_trim_whitespace(array)
        return pc.utf8_normalize(array, "NFC") if normal_form else array
    return pc.ascii_trim_whitespace(array) if view.has_blank_edge() else array


def _as_id_text(raw: pa.Array) -> tuple[pa.StringArray, np.ndarray]:
    if pa.types.is_null(raw.type) or pa.types.is_boolean(raw.type):
        return raw.cast(pa.string()), np.zeros(len(raw), bool)
    return values.whole_numbers(raw)


def _has_point(array: pa.StringArray) -> bool:
    return bool((strings.View.of(array).data == ord(".")).any())


def _mask(rows: np.ndarray, length: int) -> np.ndarray:
    mask = np.zeros(length, bool)
    mask[rows] = True
    return mask
