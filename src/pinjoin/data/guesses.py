"""What type a column's first values have, where the file does not declare one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.data import strings, values
from pinjoin.data.schema import Type

ENOUGH = 0.99
"""The share of values that tells a type; those that do not fit are dropped and reported."""

_NUMBER = r"^[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?$"
# A code and no number: as a number it would lose its zeros, or its last digits.
_CODE = r"^[+-]?(0\d+|\d{16,})$"


def guess_text(array: pa.StringArray) -> Type | None:
    """The type of values written as text (not yet checked to be UTF-8); None if all are missing.

    Numbers with leading zeros, or too long to be exact, are codes and so text. A column of
    nothing but `no` is Norwegian; beside `yes` it is false.

    >>> guess_text(pa.array(["1.5", "2"])), guess_text(pa.array(["01", "2"]))
    ('number', 'text')
    """
    text = _given(array)
    if not len(text):
        return None
    words = pc.utf8_lower(text)
    if _most(pc.is_in(words, pa.array(["true", "false", "yes", "no"]))):
        seen = set(words.unique().to_pylist())
        return "bool" if {"true", "false"} & seen or {"yes", "no"} <= seen else "text"
    if pc.any(pc.match_substring_regex(text, _CODE)).as_py():
        return "text"
    if _most(pc.match_substring_regex(text, _NUMBER)):
        return "number"
    return "time" if _is_time(text) else "text"


def guess_json(found: Sequence[Any]) -> Type | None:
    """The same for values of JSON, which says itself what is a number and what a string.

    >>> guess_json([1, None, 2.5]), guess_json(["1"]), guess_json(["2015-03-01"])
    ('number', 'text', 'time')
    """
    given = [value for value in found if value is not None]
    if not given:
        return None
    enough = ENOUGH * len(given)
    if sum(isinstance(value, bool) for value in given) >= enough:
        return "bool"
    numbers = [v for v in given if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) >= enough:
        exact = all(abs(v) < values.EXACT for v in numbers if isinstance(v, int))
        return "number" if exact else "text"
    texts = [value for value in given if isinstance(value, str)]
    text = _given(pa.array([v.encode("utf-8", "replace").decode() for v in texts], pa.string()))
    if len(texts) == len(given) and not len(text):
        return None
    return "time" if len(texts) >= enough and _is_time(text) else "text"


def _given(array: pa.StringArray) -> pa.StringArray:
    """The values that do not say that there is none, stripped."""
    bad = strings.not_utf8(array)
    return values.present(strings.without(array, bad) if len(bad) else array).drop_null()


def _is_time(text: pa.StringArray) -> bool:
    """Whether they are dates; numbers could be seconds, but then nearly anything could."""
    is_date = pc.match_substring_regex(text, r"^\d{4}-\d\d-\d\d")
    found, _ = values.times(pc.if_else(is_date, text, None))
    return _most(found.is_valid())


def _most(mask: pa.BooleanArray) -> bool:
    return bool(mask.true_count >= ENOUGH * len(mask))
