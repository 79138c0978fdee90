"""Ids, times and numbers in the many forms people write them, as canonical columns."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.data import strings
from pinjoin.data.schema import TIMESTAMP

Reader = Callable[[pa.Array], tuple[pa.Array, np.ndarray]]
"""From a file's values to canonical ones, and which rows (bool) held something else."""

EARLIEST, LATEST = -62_135_596_800, 253_402_300_799  # the years 1 and 9999, in unix seconds
EXACT = 2**53  # below this, a float is exactly one integer

MISSING_WORDS = ("nan", "NaN", "NAN", "null", "NULL", "None", "<NA>", "NaT")
"""What programs write for a missing value, read as such. (Not `NA`: it may be Namibia.)"""

_TRUE, _FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")
_NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$"
_TIME = r"^\d{4}-\d\d-\d\d([T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?( ?([Zz]|UTC|[+-]\d\d(:?\d\d)?))?)?$"
_ZONE = r"[T ]\d\d.*(?:Z|[+-]\d\d(:?\d\d)?)$"


def whole_numbers(array: pa.Array) -> tuple[pa.StringArray, np.ndarray]:
    """Numbers as the strings of their integers, and which rows hold none: bool [n].

    NaN becomes null, `12.0` becomes `12`; fractions, infinities and floats of 2**53 and more
    (which may stand for several integers) are reported and null.

    >>> whole_numbers(pa.array([12.0, None, 1.5]))[0].to_pylist()
    ['12', None, None]
    """
    if pa.types.is_integer(array.type):
        return array.cast(pa.string()), np.zeros(len(array), bool)
    values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    missing = np.isnan(values)
    with np.errstate(invalid="ignore"):
        whole = (np.floor(values) == values) & (np.abs(values) < EXACT)
    numbers = np.where(whole, values, 0).astype(np.int64)
    return pa.array(numbers, mask=~whole).cast(pa.string()), ~whole & ~missing


