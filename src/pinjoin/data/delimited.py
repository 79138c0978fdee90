"""CSV and TSV: streamed in blocks of whole records, each bad line known by its number."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from pinjoin.data import strings
from pinjoin.data.blocks import Block, Fault
from pinjoin.data.formats import Opening, extension, not_utf8, refuse_other_encoding
from pinjoin.data.guesses import guess_text
from pinjoin.data.records import (
    QUOTE_REMEDY,
    UNCLOSED,
    breaks_before,
    first_line,
    is_balanced,
    record_blocks,
    record_starts,
    shown,
)
from pinjoin.data.schema import Type

_DELIMITERS = (",", "\t", ";", "|")
_RAGGED = "the row has {found} fields; the header has {expected}"
_RAGGED_REMEDY = "Put fields that contain the delimiter or a quote in double quotes."
_DEPTH = 8  # how many quotes left open within each other are followed

Numbers = Callable[[Any], Any]
"""From 0-based lines of a text (an int or an array) to line numbers of the file."""


@dataclass(frozen=True)
class Header:
    """The first record: column names, the delimiter, and what it takes of the file."""

    columns: tuple[str, ...]
    delimiter: str
    size: int  # bytes
    lines: int


def read_header(opening: Opening, wanted: Sequence[str]) -> Header | None:
    """The header; None if there is nothing but blank lines.

    The delimiter is the extension's, unless `wanted` columns are found only with another one.
    """
    try:
        text = opening.head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = opening.head.decode("utf-8", errors="replace")
        if "�" in "".join(text.splitlines()[:1]):
            raise not_utf8(opening.name, opening.head[error.start : error.start + 1], 1) from error
    usual = "\t" if extension(opening.name) in ("tsv", "tab") else ","
    order = [usual, *(d for d in _DELIMITERS if d != usual)]
    headers = [header for d in order if (header := _parse_header(text, d)) is not None]
    if not headers:
        return None

    def fit(header: Header) -> tuple[int, int]:
        return len(set(wanted) & set(header.columns)), len(header.columns)

    # Headers that hold as many wanted columns are told apart by their number of columns only
    # if the usual delimiter finds but one.
    best = max(headers, key=fit)
    usual_fit, best_fit = fit(headers[0]), fit(best)
    return best if best_fit[0] > usual_fit[0] or usual_fit[1] == 1 else headers[0]


def _parse_header(text: str, delimiter: str) -> Header | None:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        row = next((row for row in reader if row), None)
    except csv.Error:
        return None
    if row is None:
        return None
    lines = io.StringIO(text, newline="")
    size = sum(len(next(lines).encode()) for _ in range(reader.line_num))
    return Header(tuple(name.strip() for name in row), delimiter, size, reader.line_num)


class DelimitedPart:
    """One CSV or TSV file, its header read."""

    length: int | None = None
    complete = True

    def __init__(self, opening: Opening, header: Header) -> None:
        self.name = opening.name
        self.columns = header.columns
        self._opening = opening
        self._header = header
        refuse_other_encoding(self.name, opening.head)
        if not opening.head[header.size :].strip():
            self.length = 0

    def column_type(self, column: str) -> pa.DataType | None:
        """None: text tells no types."""
        return None

    def look(self, columns: Sequence[str]) -> dict[str, Type]:
        """The types that the values of the first 2 MiB (or the first row) look like."""
        if not columns:
            return {}
        with closing(self.blocks(columns)) as blocks:
            first = next((block for block in blocks if block.length), None)
        seen = {} if first is None else {c: guess_text(a) for c, a in first.columns.items()}
        return {column: kind for column, kind in seen.items() if kind is not None}

    def blocks(self, columns: Sequence[str], one_line: Collection[str] = ()) -> Generator[Block]:
        """Every column as strings (bytes not yet checked to be UTF-8).

        A quote that is not closed swallows lines up to the next quote. Where the row is then
        ragged, or has a line break in a column of `one_line`, only the line with the open quote
        is lost: those it swallowed are read again, and come after the rows of their block.
        """
        header = self._header
        parser = _Parser(header, columns, one_line)
        records = record_blocks(self._opening, header.delimiter, header.size, 1 + header.lines)
        for text, line, faults in records:
            yield from parser.parse(text, partial(np.add, line))
            if faults:
                yield Block({}, 0, lambda i: i, faults)


class _Parser:
    """Turns text of whole records into blocks of string columns."""

    def __init__(self, header: Header, columns: Sequence[str], one_line: Collection[str]) -> None:
        self._delimiter = header.delimiter
        self._width = len(header.columns)
        self._columns = {column: f"c{header.columns.index(column)}" for column in columns}
        self._one_line = [self._columns[column] for column in one_line]
        self._names = [f"c{i}" for i in range(self._width)]
        self._convert = arrow_csv.ConvertOptions(
            column_types={name: pa.string() for name in self._columns.values()},
            include_columns=list(dict.fromkeys(self._columns.values())),
            check_utf8=False,  # one bad row must not end the file: checked when cleaned
            strings_can_be_null=False,
        )

    def parse(self, text: bytes, number: Numbers, depth: int = 0) -> Iterator[Block]:
        """The rows of `text`; `number` gives the line numbers in the file of lines in `text`."""
        if not text.strip(b"\r\n"):
            return
        table, ragged = self._read(text)
        broken = self._broken(table) if b'"' in text else np.empty(0, np.int64)
        given_up: dict[int, str] = {}
        faults: list[Fault] = []
        salvage: list[tuple[bytes, Numbers]] = []
        if ragged or len(broken):
            starts = record_starts(text, self._delimiter)
            given_up = self._give_up(text, starts, ragged, broken)
            faults, salvage = self._explain(text, starts, given_up, number)
            kept = np.delete(np.arange(len(starts)), [row.number - 1 for row in ragged])
            table = table.filter(pa.array(~np.isin(kept, list(given_up))))
        rows = partial(self._lines, text, number, list(given_up))
        table = table.combine_chunks()
        columns = {column: _whole(table.column(name)) for column, name in self._columns.items()}
        yield Block(columns, table.num_rows, rows, faults)
        for rest, numbers in salvage:
            yield from self._read_again(rest, numbers, depth)

    def _read(self, text: bytes) -> tuple[pa.Table, list[Any]]:
        """The table without its ragged rows, and those."""
        ragged: list[Any] = []
        try:
            table = self._arrow_read(text, ragged, threads=True)
            if not ragged:
                return table, ragged
        except pa.ArrowInvalid:
            pass  # a row longer than Arrow's block
        ragged.clear()
        return self._arrow_read(text, ragged, threads=False), ragged

    def _arrow_read(self, text: bytes, ragged: list[Any], threads: bool) -> pa.Table:
        def on_ragged(row: Any) -> str:
            ragged.append(row)  # with its number only if one thread reads one block
            return "skip"

        read = arrow_csv.ReadOptions(
            column_names=self._names,
            use_threads=threads,
            block_size=1 << 20 if threads else len(text) + 1,
        )
        parse = arrow_csv.ParseOptions(
            delimiter=self._delimiter,
            newlines_in_values=b'"' in text,
            invalid_row_handler=on_ragged,
        )
        return arrow_csv.read_csv(pa.BufferReader(text), read, parse, self._convert)

    def _broken(self, table: pa.Table) -> np.ndarray:
        """The rows with a line break within a column that has one line."""
        found: list[np.ndarray] = []
        start = 0
        for batch in table.select(self._one_line).to_batches():
            for array in batch.columns:
                data = strings.View.of(array).data
                if ((data == 10) | (data == 13)).any():
                    mask = pc.match_substring_regex(array, r"\S\s*[\r\n]\s*\S")
                    found.append(start + np.flatnonzero(mask.to_numpy(zero_copy_only=False)))
            start += batch.num_rows
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)

    def _give_up(
        self, text: bytes, starts: np.ndarray, ragged: Sequence[Any], broken: np.ndarray
    ) -> dict[int, str]:
        """The records to give up, in order, each with the reason."""
        reasons = {
            row.number - 1: _RAGGED.format(found=row.actual_columns, expected=self._width)
            for row in ragged
        }
        kept = np.delete(np.arange(len(starts)), list(reasons))
        for record in kept[broken].tolist():
            swallowed = _swallowed(_record(text, starts, record))
            # Only if they look like rows: else it is a field of two lines, which cleaning rejects.
            if is_balanced(swallowed, self._delimiter):
                reasons[record] = UNCLOSED
        return dict(sorted(reasons.items()))

    def _explain(
        self, text: bytes, starts: np.ndarray, given_up: Mapping[int, str], number: Numbers
    ) -> tuple[list[Fault], list[tuple[bytes, Numbers]]]:
        """The faults of records that are given up, and the lines that they had swallowed."""
        faults: list[Fault] = []
        salvage: list[tuple[bytes, Numbers]] = []
        lines = breaks_before(text, starts[list(given_up)]) if given_up else np.empty(0, int)
        for (record, reason), line in zip(given_up.items(), lines, strict=True):
            raw = _record(text, starts, record)
            rest = _swallowed(raw)
            if not raw.strip():
                continue
            if rest.strip():
                raw, reason = raw[: len(raw) - len(rest)], UNCLOSED
                salvage.append((rest, partial(_shifted, number, line + 1)))
            remedy = QUOTE_REMEDY if reason == UNCLOSED else _RAGGED_REMEDY
            faults.append(Fault(int(number(line)), shown(raw), reason, remedy))
        return faults, salvage

    def _read_again(self, text: bytes, number: Numbers, depth: int) -> Iterator[Block]:
        """Lines that a quote had swallowed: all, or those that are sound by themselves."""
        if depth < _DEPTH and is_balanced(text, self._delimiter):
            yield from self.parse(text, number, depth + 1)
            return
        lines = text.splitlines(keepends=True)
        sound = np.array([is_balanced(line, self._delimiter) for line in lines])
        faults = [
            Fault(int(number(i)), shown(lines[i]), UNCLOSED, QUOTE_REMEDY)
            for i in np.flatnonzero(~sound)
        ]
        yield Block({}, 0, lambda i: i, faults)
        kept = np.flatnonzero(sound)
        again = b"".join(lines[i] for i in kept)
        yield from self.parse(again, lambda i: number(kept[i]), depth + 1)

    def _lines(
        self, text: bytes, number: Numbers, lost: Sequence[int], index: np.ndarray
    ) -> np.ndarray:
        """The lines of some of the rows that remain when the `lost` records are left out."""
        starts = np.delete(record_starts(text, self._delimiter), lost)
        return np.asarray(number(breaks_before(text, starts[index])))


def _record(text: bytes, starts: np.ndarray, record: int) -> bytes:
    end = starts[record + 1] if record + 1 < len(starts) else len(text)
    return text[starts[record] : end]


def _swallowed(record: bytes) -> bytes:
    """What follows a record's first line; empty for a record of one line."""
    cut = first_line(record)
    return record[cut:] if cut else b""


def _shifted(number: Numbers, by: int, index: Any) -> Any:
    return number(by + index)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
