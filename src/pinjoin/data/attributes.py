"""Columns of a pins table that users keep to filter by: which they are, and of what type.

A column has one type. Parquet and Arrow declare it; in CSV and JSON lines the first values tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from pinjoin.core.errors import ConfigError, InputError, check
from pinjoin.data.blocks import Part
from pinjoin.data.mapping import refuse_duplicate
from pinjoin.data.schema import FEATURE_PREFIX, PINS, TYPES, Type, is_feature, type_of

COUNTS = ("boards", "pins")
"""Names by which filters know the number of an image's boards and pins."""

_SAMPLED_PARTS = 8
_FROM: Mapping[Type, frozenset[Type]] = {
    "bool": frozenset({"bool", "number", "text"}),
    "number": frozenset({"bool", "number", "text"}),
    "text": frozenset({"bool", "number", "text", "time"}),
    "time": frozenset({"number", "text", "time"}),
}
"""For each type, the declared ones that can be read as it."""


def parse_attributes(given: Iterable[str]) -> dict[str, Type | None]:
    """`NAME` or `NAME:TYPE` for each column to keep; None: its values tell the type.

    >>> parse_attributes(["in_stock", "sku:text"])
    {'in_stock': None, 'sku': 'text'}
    """
    check(not isinstance(given, str), "attributes", "open_source", "a list of names", given)
    found: dict[str, Type | None] = {}
    for one in given:
        name, _, suffix = one.rpartition(":")
        kind = next((known for known in TYPES if known == suffix and name), None)
        name = (name if kind else one).strip()
        _refuse_name(name)
        if found.get(name, kind) != kind:
            raise ConfigError(f"The attribute {name!r} is given twice, with different types.")
        found[name] = kind
    return found


def decide(parts: Sequence[Part], attributes: Mapping[str, Type | None]) -> dict[str, Type]:
    """The one type of each attribute: as given, else as (up to eight of) the parts look.

    Where parts differ, and where none has a value, it is text. InputError, before any row is
    read, if a part lacks the column or declares a type that cannot be read as the attribute's.
    """
    for part in parts:
        _check_part(part, parts, attributes)
    unknown = [name for name, kind in attributes.items() if kind is None]
    votes: dict[str, set[Type]] = {name: set() for name in unknown}
    for part in parts[:: -(-len(parts) // _SAMPLED_PARTS)] if unknown else ():
        for name, kind in part.look([n for n in unknown if n in part.columns]).items():
            votes[name].add(kind)
    decided: dict[str, Type] = {}
    for name, given in attributes.items():
        decided[name] = given or (votes[name].pop() if len(votes[name]) == 1 else "text")
    return decided


def _refuse_name(name: str) -> None:
    what = ""
    if not name:
        what = "no name"
    elif name in ("board_id", "image"):
        what = "what joins pins, not an attribute of them"
    elif name in PINS.names or is_feature("pins", name):
        what = "kept in any case: leave it out of the attributes"
    elif name in COUNTS:
        what = f"what filters call the number of an image's {name}: rename the column"
    if what:
        raise ConfigError(
            f"{name!r} is {what}. Attributes are columns of your own, beside "
            f"{', '.join(PINS.names)} and {FEATURE_PREFIX}*."
        )


def _check_part(part: Part, parts: Sequence[Part], attributes: Mapping[str, Type | None]) -> None:
    for name, kind in attributes.items():
        if name not in part.columns:
            if part.complete or not any(name in other.columns for other in parts):
                raise _missing(part, name)
            continue
        refuse_duplicate(part, name, name)
        declared = part.column_type(name)
        found = None if declared is None else type_of(declared)
        if declared is not None and found not in (_FROM[kind] if kind else TYPES):
            raise InputError(
                f"{part.name}: column {name!r} has type {declared}; an attribute must be "
                f"{_readable(kind)}. Convert it, or leave it out of the attributes."
            )


def _readable(kind: Type | None) -> str:
    if kind is None:
        return "true or false, numbers, text, a timestamp or a date"
    return f"{kind} as you asked, which is read from {', '.join(sorted(_FROM[kind]))}"


def _missing(part: Part, name: str) -> InputError:
    close = get_close_matches(name.lower(), [c.lower() for c in part.columns], n=2, cutoff=0.5)
    names = [c for c in part.columns if c.lower() in close]
    hint = f" Did you mean {' or '.join(map(repr, names))}?" if names else ""
    if ":" in name:
        hint += f" Types are written NAME:TYPE, of {', '.join(TYPES)}."
    return InputError(
        f"{part.name} has no column {name!r}, which is to be kept as an attribute.{hint} "
        f"Its columns are {', '.join(part.columns) or 'none'}."
    )
