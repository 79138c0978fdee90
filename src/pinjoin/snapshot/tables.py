"""Tables on disk: Arrow IPC files, the same bytes for the same rows, mapped for reading."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.snapshot.disk import disk_errors

BATCH_ROWS = 1 << 18
"""Rows of a stored batch. Fixed, so that a file does not depend on how its rows arrived."""


class TableWriter:
    """Writes an uncompressed IPC file batch by batch; a context manager."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0  # pending
        with disk_errors("Writing", path):
            self._sink: Any = pa.OSFile(str(path), "wb")
            self._writer: Any = pa.ipc.new_file(self._sink, schema)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Append rows, whose schema must be the writer's."""
        if isinstance(rows, pa.Table):
            self.write_table(rows)
        else:
            self.write_batch(rows)

    def write_table(self, table: pa.Table) -> None:
        """Append the rows of a table."""
        for batch in table.to_batches():
            self.write_batch(batch)

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Append the rows of a batch."""
        start = 0
        while start < batch.num_rows:
            piece = batch.slice(start, BATCH_ROWS - self._rows)
            self._pending.append(piece)
            self._rows += piece.num_rows
            start += piece.num_rows
            if self._rows == BATCH_ROWS:
                self._flush()

    def close(self) -> None:
        """Write what is pending and the footer. Closing twice does nothing."""
        if self._sink.closed:
            return
        self._flush()
        with disk_errors("Writing", self.path):
            self._writer.close()
            self._sink.close()

    def abandon(self) -> None:
        """Let go of the file, whose content no longer matters."""
        self._pending.clear()
        self._sink.close()

    def _flush(self) -> None:
        if not self._pending:
            return
        rows = pa.Table.from_batches(self._pending, self.schema)
        if len(self._pending) > 1:
            rows = rows.combine_chunks()
        for batch in rows.to_batches():
            columns = [_without_hidden_bytes(column) for column in batch.columns]
            batch = pa.RecordBatch.from_arrays(columns, schema=self.schema)
            with disk_errors("Writing", self.path):
                self._writer.write_batch(batch)
        self._pending.clear()
        self._rows = 0


def map_table_file(path: Path) -> pa.Table:
    """The table of a file; its columns lie in the page cache and are read when used."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


class Rows:
    """Single rows of a table of many batches, without ever joining the batches.

    >>> table = pa.table({"id": pa.chunked_array([["a", "b"], ["c"]]), "n": [1, 2, 3]})
    >>> Rows(table).dicts([2, 0], columns=["id"])
    [{'id': 'c'}, {'id': 'a'}]
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._columns = {name: _Chunks(table[name]) for name in table.column_names}

    def __len__(self) -> int:
        """How many rows the table has."""
        return int(self.table.num_rows)

    def value(self, row: int, column: str) -> Any:
        """One value as a Python object. Raises IndexError beyond the last row."""
        return self._columns[column].value(self._checked([row])[0])

    def dicts(
        self, rows: Sequence[int] | npt.NDArray[np.integer[Any]], columns: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """The rows in the order asked, with the named columns (none named: all)."""
        chosen = [(name, self._columns[name]) for name in columns or self._columns]
        return [{name: column.value(row) for name, column in chosen} for row in self._checked(rows)]

    def take(
        self, rows: Sequence[int] | npt.NDArray[np.integer[Any]], columns: Sequence[str] = ()
    ) -> pa.Table:
        """The rows in the order asked as a table. Touches only the chunks they lie in."""
        asked = np.asarray(self._checked(rows), np.int64)
        names = list(columns or self._columns)
        return pa.table(
            {name: self._columns[name].take(asked) for name in names},
            schema=pa.schema([self.table.schema.field(name) for name in names]),
        )

    def _checked(self, rows: Sequence[int] | npt.NDArray[np.integer[Any]]) -> list[int]:
        asked = np.asarray(rows, np.int64)
        if asked.size and (int(asked.min()) < 0 or int(asked.max()) >= len(self)):
            raise IndexError(f"Rows must be from 0 to {len(self) - 1}. Got {asked.tolist()[:5]}.")
        return asked.tolist()  # type: ignore[no-any-return, unused-ignore]


class _Chunks:
    """One column of `Rows`."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self.type = column.type
        self._chunks = column.chunks
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks], dtype=np.int64)
        self._end_list: list[int] = self._ends.tolist()

    def value(self, row: int) -> Any:
        chunk = bisect_right(self._end_list, row)
        start = self._end_list[chunk - 1] if chunk else 0
        return self._chunks[chunk][row - start].as_py()

    def take(self, rows: npt.NDArray[np.int64]) -> pa.Array:
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        which = self._ends.searchsorted(ordered, side="right")
        cuts = np.flatnonzero(np.diff(which, prepend=-1)).tolist()
        pieces = []
        for begin, end in pairwise([*cuts, rows.size]):
            chunk = int(which[begin])
            start = self._ends[chunk - 1] if chunk else 0
            pieces.append(self._chunks[chunk].take(pa.array(ordered[begin:end] - start)))
        if not pieces:
            return pa.array([], self.type)
        back = np.empty_like(order)
        back[order] = np.arange(order.size)
        return pa.concat_arrays(pieces).take(pa.array(back))


def _without_hidden_bytes(column: pa.Array) -> pa.Array:
    """The same values in buffers that hold nothing else.

    Arrow stores buffers as they are: what lies under nulls, before or after a slice, or in the
    last byte of a bitmap would otherwise make files of equal rows differ.
    """
    kind, n = column.type, len(column)
    valid = None
    if column.null_count:
        valid = _bits(column.is_valid())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.Array.from_buffers(kind, n, [valid, *_text_buffers(column)])
    if not pa.types.is_primitive(kind) or pa.types.is_interval(kind):
        return column
    if column.null_count:
        zero = False if pa.types.is_boolean(kind) else 0
        column = pc.fill_null(column, pa.scalar(zero).cast(kind))
    if pa.types.is_boolean(kind):
        return pa.Array.from_buffers(kind, n, [valid, _bits(column)])
    width = kind.bit_width // 8
    values = column.buffers()[1].slice(column.offset * width, n * width)
    return pa.Array.from_buffers(kind, n, [valid, values])


def _bits(column: pa.Array) -> pa.Buffer:
    return pa.py_buffer(np.packbits(column.to_numpy(zero_copy_only=False), bitorder="little"))


def _text_buffers(column: pa.Array) -> tuple[pa.Buffer, pa.Buffer]:
    """Offsets from 0 on and exactly the bytes of the values that are not null."""
    bounds = _bounds(column)
    span = int(bounds[-1]) - int(bounds[0])
    if column.null_count and span != (pc.sum(pc.binary_length(column)).as_py() or 0):
        column = pc.fill_null(column, pa.scalar("", column.type))
        bounds = _bounds(column)
        span = int(bounds[-1]) - int(bounds[0])
    data = column.buffers()[2] or pa.py_buffer(b"")
    return pa.py_buffer(bounds - bounds[0]), data.slice(int(bounds[0]), span)


def _bounds(column: pa.Array) -> npt.NDArray[Any]:
    width = 8 if pa.types.is_large_string(column.type) else 4
    offsets = column.buffers()[1].slice(column.offset * width, (len(column) + 1) * width)
    return np.frombuffer(offsets, f"<i{width}")
