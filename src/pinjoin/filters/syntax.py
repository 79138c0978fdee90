"""Filters as people write them → conditions. Read by sqlglot; all but a small language refused.

Of the tree that sqlglot makes, only the nodes named here are taken over, each with only the parts
named here. What comes out holds columns, values and comparisons: nothing that could be run.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pinjoin.data import values
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
from pinjoin.filters.words import MAX_LENGTH, tokens_of, too_deep

if TYPE_CHECKING:
    from sqlglot import exp

_COMPARISONS = {"EQ": "=", "NEQ": "!=", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}

_PARTS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys((*_COMPARISONS, "And", "Or", "Is"), frozenset({"this", "expression"})),
    **dict.fromkeys(("Not", "Paren", "Column", "Neg", "Boolean"), frozenset({"this"})),
    "In": frozenset({"this", "expressions", "field"}),
    "Between": frozenset({"this", "low", "high"}),
    "Like": frozenset({"this", "expression", "negate"}),
    "Identifier": frozenset({"this", "quoted"}),
    "Literal": frozenset({"this", "is_string"}),
    "Cast": frozenset({"this", "to"}),
    "Null": frozenset(),
}
"""The nodes of a filter, by the names of their classes, and which parts of them may be set."""


def parse(text: str) -> Condition:
    """The condition that a filter states. Raises FilterError."""
    tokens = tokens_of(text)
    try:
        return _Reader(text).condition(_tree(text, tokens))
    except RecursionError:  # the caller had little of the stack left
        raise too_deep(text) from None


def as_times(texts: Sequence[str | None]) -> list[int | None]:
    """The unix seconds of ISO 8601 texts (UTC where they have no zone); None for no times."""
    found, _ = values.times(pa.array(texts, pa.string()))
    seconds: list[int | None] = found.cast(pa.int64()).to_pylist()
    return seconds


def _tree(text: str, tokens: list[Any]) -> exp.Expr:
    from sqlglot import Dialect, exp
    from sqlglot.errors import ErrorLevel, ParseError

    parser = Dialect.get_or_raise(None).parser(
        error_level=ErrorLevel.IMMEDIATE, error_message_context=MAX_LENGTH
    )
    try:
        [tree] = parser.parse_into(exp.Condition, tokens, text)
    except ParseError as error:
        found = error.errors[0] if error.errors else {}
        near = found.get("highlight")
        at = len(found.get("start_context") or "") if near else None
        problem = f"it cannot be read{f' at {near!r}' if near else ''}"
        raise FilterError(problem, text, at) from None
    if tree is None:
        raise FilterError("it is empty", text)
    return tree


class _Reader:
    """Takes a tree over, node by node."""

    def __init__(self, text: str) -> None:
        self._text = text

    def condition(self, node: exp.Expr) -> Condition:
        """The condition that a node of sqlglot's states."""
        match name := self._checked(node):
            case "Paren":
                return self.condition(node.this)
            case "Not":
                return Not(self.condition(node.this))
            case "And":
                return Both(self._chain(node, name))
            case "Or":
                return Either(self._chain(node, name))
            case "Column" | "Boolean" | "Null":
                return Truth(self._operand(node))
            case "Is" if type(node.expression).__name__ == "Null":
                return IsNull(self._operand(node.this))
            case "In":
                return self._in(node)
            case "Between":
                operand = self._operand(node.this)
                low, high = (self._operand(node.args[part]) for part in ("low", "high"))
                return Both((Compare(">=", operand, low), Compare("<=", operand, high)))
            case "Like":
                like = Like(self._operand(node.this), self._literal(node.expression))
                return Not(like) if node.args.get("negate") else like
            case _ if name in _COMPARISONS:
                sides = self._operand(node.this), self._operand(node.expression)
                return Compare(_COMPARISONS[name], *sides)
        raise self._error("no condition stands here", node)

    def _chain(self, node: exp.Expr, name: str) -> tuple[Condition, ...]:
        """The links of a and b and c …, which is a tree as deep as it is long."""
        links = []
        while self._checked(node) == name:
            links.append(node.expression)
            node = node.this
        return tuple(self.condition(link) for link in (node, *reversed(links)))

    def _in(self, node: exp.Expr) -> In:
        if node.args.get("field") or not node.expressions:
            raise self._error("in needs a list of one value or more in parentheses", node)
        return In(self._operand(node.this), tuple(self._literal(one) for one in node.expressions))

    def _operand(self, node: exp.Expr) -> Operand:
        name = self._checked(node)
        if name == "Paren":
            return self._operand(node.this)
        if name != "Column":
            return self._literal(node)
        self._checked(node.this)
        return Column(node.this.this, _start(node), bool(node.this.args.get("quoted")))

    def _literal(self, node: exp.Expr) -> Literal:
        at = _start(node)
        match self._checked(node):
            case "Paren":
                return self._literal(node.this)
            case "Null":
                return Literal(None, None, at)
            case "Boolean":
                return Literal(bool(node.this), "bool", at)
            case "Neg" if self._checked(node.this) == "Literal" and not node.this.is_string:
                return Literal(-float(node.this.this), "number", at)
            case "Literal" if node.is_string:
                return Literal(unicodedata.normalize("NFC", node.this), "text", at)
            case "Literal":
                return Literal(float(node.this), "number", at)
            case "Cast":
                return self._date(node, at)
            case "Column":
                column = self._operand(node)
                hint = " Text stands in single quotes." if column.quoted else ""  # type: ignore[union-attr]
                raise self._error(f"a value is wanted, and no column.{hint}".rstrip("."), node)
        raise self._error("a value is wanted", node)

    def _date(self, node: exp.Expr, at: int | None) -> Literal:
        """date '2015-03-01', which SQL takes for a conversion of text."""
        given = node.this
        if self._checked(given) != "Literal" or not given.is_string:
            raise self._error("a date is text in quotes", node)
        [seconds] = as_times([given.this])
        if seconds is None:
            raise self._error(f"{given.this!r} is no date: write 2015-03-01", node)
        return Literal(seconds, "time", at)

    def _checked(self, node: Any) -> str:
        """The name of a node's class, if filters have such nodes."""
        name = type(node).__name__
        set_parts = {part for part, value in getattr(node, "args", {}).items() if value}
        if name not in _PARTS or set_parts - _PARTS[name]:
            raise self._error("filters have no such expression", node)
        return name

    def _error(self, problem: str, node: Any) -> FilterError:
        return FilterError(problem, self._text, _start(node))


def _start(node: Any) -> int | None:
    """Where a node of sqlglot's begins; it knows this of columns and values alone."""
    walk = getattr(node, "walk", None)
    found = [part.meta["start"] for part in walk() if "start" in part.meta] if walk else []
    return min(found, default=None)
