"""Tables of pins and boards, from wherever they are, as batches in the canonical schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import pyarrow as pa

from pinjoin.core.errors import InputError, check
from pinjoin.core.progress import Progress, silent
from pinjoin.data.attributes import decide, parse_attributes
from pinjoin.data.blocks import Part
from pinjoin.data.cleaning import Cleaner
from pinjoin.data.locations import Where
from pinjoin.data.mapping import check_mapping, check_types, resolve
from pinjoin.data.rejects import Rejects
from pinjoin.data.schema import IDS, PINS, REQUIRED, Kind, Type, canonical_schema, is_feature
from pinjoin.data.tables import Table, open_table, read_blocks

__all__ = ["Rejects", "Source", "TableSource", "open_source"]


class Source(Protocol):
    """Anything that can tell pins or boards."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def schema(self) -> pa.Schema:
        """That of every batch: the canonical one, with `feature_*` columns and attributes."""

    def batches(self, rejects: Rejects, progress: Progress = silent) -> Iterator[pa.RecordBatch]:
        """The good rows in input order; what is wrong with the others goes to `rejects`.

        Can be called again for another pass. Batches are of some 10,000–200,000 rows, never
        empty; a source whose every row was rejected raises InputError at its end.
        """

    def fingerprint(self) -> str:
        """A hash (hex) that changes when the input does; cheap, whatever the size."""


class TableSource:
    """Pins or boards in files. Made by `open_source`."""

    def __init__(
        self,
        kind: Kind,
        table: Table,
        mapping: Mapping[str, str],
        attributes: Mapping[str, Type | None],
    ) -> None:
        self.name = table.name
        self._kind = kind
        self._table = table
        found = [resolve(kind, part, mapping) for part in table.parts]
        for part, columns in zip(table.parts, found, strict=True):
            check_types(part, columns)
        features = {c for columns in found for c in columns if is_feature(kind, c)}
        self._attributes = decide(table.parts, attributes)
        self._columns = [{**columns, **{a: a for a in self._attributes}} for columns in found]
        self._schema = canonical_schema(kind, features, self._attributes)

    @property
    def schema(self) -> pa.Schema:
        """The canonical schema with the features that any part has, and the attributes."""
        return self._schema

    @property
    def length(self) -> int | None:
        """Number of rows, bad ones included; None where only reading to the end would tell."""
        return self._table.length

    def fingerprint(self) -> str:
        """SHA-256 of the parts' names, sizes and (samples of their) content.

        See `pinjoin.data.locations.fingerprint`. The mapping is not in it.
        """
        return self._table.fingerprint()

    def batches(self, rejects: Rejects, progress: Progress = silent) -> Iterator[pa.RecordBatch]:
        """See `Source.batches`."""
        for name in self._table.empty:
            rejects.note_file(name, "this part has no rows", "Check that its export is whole.")
        good = 0
        before = rejects.count
        with progress(f"reading {self._kind}", self.length) as advance:
            for part, columns in zip(self._table.parts, self._columns, strict=True):
                for batch, taken in self._part_batches(part, columns, rejects):
                    advance(taken)
                    if batch.num_rows:
                        good += batch.num_rows
                        yield batch
        if not good:
            raise InputError(
                f"{self.name}: none of its rows can be used; {rejects.count - before:,} were "
                f"rejected, most often because: {rejects.commonest()}. The list of rejects has "
                "each row with its remedy."
            )

    def _part_batches(
        self, part: Part, columns: Mapping[str, str], rejects: Rejects
    ) -> Iterator[tuple[pa.RecordBatch, int]]:
        cleaner = Cleaner(self._schema, columns, part.name, rejects, self._attributes)
        one_line = {theirs for name, theirs in columns.items() if name in IDS or name == "image"}
        for block in read_blocks(part, list(columns.values()), one_line):
            yield cleaner.clean(block), block.length + len(block.faults)


def open_source(
    kind: Kind,
    where: Where,
    mapping: Mapping[str, str] | None = None,
    *,
    attributes: Iterable[str] = (),
    encoding: str | None = None,
    filesystem: Any = None,
) -> TableSource:
    """The pins or boards at `where`: a file, a directory or glob of parts, an address, or a list.

    CSV, TSV, JSON lines (each also in gzip, zstd or bzip2), Parquet and Arrow, here or in an
    object store (`s3://`, `gs://`, …; with `filesystem`, a `pyarrow.fs.FileSystem`, paths are
    inside it). Text is UTF-8 unless `encoding` names another. The rows stay where they are until
    `batches` streams them; the whole table is never in memory.

    `mapping` gives the table's column for a canonical one, as in `{"image": "photo_url"}`; an
    empty name leaves an optional column out. Without it, columns are found by their canonical
    names. Of pins, numeric columns named `feature_*` are kept for the ranker and `attributes`
    for filters; all others are ignored. An attribute is `NAME`, or `NAME:TYPE` with a TYPE of
    bool, number, text, time; without one it is what Parquet and Arrow declare, or what 99 % of
    the first values of CSV and JSON lines are, else text.

    Values: ids are stripped, NFC-normalised, and whole numbers written `12.0` become `12`; an
    empty or missing `board_id` is a pin on no board; `created_at` is unix seconds or ISO 8601,
    UTC where it has no zone. A row without `pin_id` or `image`, with a control character in an
    id or image, a field above 1 MiB, bytes that are not UTF-8 or the wrong number of fields is
    rejected; a `created_at`, feature or attribute that cannot be read is dropped, and its row is
    kept. Attributes of text are stripped and NFC-normalised; true and false may be yes, no, t, f,
    y, n, 1, 0 in any case; `nan`, `null`, `None` are missing.

    Raises ConfigError for a wrong parameter, InputError (before any row is read) for what is
    missing, unreadable, empty, no table, or without a required column.
    """
    given = check_mapping(kind, mapping or {})
    wanted = [given.get(c, c) for c in (*REQUIRED[kind], *(PINS.names if kind == "pins" else ()))]
    own = parse_attributes(attributes)
    check(not own or kind == "pins", "attributes", "open_source", "empty for boards", [*own])
    table = open_table(where, [*wanted, *own], encoding=encoding, filesystem=filesystem)
    return TableSource(kind, table, given, own)
