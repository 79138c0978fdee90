"""Parquet and Arrow files: only the columns asked for, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pinjoin.core.errors import InputError
from pinjoin.data.blocks import Block
from pinjoin.data.formats import Opening
from pinjoin.data.schema import Type, type_of

BATCH_ROWS = 1 << 17


def damaged(name: str, what: str, error: BaseException) -> InputError:
    """The error for a columnar file that breaks off or contradicts itself."""
    cause = str(error).splitlines()[0].rstrip(". ")
    return InputError(
        f"{name} is damaged or cut short: {what} cannot be read ({cause}). "
        "Fetch it again or write it again."
    )


class _Declared:
    """What both have: a schema that says everything of the columns."""

    complete = True
    _schema: pa.Schema

    def column_type(self, column: str) -> pa.DataType | None:
        """The column's type."""
        return self._schema.field(column).type

    def look(self, columns: Sequence[str]) -> dict[str, Type]:
        """The declared types of columns; a column of Arrow's type null has none."""
        found = {column: self._schema.field(column).type for column in columns}
        known = {c: type_of(kind) for c, kind in found.items() if not pa.types.is_null(kind)}
        return {column: kind for column, kind in known.items() if kind is not None}


class ParquetPart(_Declared):
    """One Parquet file, its footer read."""

    def __init__(self, opening: Opening) -> None:
        self.name = opening.name
        self._opening = opening
        with self._open() as file:
            self._schema = file.schema_arrow
            self.length: int | None = file.metadata.num_rows
        self.columns = tuple(self._schema.names)

    def blocks(self, columns: Sequence[str], one_line: Collection[str] = ()) -> Iterator[Block]:
        """The columns in batches of 131,072 rows, one row group after the other."""
        record = 1
        with self._open() as file:
            try:
                for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
                    yield _block(batch, record)
                    record += batch.num_rows
            except (OSError, pa.ArrowException) as error:
                raise damaged(self.name, f"the rows from {record:,} on", error) from error

    def _open(self) -> Any:
        from pyarrow import parquet

        try:
            return parquet.ParquetFile(self._opening.location.open(), pre_buffer=True)
        except (OSError, pa.ArrowException) as error:
            raise damaged(self.name, "its footer", error) from error


class ArrowPart(_Declared):
    """One Arrow IPC file or stream (`.arrow`, `.feather`, `.arrows`)."""

    def __init__(self, opening: Opening) -> None:
        self.name = opening.name
        self._opening = opening
        with self._open() as reader:
            self._schema = reader.schema
            batches = getattr(reader, "num_record_batches", None)
            self.length: int | None = 0 if batches == 0 else None
        self.columns = tuple(self._schema.names)

    def blocks(self, columns: Sequence[str], one_line: Collection[str] = ()) -> Iterator[Block]:
        """The columns in batches of at most 131,072 rows."""
        fields = sorted(self._schema.get_field_index(column) for column in columns)
        record = 1
        with self._open(fields) as reader:
            batches = self._batches(reader)
            while True:
                try:
                    batch = next(batches, None)
                except (OSError, pa.ArrowException) as error:
                    raise damaged(self.name, f"the rows from {record:,} on", error) from error
                if batch is None:
                    return
                for at in range(0, batch.num_rows, BATCH_ROWS):
                    yield _block(batch.slice(at, BATCH_ROWS), record + at)
                record += batch.num_rows

    def _batches(self, reader: Any) -> Iterator[pa.RecordBatch]:
        if self._opening.format == "arrow stream":
            yield from reader
        else:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)

    def _open(self, fields: Sequence[int] | None = None) -> Any:
        file = self._opening.location.open()
        options = pa.ipc.IpcReadOptions(included_fields=None if fields is None else list(fields))
        opener = pa.ipc.open_stream if self._opening.format == "arrow stream" else pa.ipc.open_file
        try:
            return opener(file, options=options)
        except (OSError, pa.ArrowException) as error:
            raise damaged(self.name, "its schema", error) from error


def _block(batch: pa.RecordBatch, record: int) -> Block:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    return Block(columns, batch.num_rows, partial(_records, record))


def _records(first: int, index: np.ndarray) -> np.ndarray:
    return first + index
