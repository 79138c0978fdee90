"""The tables every source is turned into: canonical columns, their types, which may be empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import pyarrow as pa

from pinjoin.core.errors import check

Kind = Literal["pins", "boards"]

Type = Literal["bool", "number", "text", "time"]
"""What a column of the user's own may hold."""

TIMESTAMP = pa.timestamp("s", tz="UTC")

TYPES: Mapping[Type, pa.DataType] = {
    "bool": pa.bool_(),
    "number": pa.float64(),
    "text": pa.string(),
    "time": TIMESTAMP,
}
"""What is stored of each type."""

PINS = pa.schema(
    [
        pa.field("pin_id", pa.string(), nullable=False),
        pa.field("board_id", pa.string()),  # null: a pin on no board
        pa.field("image", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("description", pa.string()),
        pa.field("link", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("created_at", TIMESTAMP),
    ]
)
"""Columns of a pins table, in order; `feature_*` columns (float64) and attributes follow them."""

BOARDS = pa.schema(
    [
        pa.field("board_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("description", pa.string()),
        pa.field("category", pa.string()),
        pa.field("user_id", pa.string()),
    ]
)
"""Columns of a boards table, in order."""

FEATURE_PREFIX = "feature_"
"""A numeric column of a pins table with this prefix is kept, as float64, for the ranker."""

REQUIRED = {"pins": ("pin_id", "board_id", "image"), "boards": ("board_id", "title")}
"""Columns a source must have. Their values may still be null where the schema says so."""

IDS = frozenset({"pin_id", "board_id", "user_id"})
"""Columns that hold ids: stripped, NFC-normalised, `12.0` read as `12`, no control characters."""


def canonical_schema(
    kind: Kind, features: Iterable[str] = (), attributes: Mapping[str, Type] | None = None
) -> pa.Schema:
    """The schema of `kind`; pins may have features (float64) and attributes (as `TYPES` says).

    Features come after the canonical columns and attributes after them, each sorted by name, so
    that parts whose columns are in another order give the same table.

    >>> canonical_schema("pins", ["feature_price"], {"in_stock": "bool"}).names[-3:]
    ['created_at', 'feature_price', 'in_stock']
    """
    check(kind in REQUIRED, "kind", "canonical_schema", "'pins' or 'boards'", kind)
    if kind == "boards":
        return BOARDS
    fields = [pa.field(name, pa.float64()) for name in sorted(set(features))]
    own = [pa.field(name, TYPES[one]) for name, one in sorted((attributes or {}).items())]
    return pa.schema([*PINS, *fields, *own])


def attributes_of(schema: pa.Schema) -> dict[str, Type]:
    """The attributes in a schema of pins, and their types."""
    own = (f for f in schema if f.name not in PINS.names and not is_feature("pins", f.name))
    return {field.name: kind for field in own if (kind := type_of(field.type))}


def type_of(kind: pa.DataType) -> Type | None:
    """The type as which a column of an Arrow type can be kept; None if it cannot be.

    >>> type_of(pa.int8()), type_of(pa.date32()), type_of(pa.list_(pa.string()))
    ('number', 'time', None)
    """
    t = pa.types
    if t.is_dictionary(kind):
        return type_of(kind.value_type)
    if t.is_boolean(kind):
        return "bool"
    if t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind):
        return "number"
    if t.is_timestamp(kind) or t.is_date(kind):
        return "time"
    tests = (t.is_string, t.is_large_string, t.is_string_view, t.is_binary, t.is_large_binary)
    return "text" if any(test(kind) for test in (*tests, t.is_binary_view, t.is_null)) else None


def is_feature(kind: Kind, column: str) -> bool:
    """Whether `column` of a `kind` table is a user's feature.

    >>> is_feature("pins", "feature_price"), is_feature("pins", "price")
    (True, False)
    """
    return kind == "pins" and column.startswith(FEATURE_PREFIX) and column != FEATURE_PREFIX
