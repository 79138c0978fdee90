"""Conditions checked against the columns there are, then told for many pins at once.

Three-valued logic, as in SQL: what compares a missing value is neither true nor false but null,
`not null` is null, `null or true` is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.data.schema import TYPES, Type
from pinjoin.filters.conditions import (
    Both,
    Column,
    Compare,
    Condition,
    Either,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Operand,
    Truth,
)
from pinjoin.filters.errors import FilterError
from pinjoin.filters.syntax import as_times

MAX_PATTERN = 1_000
"""Characters of a like pattern."""

Values = Mapping[str, pa.Array]
"""Columns by name, of equal length, in the types of `TYPES`."""

Told = Callable[[Values], Any]
"""From columns to a boolean array with nulls, or to one boolean scalar that holds of all rows."""

_TELL: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_NULL = pa.scalar(None, pa.bool_())
_WRITTEN: Mapping[Type, str] = {
    "bool": "true or false",
    "number": "a number",
    "text": "text in single quotes",
    "time": "a time such as '2015-03-01' or '2015-03-01T12:00:00Z'",
}


class Binder:
    """Turns conditions into functions of columns; refuses what does not fit them."""

    def __init__(self, text: str, types: Mapping[str, Type]) -> None:
        self._text = text
        self._types = types

    def bind(self, condition: Condition) -> Told:
        """The function that tells of each row whether the condition holds. Raises FilterError."""
        match condition:
            case Not(inner):
                told = self.bind(inner)
                return lambda columns: pc.invert(told(columns))
            case Both(parts):
                return _joined(pc.and_kleene, [self.bind(part) for part in parts])
            case Either(parts):
                return _joined(pc.or_kleene, [self.bind(part) for part in parts])
            case IsNull(operand):
                self._type(operand)
                value = self._value(operand)
                return lambda columns: pc.is_null(value(columns))
            case Truth(operand):
                if self._type(operand) not in ("bool", None):
                    raise self._mismatch(operand, "stands alone")
                return self._value(operand)
            case Compare():
                return self._compare(condition)
            case In():
                return self._in(condition)
            case Like():
                return self._like(condition)

    def _compare(self, condition: Compare) -> Told:
        kind = self._common(condition.left, condition.right)
        if kind is None:
            return lambda columns: _NULL
        if kind == "bool" and condition.op not in ("=", "!="):
            raise self._error("true and false are compared by = and != only", condition.left)
        tell = _TELL[condition.op]
        left, right = (self._value(side, kind) for side in (condition.left, condition.right))
        return lambda columns: tell(left(columns), right(columns))

    def _in(self, condition: In) -> Told:
        kind = self._type(condition.operand)
        if kind is None:
            return lambda columns: _NULL
        found = self._as([one for one in condition.values if one.type is not None], kind)
        value = self._value(condition.operand)
        wanted = pa.array(found, TYPES[kind])
        has_null = len(found) < len(condition.values)

        def told(columns: Values) -> Any:
            given = value(columns)
            is_in = pc.is_in(given, wanted)
            known = pc.or_(is_in, False) if has_null else pc.is_valid(given)
            return pc.if_else(known, is_in, _NULL)

        return told

    def _like(self, condition: Like) -> Told:
        kind, pattern = self._type(condition.operand), condition.pattern
        if kind not in ("text", None):
            raise self._error(f"like compares text, and this is {kind}", condition.operand)
        if pattern.type is None or kind is None:
            return lambda columns: _NULL
        written = str(self._as([pattern], "text")[0])
        if len(written) > MAX_PATTERN:
            raise self._error(f"the pattern has more than {MAX_PATTERN:,} characters", pattern)
        if (len(written) - len(written.rstrip("\\"))) % 2:
            raise self._error("the pattern ends in a backslash that stands before nothing", pattern)
        # Arrow takes a backslash before what needs none for more than it says.
        plain = re.sub(r"\\([^%_\\])|(\\.)", r"\1\2", written, flags=re.DOTALL)
        value = self._value(condition.operand)
        return lambda columns: pc.match_like(value(columns), plain)

    def _common(self, left: Operand, right: Operand) -> Type | None:
        """The type in which two operands are compared: that of the column, if one is."""
        first, second = (right, left) if isinstance(left, Literal) else (left, right)
        kind = self._type(first)
        if isinstance(second, Literal):
            return kind if second.type is not None else None
        if kind is not None and self._type(second) != kind:
            raise self._mismatch(second, f"is compared with {kind}")
        return kind

    def _type(self, operand: Operand) -> Type | None:
        if isinstance(operand, Literal):
            return operand.type
        if operand.name not in self._types:
            raise self._unknown(operand)
        return self._types[operand.name]

    def _value(self, operand: Operand, kind: Type | None = None) -> Told:
        if isinstance(operand, Column):
            name = operand.name
            return lambda columns: columns[name]
        kind = kind or operand.type or "bool"
        scalar = pa.scalar(*self._as([operand], kind), TYPES[kind])
        return lambda columns: scalar

    def _as(self, literals: Sequence[Literal], kind: Type) -> list[bool | float | str | None]:
        """The literals' values as ones of a type; FilterError if one is none."""
        times: list[int | None] = [None] * len(literals)
        if kind == "time":
            times = as_times([_as_time_text(one) for one in literals])
        found: list[bool | float | str | None] = []
        for literal, time in zip(literals, times, strict=True):
            fits = literal.type in (kind, None)
            if not fits and time is None:
                raise self._mismatch(literal, f"is compared with {kind}", kind)
            found.append(literal.value if fits else time)
        return found

    def _mismatch(self, operand: Operand, problem: str, wanted: Type | None = None) -> FilterError:
        """`wanted`: the type that the operand should have had, if not its own."""
        kind = self._type(operand) or "bool"
        if isinstance(operand, Literal):
            what = f"{operand.value:g}" if isinstance(operand.value, float) else repr(operand.value)
        else:
            what = f"{operand.name}, which is {kind},"
        remedy = (
            f"{'Write' if wanted else 'Compare it with'} {_WRITTEN[wanted or kind]}, or build with "
            "--attribute NAME:TYPE if the column was taken for what it is not."
        )
        return FilterError(f"{what} {problem}", self._text, operand.at, remedy)

    def _unknown(self, column: Column) -> FilterError:
        close = get_close_matches(column.name.lower(), [n.lower() for n in self._types], n=2)
        names = [name for name in self._types if name.lower() in close]
        hint = f"Did you mean {' or '.join(names)}? " if names else ""
        if column.quoted:
            hint = f"{hint}Text stands in single quotes, column names in double ones. "
        remedy = (
            f"{hint}Columns are {', '.join(self._types)}; others are kept by pinjoin build "
            "--attribute NAME."
        )
        return FilterError(f"there is no column {column.name!r}", self._text, column.at, remedy)

    def _error(self, problem: str, operand: Operand) -> FilterError:
        return FilterError(problem, self._text, operand.at)


def _as_time_text(literal: Literal) -> str | None:
    """What may be read as a time: text, and whole numbers, which are unix seconds."""
    value = literal.value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else None


def _joined(join: Callable[[Any, Any], Any], parts: list[Told]) -> Told:
    def told(columns: Values) -> Any:
        found = parts[0](columns)
        for part in parts[1:]:
            found = join(found, part(columns))
        return found

    return told
