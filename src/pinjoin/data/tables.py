"""Any table people have, its parts opened and looked at, its rows still in its own columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa

from pinjoin.core.errors import InputError
from pinjoin.data.blocks import Block, Part, one_ahead
from pinjoin.data.columnar import ArrowPart, ParquetPart
from pinjoin.data.delimited import DelimitedPart, read_header
from pinjoin.data.formats import Opening, identify
from pinjoin.data.jsonl import JsonLinesPart
from pinjoin.data.locations import Location, Where, find_parts, fingerprint, unreadable


class Table:
    """The parts of one table, in order. Made by `open_table`."""

    def __init__(
        self, name: str, parts: Sequence[Part], empty: Sequence[str], locations: Sequence[Location]
    ) -> None:
        self.name = name
        self.parts = tuple(parts)
        self.empty = tuple(empty)  # names of parts without a row, left out of `parts`
        self._locations = locations

    @property
    def columns(self) -> tuple[str, ...]:
        """All parts' column names, in order of first appearance."""
        return tuple(dict.fromkeys(column for part in self.parts for column in part.columns))

    @property
    def length(self) -> int | None:
        """Number of rows, bad ones included; None if only reading to the end would tell."""
        lengths = [part.length for part in self.parts]
        return None if None in lengths else sum(n for n in lengths if n is not None)

    def fingerprint(self) -> str:
        """See `pinjoin.data.locations.fingerprint`."""
        return fingerprint(self._locations)


def open_table(
    where: Where,
    wanted: Sequence[str] = (),
    *,
    encoding: str | None = None,
    filesystem: Any = None,
) -> Table:
    """Find a table's parts, tell their formats and read their column names.

    CSV, TSV, JSON lines (each also in gzip, zstd or bzip2), Parquet and Arrow; parts may differ
    in format and in the order of columns. `wanted` columns help to tell a CSV file's delimiter.
    InputError, before any row is read, if something named is not there, cannot be read, is no
    table, or if no part has a row; parts without rows beside others are listed in `.empty`.
    """
    locations = find_parts(where, filesystem)
    parts: list[Part] = []
    empty: list[str] = []
    for location in locations:
        part = _open_part(location, wanted, encoding)
        if part is None or part.length == 0:
            empty.append(location.name)
        else:
            parts.append(part)
    if not parts:
        raise InputError(_nothing(locations))
    name = locations[0].name
    if len(locations) > 1:
        name = f"{name} and {len(locations) - 1} more"
    return Table(name, parts, empty, locations)


def read_blocks(
    part: Part, columns: Sequence[str], one_line: Collection[str] = ()
) -> Iterator[Block]:
    """A part's rows with these columns, the next block being read while one is worked on."""
    try:
        yield from one_ahead(iter(part.blocks(list(dict.fromkeys(columns)), one_line)))
    except pa.ArrowException as error:
        raise unreadable(part.name, error) from error


def _open_part(location: Location, wanted: Sequence[str], encoding: str | None) -> Part | None:
    opening = identify(location, encoding)
    if opening is None:
        return None
    match opening.format:
        case "parquet":
            return ParquetPart(opening)
        case "arrow" | "arrow stream":
            return ArrowPart(opening)
        case "jsonl":
            return JsonLinesPart(opening)
        case "delimited":
            return _delimited(opening, wanted)


def _delimited(opening: Opening, wanted: Sequence[str]) -> Part | None:
    header = read_header(opening, wanted)
    return None if header is None else DelimitedPart(opening, header)


def _nothing(locations: Sequence[Location]) -> str:
    first = locations[0]
    if len(locations) > 1:
        return f"None of the {len(locations)} parts has a row ({first.name}, …). Check the export."
    if first.size == 0:
        return f"{first.name} is empty (0 bytes): a header and rows are expected."
    return f"{first.name} has no rows: nothing follows its header. Check the export."
