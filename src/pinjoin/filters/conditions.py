"""What a filter says, as a tree: columns and values compared, and the comparisons joined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pinjoin.data.schema import Type


@dataclass(frozen=True, slots=True)
class Column:
    """A column by name; `quoted` if it stood in double quotes."""

    name: str
    at: int | None
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as written: times in unix seconds, null of type None. `at` is not always known."""

    value: bool | float | str | None
    type: Type | None
    at: int | None = None


Operand = Column | Literal


@dataclass(frozen=True, slots=True)
class Compare:
    """left op right; op is one of = != < <= > >=."""

    op: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class In:
    """Whether the operand equals one of the values."""

    operand: Operand
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Like:
    r"""Whether text matches a pattern: % any text, _ any one character, \ before either itself."""

    operand: Operand
    pattern: Literal


@dataclass(frozen=True, slots=True)
class IsNull:
    """Whether the operand is missing: never null itself."""

    operand: Operand


@dataclass(frozen=True, slots=True)
class Truth:
    """A column or value of true and false by itself."""

    operand: Operand


@dataclass(frozen=True, slots=True)
class Not:
    """True where the condition is false, null where it is null."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Both:
    """All of the conditions."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of the conditions or more."""

    conditions: tuple[Condition, ...]


Condition = Compare | In | Like | IsNull | Truth | Not | Both | Either


def columns_of(condition: Condition) -> Iterator[Column]:
    """The columns it names, in order, again if it does."""
    match condition:
        case Not(inner):
            yield from columns_of(inner)
        case Both(parts) | Either(parts):
            for part in parts:
                yield from columns_of(part)
        case Compare(_, left, right):
            yield from (operand for operand in (left, right) if isinstance(operand, Column))
        case In(operand) | Like(operand) | IsNull(operand) | Truth(operand):
            if isinstance(operand, Column):
                yield operand
