"""Which of a table's columns is which canonical one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import pyarrow as pa

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data.blocks import Part
from pinjoin.data.schema import (
    FEATURE_PREFIX,
    IDS,
    REQUIRED,
    Kind,
    canonical_schema,
    is_feature,
    type_of,
)

_KINDS: tuple[Kind, ...] = ("pins", "boards")


def parse_map(options: Iterable[str]) -> dict[Kind, dict[str, str]]:
    """`--map` options as the mappings of pins and boards.

    `canonical=theirs` is for every table that has the canonical column; `pins.title=name` for
    one table only; `title=` leaves an optional column out.

    >>> parse_map(["image=url", "boards.title=label"])
    {'pins': {'image': 'url'}, 'boards': {'title': 'label'}}
    """
    mappings: dict[Kind, dict[str, str]] = {"pins": {}, "boards": {}}
    for option in options:
        left, equals, theirs = option.partition("=")
        table, dot, column = left.strip().rpartition(".")
        if not equals or (dot and table not in _KINDS):
            raise ConfigError(
                "The --map option must be column=column (ours=yours), or pins.column=column or "
                f"boards.column=column for one table. Got {option!r} instead."
            )
        kinds = [kind for kind in _KINDS if table in ("", kind) and _is_canonical(kind, column)]
        if not kinds:
            raise _unknown(column, [k for k in _KINDS if table in ("", k)])
        for kind in kinds:
            mappings[kind][column] = theirs.strip()
    return mappings


def check_mapping(kind: Kind, mapping: Mapping[str, str]) -> dict[str, str]:
    """The mapping, if its keys are canonical columns of `kind`; else ConfigError."""
    canonical_schema(kind)  # refuses an unknown kind
    for column, theirs in mapping.items():
        if not _is_canonical(kind, column):
            raise _unknown(column, [kind])
        if not theirs and column in REQUIRED[kind]:
            raise ConfigError(
                f"The mapping leaves {column} out, which {kind} need. Name your column: "
                f"--map {column}=COLUMN."
            )
    return dict(mapping)


def resolve(kind: Kind, part: Part, mapping: Mapping[str, str]) -> dict[str, str]:
    """The part's column for each canonical column that it has; InputError if one is missing."""
    names = [*canonical_schema(kind).names, *(c for c in part.columns if is_feature(kind, c))]
    wanted = {name: mapping.get(name, name) for name in dict.fromkeys([*names, *mapping])}
    found = {name: theirs for name, theirs in wanted.items() if theirs in part.columns}
    for name, theirs in wanted.items():
        if name not in found and theirs and (name in REQUIRED[kind] or name in mapping):
            raise _missing(kind, part, name, theirs)
    for name, theirs in found.items():
        refuse_duplicate(part, name, theirs)
    return found


def check_types(part: Part, columns: Mapping[str, str]) -> None:
    """InputError if a column's declared type cannot hold what it is wanted for."""
    for name, theirs in columns.items():
        kind = part.column_type(theirs)
        if kind is not None and not _fits(name, kind):
            raise InputError(
                f"{part.name}: column {theirs!r} has type {kind}; {name} must be {_allowed(name)}. "
                f"Convert it, or map another column: --map {name}=COLUMN"
                + ("." if name in REQUIRED["pins"] else f" (--map {name}= leaves it out).")
            )


def _is_canonical(kind: Kind, column: str) -> bool:
    return column in canonical_schema(kind).names or is_feature(kind, column)


def _unknown(column: str, kinds: list[Kind]) -> ConfigError:
    known = list(dict.fromkeys(name for kind in kinds for name in canonical_schema(kind).names))
    close = get_close_matches(column, known, n=2)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    more = f" and {FEATURE_PREFIX}*" if "pins" in kinds else ""
    return ConfigError(
        f"{column!r} is not a column of {' or '.join(kinds)}.{hint} "
        f"Columns that can be mapped are {', '.join(known)}{more}."
    )


def _missing(kind: Kind, part: Part, name: str, theirs: str) -> InputError:
    close = get_close_matches(theirs.lower(), [c.lower() for c in part.columns], n=2, cutoff=0.5)
    names = [c for c in part.columns if c.lower() in close]
    hint = f" Did you mean --map {name}={names[0]}?" if names else ""
    known = set(canonical_schema(kind).names)
    if not known & set(part.columns):
        hint += " None of its columns has a name pinjoin knows: is the first row a header?"
    what = f"no column {theirs!r}" + (f" (mapped to {name})" if theirs != name else "")
    return InputError(
        f"{part.name} has {what}. Its columns are {', '.join(part.columns) or 'none'}.{hint} "
        f"Name the column that holds it: --map {kind}.{name}=COLUMN."
    )


def refuse_duplicate(part: Part, name: str, theirs: str) -> None:
    """InputError if two of the part's columns have the name that is wanted."""
    at = [str(i) for i, column in enumerate(part.columns, 1) if column == theirs]
    if len(at) > 1:
        raise InputError(
            f"{part.name} has {len(at)} columns named {theirs!r} (numbers {' and '.join(at)} of "
            f"{len(part.columns)}), so {name} could be either. Rename all but one of them."
        )


def _fits(name: str, kind: pa.DataType) -> bool:
    found = type_of(kind)
    if name == "created_at":
        return found in ("text", "number", "time")
    return found in ("text", "number") or (found == "bool" and name not in (*IDS, "image"))


def _allowed(name: str) -> str:
    if name == "created_at":
        return "a timestamp, a date, unix seconds or ISO 8601 text"
    if name in IDS or name == "image":
        return "text or whole numbers"
    return "numbers" if name.startswith(FEATURE_PREFIX) else "text"