def numbers(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Any column as finite float64, and which rows hold something else: bool [n]. NaN is null."""
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.float64()), np.zeros(len(array), bool)
    if pa.types.is_string(kind):
        text = pc.ascii_trim_whitespace(array)
        bad = rows_of(
            pc.invert(pc.match_substring_regex(text, r"(?i)^(" + _NUMBER[1:-1] + "|nan|)$"))
        )
        given = pc.if_else(pc.or_(pa.array(bad), pc.equal(text, "")), None, text)
        values = _convert(given, lambda part: part.cast(pa.float64()))
    else:
        bad = np.zeros(len(array), bool)
        values = array.cast(pa.float64(), safe=False)
    found = values.to_numpy(zero_copy_only=False)
    infinite = np.isinf(found)
    return pa.array(found, mask=~np.isfinite(found)), bad | infinite


def exact_numbers(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """As `numbers`, without whole numbers that a float cannot tell from their neighbours.

    >>> exact_numbers(pa.array(["9007199254740993", "1e300"]))[0].to_pylist()
    [None, 1e+300]
    """
    found, bad = numbers(array)
    large = rows_of(pc.greater_equal(pc.abs(found), float(EXACT)))
    if pa.types.is_string(array.type):
        large &= rows_of(pc.match_substring_regex(array, r"^\s*[+-]?\d+\s*$"))
    elif pa.types.is_floating(array.type):
        large[:] = False
    return (pc.if_else(pa.array(large), None, found) if large.any() else found), bad | large


def booleans(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Any column as true and false, and which rows hold something else: bool [n].

    >>> booleans(pa.array(["Yes", "f", "0", "maybe", ""]))[0].to_pylist()
    [True, False, False, None, None]
    """
    kind = array.type
    if pa.types.is_null(kind) or pa.types.is_boolean(kind):
        return array.cast(pa.bool_()), np.zeros(len(array), bool)
    if pa.types.is_string(kind):
        text = pc.utf8_lower(pc.utf8_trim_whitespace(array))
        true, false = (pc.is_in(text, pa.array(words)) for words in (_TRUE, _FALSE))
        given = pc.not_equal(text, "")
    else:
        value = array.cast(pa.float64(), safe=False)
        true, false = (pc.fill_null(pc.equal(value, float(bit)), False) for bit in (1, 0))
        given = pc.invert(pc.is_nan(value))
    known = pc.or_(true, false)
    return pc.if_else(known, true, None), rows_of(pc.and_(given, pc.invert(known)))


def present(array: pa.Array) -> pa.Array:
    """Text stripped, and null where it says that there is none; any other column as it is.

    >>> present(pa.array([" a ", "", "NaN"])).to_pylist()
    ['a', None, None]
    """
    if not pa.types.is_string(array.type):
        return array
    text = pc.utf8_trim_whitespace(array)
    return pc.if_else(pc.is_in(text, pa.array(["", *MISSING_WORDS])), None, text)


def times(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Any column as UTC seconds, and which rows hold no such time: bool [n].

    Numbers, also written as text, are unix seconds, cut to whole ones; text is an ISO 8601 date
    or date and time; what has no zone is UTC. The years 1 to 9999 are allowed: later ones are
    milliseconds in disguise.
    """
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), TIMESTAMP), np.zeros(len(array), bool)
    if pa.types.is_boolean(kind):
        return pa.nulls(len(array), TIMESTAMP), rows_of(array.is_valid())
    if pa.types.is_string(kind):
        return _times_of_text(array)
    if pa.types.is_temporal(kind):
        zone = getattr(kind, "tz", None)
        if not pa.types.is_timestamp(kind):
            array = array.cast(pa.timestamp("ms"))
        unit = array.type.unit
        if unit != "s":
            array = pc.floor_temporal(array.cast(pa.timestamp(unit)), unit="second")
        array = array.cast(pa.timestamp("s", zone), safe=False).cast(pa.int64())
        return _in_range(array)
    if pa.types.is_integer(kind):
        if pa.types.is_uint64(kind):
            array = pc.min_element_wise(array, pa.scalar(2**63 - 1, pa.uint64()))
        return _in_range(array.cast(pa.int64()))
    return _seconds(array.cast(pa.float64()))


def _seconds(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Float seconds, NaN and null alike missing."""
    values = array.to_numpy(zero_copy_only=False)
    missing = np.isnan(values)
    capped = np.clip(np.floor(np.where(missing, 0.0, values)), EARLIEST - 1, LATEST + 1)
    return _in_range(pa.array(capped.astype(np.int64), mask=missing))


def _in_range(seconds: pa.Array) -> tuple[pa.Array, np.ndarray]:
    bad = rows_of(pc.or_(pc.less(seconds, EARLIEST), pc.greater(seconds, LATEST)))
    if bad.any():
        seconds = pc.if_else(pa.array(bad), None, seconds)
    return seconds.cast(TIMESTAMP), bad


def _times_of_text(array: pa.StringArray) -> tuple[pa.Array, np.ndarray]:
    found = _times_of_one_form(array)
    return _times_of_any_form(array) if found is None else (found, np.zeros(len(array), bool))


def _times_of_one_form(array: pa.StringArray) -> pa.Array | None:
    """As `_times_of_any_form`, where all are of one length that Arrow reads as it is; else None.

    Programs write all their times alike, and this is many times faster than patterns.
    """
    view = strings.View.of(array)
    lengths = view.lengths
    if array.null_count or not len(array) or lengths.min() != lengths.max():
        return None
    first, (low, high) = array[0].as_py(), view.range()
    try:
        if low >= ord("0") and high <= ord("9"):
            seconds, bad = _in_range(array.cast(pa.int64()))
            return None if bad.any() else seconds
        if not re.fullmatch(_TIME, first):
            return None
        unit = "us" if "." in first else "s"
        found = array.cast(pa.timestamp(unit, "UTC" if re.search(_ZONE, first) else None))
    except pa.ArrowInvalid:
        return None
    if unit == "us":
        found = pc.floor_temporal(found, unit="second")
    return found.cast(TIMESTAMP)


def _times_of_any_form(array: pa.StringArray) -> tuple[pa.Array, np.ndarray]:
    text = pc.ascii_trim_whitespace(array)
    lengths = pc.binary_length(text)
    empty = pc.or_(pc.equal(lengths, 0), pc.is_in(text, pa.array(["nan", "NaN", "NaT"])))
    is_number = pc.match_substring_regex(text, _NUMBER)
    is_time = pc.match_substring_regex(text, _TIME)
    unknown = rows_of(pc.invert(pc.or_(pc.or_(is_number, is_time), empty)))
    parts = [pa.nulls(len(array), pa.int64())]
    bad = unknown
    if pc.any(is_number).as_py():
        found = pc.if_else(is_number, text, None)
        seconds, wrong = _seconds(_convert(found, lambda part: part.cast(pa.float64())))
        parts.append(seconds.cast(pa.int64()))
        bad = bad | wrong
    if pc.any(is_time).as_py():
        iso = pc.if_else(is_time, text, None)
        parts.append(_iso_seconds(iso))
    seconds = pc.coalesce(*parts)
    # A month 13 looks like a date and is none.
    lost = rows_of(pc.and_(is_time, pc.is_null(seconds)))
    return seconds.cast(TIMESTAMP), bad | lost


def _iso_seconds(iso: pa.StringArray) -> pa.Array:
    """ISO 8601 text (or null) as int64 unix seconds; null where it is no date after all."""
    iso = pc.replace_substring_regex(iso, r"[.,]\d+", "")
    iso = pc.replace_substring_regex(iso, r" ?(?:[Zz]|UTC)$", "Z")
    iso = pc.replace_substring_regex(iso, r"^(.{10}[T ].*?) ([+-])", r"\1\2")
    zoned = pc.match_substring_regex(iso, _ZONE)
    with_zone = _convert(pc.if_else(zoned, iso, None), lambda part: part.cast(TIMESTAMP))
    without = _convert(
        pc.if_else(zoned, None, iso), lambda part: part.cast(pa.timestamp("s")).cast(TIMESTAMP)
    )
    return pc.coalesce(with_zone, without).cast(pa.int64())


def _convert(array: pa.Array, convert: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """`convert(array)`, null in the single rows where it fails."""
    try:
        return convert(array)
    except pa.ArrowInvalid:
        if len(array) == 1:
            return convert(pa.nulls(1, array.type))
        middle = len(array) // 2
        halves = [_convert(array[:middle], convert), _convert(array[middle:], convert)]
        return pa.concat_arrays(halves)


def rows_of(mask: pa.BooleanArray) -> np.ndarray:
    """A mask as numpy, null as false."""
    if mask.null_count:
        mask = mask.fill_null(False)
    return np.asarray(mask.to_numpy(zero_copy_only=False))
