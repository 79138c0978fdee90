"""The tables every source is turned into: canonical columns, their types, which may be empty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pyarrow as pa

from pinjoin.core.errors import check

Kind = Literal["pins", "boards"]

TIMESTAMP = pa.timestamp("s", tz="UTC")

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
"""Columns of a pins table, in order; `feature_*` columns (float64) follow them."""

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


def canonical_schema(kind: Kind, features: Iterable[str] = ()) -> pa.Schema:
    """The schema of `kind`, with one float64 column per name in `features` (pins only).

    Features come after the canonical columns, sorted by name, so that parts whose columns are
    in another order give the same table.

    >>> canonical_schema("pins", ["feature_price"]).names[-2:]
    ['created_at', 'feature_price']
    """
    check(kind in REQUIRED, "kind", "canonical_schema", "'pins' or 'boards'", kind)
    if kind == "boards":
        return BOARDS
    fields = [pa.field(name, pa.float64()) for name in sorted(set(features))]
    return pa.schema([*PINS, *fields])


def is_feature(kind: Kind, column: str) -> bool:
    """Whether `column` of a `kind` table is a user's feature.

    >>> is_feature("pins", "feature_price"), is_feature("pins", "price")
    (True, False)
    """
    return kind == "pins" and column.startswith(FEATURE_PREFIX) and column != FEATURE_PREFIX
