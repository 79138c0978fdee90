"""What presets share: finding a dataset's files, cleaned rows of foreign tables, and a Source."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pinjoin.core.errors import InputError
from pinjoin.core.progress import Progress, silent
from pinjoin.data.blocks import Block
from pinjoin.data.cleaning import Cleaner
from pinjoin.data.rejects import Rejects
from pinjoin.data.tables import Table, open_table, read_blocks

BATCH_ROWS = 1 << 17
_ORDINAL = "its place in the block"

Rows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class DerivedSource:
    """Pins or boards made from tables that are neither. A `Source`."""

    name: str
    schema: pa.Schema
    make: Callable[[Rejects, Progress], Iterator[pa.RecordBatch]]
    inputs: Sequence[Callable[[], str]]  # the fingerprints of what it is made from

    def batches(self, rejects: Rejects, progress: Progress = silent) -> Iterator[pa.RecordBatch]:
        """See `Source.batches`."""
        good = 0
        for made in self.make(rejects, progress):
            good += made.num_rows
            for first in range(0, made.num_rows, BATCH_ROWS):
                yield made.slice(first, BATCH_ROWS)
        if not good:
            raise InputError(
                f"{self.name}: none of its rows can be used; {rejects.count:,} were rejected. "
                "The list of rejects has each row with its remedy."
            )

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the fingerprints of all files it is made from."""
        digest = hashlib.sha256()
        for one in self.inputs:
            digest.update(one().encode())
        return digest.hexdigest()


def find_files(
    directory: Path, preset: str, expected: Mapping[str, str], optional: Iterable[str] = ()
) -> dict[str, list[str]]:
    """The files in `directory` that match each pattern (a whole file name, any case), by name.

    `expected` gives a pattern for each name as messages call it; those not in `optional` must
    match. InputError says which are missing and what is there.
    """
    names = sorted(path.name for path in directory.iterdir() if path.is_file())
    found = {
        label: [str(directory / name) for name in names if re.fullmatch(pattern, name, re.I)]
        for label, pattern in expected.items()
    }
    missing = [label for label in expected if not found[label] and label not in set(optional)]
    if missing:
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if names[20:] else "")
        also = ", ".join(optional)
        raise InputError(
            f"The {preset} preset expects {', '.join(expected)} in {directory}"
            f"{f' ({also}: if you have them)' if also else ''}. Missing: {', '.join(missing)}. "
            f"The directory holds {shown or 'no files'}."
        )
    return found


def open_columns(files: Sequence[str], required: Sequence[str], preset: str) -> Table:
    """The table in `files`; InputError if a part lacks one of the `required` columns."""
    table = open_table(files, required)
    for part in table.parts:
        lacking = [column for column in required if column not in part.columns]
        if lacking:
            raise InputError(
                f"{part.name} has no column {', '.join(lacking)}, which the {preset} preset "
                f"needs. It has {', '.join(part.columns)}. Fetch the dataset again, or map its "
                "columns yourself with --pins, --boards and --map."
            )
    return table


@dataclass(frozen=True)
class CleanRows:
    """Good rows of one file; `rows(i)` gives the line numbers of the rows `i`."""

    batch: pa.RecordBatch
    file: str
    rows: Rows


def clean_rows(
    table: Table, schema: pa.Schema, rejects: Rejects, what: str, progress: Progress = silent
) -> Iterator[CleanRows]:
    """The rows of `table` as `schema`, whose names are the table's own.

    Its types say how a column is cleaned (see `data.cleaning`): a string that may not be null is
    a name, other strings are free text, float64 is a number, a timestamp a time. Columns that a
    part does not have are null.
    """
    numbered = schema.append(pa.field(_ORDINAL, pa.float64()))
    with progress(f"reading {what}", table.length) as advance:
        for part in table.parts:
            columns = {name: name for name in schema.names if name in part.columns}
            cleaner = Cleaner(numbered, {**columns, _ORDINAL: _ORDINAL}, part.name, rejects)
            for block in read_blocks(part, list(columns)):
                ordinals = pa.array(np.arange(block.length, dtype=np.float64))
                with_ordinals = {**block.columns, _ORDINAL: ordinals}
                clean = cleaner.clean(replace(block, columns=with_ordinals))
                yield CleanRows(clean.select(schema.names), part.name, _lines(block, clean))
                advance(block.length + len(block.faults))


def _lines(block: Block, clean: pa.RecordBatch) -> Rows:
    ordinals = clean.column(_ORDINAL).to_numpy().astype(np.int64)
    return lambda index: block.rows(ordinals[index])


def canonical(schema: pa.Schema, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """A batch of `schema`; columns not given are null."""
    length = len(next(iter(columns.values())))
    arrays = [
        columns[field.name].cast(field.type)
        if field.name in columns
        else pa.nulls(length, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
