"""CSV and TSV: streamed in blocks of whole records, each bad line known by its number."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from pinjoin.core.errors import InputError
from pinjoin.data.blocks import Block, Fault
from pinjoin.data.formats import Opening, broken_off, extension, read_fully

BLOCK_BYTES = 8 << 20
RECORD_LIMIT = 4 << 20
"""A record longer than this is given up: its quote was never closed, or it is no text table."""

_DELIMITERS = (",", "\t", ";", "|")
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_UNCLOSED = "a quote is opened here and not closed"
_RAGGED = "the row has {found} fields; the header has {expected}"
_QUOTE_REMEDY = 'Close the quote, or double a quote that belongs to the text ("").'
_RAGGED_REMEDY = "Put fields that contain the delimiter or a quote in double quotes."


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


def not_utf8(name: str, byte: bytes, line: int) -> InputError:
    """The error for a file that is in another encoding throughout."""
    return InputError(
        f"{name} is not UTF-8 text: line {line} has the byte 0x{byte.hex()}. It looks like "
        "latin-1 or windows-1252. Save it as UTF-8, or give encoding='latin-1' "
        "(--encoding latin-1)."
    )


def refuse_other_encoding(name: str, head: bytes) -> None:
    """InputError if the beginning says that the whole file is in another 8-bit encoding.

    A few bad lines among good ones with accents are rejects; two or more bad lines, and more of
    them than good ones, are another encoding.
    """
    if head.isascii():
        return
    good = 0
    bad: list[tuple[int, bytes]] = []
    for number, line in enumerate(head.split(b"\n")[:-1] or [head], 1):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            good += 1
        except UnicodeDecodeError as error:
            bad.append((number, line[error.start : error.start + 1]))
    if len(bad) >= 2 and len(bad) > good:
        raise not_utf8(name, bad[0][1], bad[0][0])


class DelimitedPart:
    """One CSV or TSV file, its header read."""

    length: int | None = None

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

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """Every column as strings (bytes not yet checked to be UTF-8)."""
        parser = _Parser(self._header, columns)
        for text, line, faults in _record_blocks(self._opening, self._header):
            if text:
                yield from parser.parse(text, line)
            if faults:
                yield Block({}, 0, lambda i: i, faults)


def _record_blocks(opening: Opening, header: Header) -> Iterator[tuple[bytes, int, list[Fault]]]:
    """(whole records, the line they begin at, faults after them), to the end of the file."""
    pending, line = b"", 1 + header.lines
    skipping = False
    for chunk, final in text_chunks(opening, header.size):
        pending = pending + chunk if pending else chunk
        while True:
            end, is_open = _whole_records(pending, header.delimiter, final)
            text, pending = pending[:end], pending[end:]
            lines = count_lines(text)
            if skipping and text:  # its first line is the tail of a record that was given up
                cut = _first_line(text) or len(text)
                text, lines, line = text[cut:], max(0, lines - 1), line + 1
                skipping = False
            faults = []
            given_up = is_open if final else len(pending) > RECORD_LIMIT
            if given_up and not skipping:
                reason = _UNCLOSED if is_open else "the row is longer than 4 MiB"
                remedy = _QUOTE_REMEDY if is_open else "Shorten it or leave it out."
                faults.append(Fault(line + lines, pending[:800], reason, remedy))
            yield text, line, faults
            line += lines
            if not given_up:
                break
            cut = _first_line(pending)
            skipping = not cut
            pending = pending[cut:] if cut else b""
            line += 1 if cut else 0
            if not pending:
                break


def text_chunks(opening: Opening, skip: int) -> Iterator[tuple[bytes, bool]]:
    """Blocks of the text after the header, and whether it is the last one (which may be empty)."""
    try:
        with opening.stream() as stream:
            first = read_fully(stream, skip + len(codecs.BOM_UTF8))
            rest = first.removeprefix(codecs.BOM_UTF8)[skip:]
            while chunk := stream.read(BLOCK_BYTES):
                yield rest + chunk if rest else chunk, False
                rest = b""
            yield rest, True
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise broken_off(opening, error) from error


def _whole_records(text: bytes, delimiter: str, final: bool) -> tuple[int, bool]:
    """(bytes of whole records, whether a quote is open after them)."""
    if b'"' not in text and (b"\r" not in text or text.count(b"\r") == text.count(b"\r\n")):
        return (len(text) if final else text.rfind(b"\n") + 1), False
    from pinjoin.data._delimited_kernel import scan_records

    view = np.frombuffer(text, np.uint8)
    end, _, is_open = scan_records(view, ord(delimiter), True, final, np.empty(0, np.int64))
    return int(end), bool(is_open)


def count_lines(text: bytes) -> int:
    """Number of line breaks: LF, CRLF or a lone CR."""
    view = np.frombuffer(text, np.uint8)
    breaks = int(np.count_nonzero(view == 10))
    return breaks + text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else breaks


def _first_line(text: bytes) -> int:
    """Bytes of the first line with its break; 0 if it has none."""
    ends = [i for i in (text.find(b"\n"), text.find(b"\r")) if i >= 0]
    if not ends:
        return 0
    end = min(ends)
    return end + 2 if text[end : end + 2] == b"\r\n" else end + 1


class _Parser:
    """Turns text of whole records into blocks of string columns."""

    def __init__(self, header: Header, columns: Sequence[str]) -> None:
        self._delimiter = header.delimiter
        self._width = len(header.columns)
        at = {column: f"c{header.columns.index(column)}" for column in columns}
        self._columns: Mapping[str, str] = at
        self._names = [f"c{i}" for i in range(self._width)]
        self._convert = arrow_csv.ConvertOptions(
            column_types={name: pa.string() for name in at.values()},
            include_columns=list(dict.fromkeys(at.values())),
            check_utf8=False,  # one bad row must not end the file: checked when cleaned
            strings_can_be_null=False,
        )

    def parse(
        self, text: bytes, line: int, quoting: bool = True, depth: int = 0
    ) -> Iterator[Block]:
        """The rows of `text`, which begins at `line`; ragged ones as faults."""
        if not text.strip(b"\r\n"):
            return
        ragged: list[Any] = []
        try:
            table = self._read(text, quoting, ragged, threads=True)
        except pa.ArrowInvalid:
            ragged.append(None)  # a row longer than Arrow's block; one big block reads it
        if ragged:
            ragged.clear()
            table = self._read(text, quoting, ragged, threads=False)
        lost = np.array([row.number - 1 for row in ragged], np.int64)
        rows = partial(self._lines, text, line, quoting, lost)
        table = table.combine_chunks()
        columns = {column: _whole(table.column(name)) for column, name in self._columns.items()}
        faults, salvage = self._ragged(text, line, quoting, ragged)
        yield Block(columns, table.num_rows, rows, faults)
        for rest, at in salvage:
            # A stray quote had swallowed these lines: read them without the first one.
            yield from self.parse(rest, at, quoting and depth < 8, depth + 1)

    def _read(self, text: bytes, quoting: bool, ragged: list[Any], threads: bool) -> pa.Table:
        def on_ragged(row: Any) -> str:
            ragged.append(row)
            return "skip"

        read = arrow_csv.ReadOptions(
            column_names=self._names,
            use_threads=threads,
            block_size=1 << 20 if threads else len(text) + 1,
        )
        parse = arrow_csv.ParseOptions(
            delimiter=self._delimiter,
            quote_char='"' if quoting else False,
            newlines_in_values=quoting and b'"' in text,
            invalid_row_handler=on_ragged,
        )
        return arrow_csv.read_csv(pa.BufferReader(text), read, parse, self._convert)

    def _starts(self, text: bytes, quoting: bool) -> np.ndarray:
        from pinjoin.data._delimited_kernel import scan_records

        view = np.frombuffer(text, np.uint8)
        starts = np.empty(count_lines(text) + 1, np.int64)
        _, n, _ = scan_records(view, ord(self._delimiter), quoting, True, starts)
        return starts[:n]

    def _lines(
        self, text: bytes, line: int, quoting: bool, lost: np.ndarray, index: np.ndarray
    ) -> np.ndarray:
        """The lines of some of the rows that remain when the `lost` records are left out."""
        starts = np.delete(self._starts(text, quoting), lost)
        return line + _breaks_before(text, starts[index])

    def _ragged(
        self, text: bytes, line: int, quoting: bool, ragged: Sequence[Any]
    ) -> tuple[list[Fault], list[tuple[bytes, int]]]:
        if not ragged:
            return [], []
        starts = self._starts(text, quoting)
        ends = np.append(starts[1:], len(text))
        lines = line + _breaks_before(text, starts[[row.number - 1 for row in ragged]])
        faults, salvage = [], []
        for row, at in zip(ragged, lines.tolist(), strict=True):
            record = text[starts[row.number - 1] : ends[row.number - 1]]
            if not record.strip():
                continue
            reason = _RAGGED.format(found=row.actual_columns, expected=self._width)
            cut = _first_line(record)
            if record[cut:].strip(b"\r\n"):
                reason = _UNCLOSED
                salvage.append((record[cut:], at + 1))
                record = record[:cut]
            remedy = _QUOTE_REMEDY if reason == _UNCLOSED else _RAGGED_REMEDY
            faults.append(Fault(at, record[:800].rstrip(b"\r\n"), reason, remedy))
        return faults, salvage


def _breaks_before(text: bytes, positions: np.ndarray) -> np.ndarray:
    """Number of line breaks before each position (the first byte of a record)."""
    view = np.frombuffer(text, np.uint8)
    is_break = view == 10
    if b"\r" in text:
        lone = view == 13
        lone[:-1] &= ~is_break[1:]
        is_break = is_break | lone
    return np.searchsorted(np.flatnonzero(is_break), positions)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
