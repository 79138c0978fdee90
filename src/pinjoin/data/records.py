"""Delimited text in blocks of whole records, cut where no quote is open; lines are counted."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from pinjoin.data.blocks import Fault
from pinjoin.data.formats import Opening, broken_off, read_fully

BLOCK_BYTES = 2 << 20
"""Small enough that memory is reused from block to block: fresh pages cost more than parsing."""
RECORD_LIMIT = 4 << 20
"""A record longer than this is given up: its quote was never closed, or it is no text table."""

UNCLOSED = "a quote is opened here and not closed"
QUOTE_REMEDY = 'Close the quote, or double a quote that belongs to the text ("").'


def record_blocks(
    opening: Opening, delimiter: str, skip: int, line: int
) -> Iterator[tuple[bytes, int, list[Fault]]]:
    """(whole records, the line they begin at, faults after them), to the end of the file.

    The first `skip` bytes are left out; `line` is the number of the line after them. A quote
    that is not closed within RECORD_LIMIT, or to the end, costs the line that opens it.
    """
    pending = b""
    skipping = False
    for chunk, final in text_chunks(opening, skip):
        pending = pending + chunk if pending else chunk
        while True:
            end, is_open = _whole_records(pending, delimiter, final)
            text, pending = pending[:end], pending[end:]
            lines = count_lines(text)
            if skipping and text:  # its first line is the tail of a record that was given up
                cut = first_line(text) or len(text)
                text, lines, line = text[cut:], max(0, lines - 1), line + 1
                skipping = False
            faults = []
            given_up = is_open if final else len(pending) > RECORD_LIMIT
            if given_up and not skipping:
                reason = UNCLOSED if is_open else "the row is longer than 4 MiB"
                remedy = QUOTE_REMEDY if is_open else "Shorten it or leave it out."
                first = pending[: first_line(pending) or None]
                faults.append(Fault(line + lines, shown(first), reason, remedy))
            yield text, line, faults
            line += lines
            if not given_up:
                break
            cut = first_line(pending)
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
    if b"\r" not in text or text.count(b"\r") == text.count(b"\r\n"):
        if b'"' not in text:
            return (len(text) if final else text.rfind(b"\n") + 1), False
        if (found := _cut_balanced(text, delimiter, final)) is not None:
            return found
    from pinjoin.data._delimited_kernel import scan_records

    view = np.frombuffer(text, np.uint8)
    end, _, is_open = scan_records(view, ord(delimiter), True, final, np.empty(0, np.int64))
    return int(end), bool(is_open)


def _cut_balanced(text: bytes, delimiter: str, final: bool) -> tuple[int, bool] | None:
    """The same for text whose every quote opens, closes or is doubled; None if one is stray.

    If each second quote begins a field or follows a quote, then text is inside quotes exactly
    after an odd number of them: no need to walk over every byte.
    """
    view = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(view == ord('"'))
    before = view[quotes[::2] - 1]  # of the first byte: the last one, which is looked at below
    opens = (before == ord(delimiter)) | (before == ord("\n")) | (before == ord('"'))
    opens[0] |= quotes[0] == 0
    if not opens.all():
        return None
    is_open = len(quotes) % 2 == 1
    if final and not is_open:
        return len(text), False
    end = text.rfind(b"\n")
    while end >= 0 and (k := int(np.searchsorted(quotes, end))) % 2:
        end = text.rfind(b"\n", 0, int(quotes[k - 1]))
    return end + 1, is_open


def count_lines(text: bytes) -> int:
    """Number of line breaks: LF, CRLF or a lone CR."""
    view = np.frombuffer(text, np.uint8)
    breaks = int(np.count_nonzero(view == 10))
    return breaks + text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else breaks


def first_line(text: bytes) -> int:
    """Bytes of the first line with its break; 0 if it has none."""
    ends = [i for i in (text.find(b"\n"), text.find(b"\r")) if i >= 0]
    if not ends:
        return 0
    end = min(ends)
    return end + 2 if text[end : end + 2] == b"\r\n" else end + 1


def is_balanced(text: bytes, delimiter: str) -> bool:
    """Whether each quote of some whole lines opens a field, closes one or is doubled."""
    return b'"' not in text or _cut_balanced(text, delimiter, True) == (len(text), False)


def record_starts(text: bytes, delimiter: str) -> np.ndarray:
    """The first byte of each record of a text of whole records: int64 [records]."""
    from pinjoin.data._delimited_kernel import scan_records

    starts = np.empty(count_lines(text) + 1, np.int64)
    view = np.frombuffer(text, np.uint8)
    _, n, _ = scan_records(view, ord(delimiter), True, True, starts)
    return starts[:n]


def shown(record: bytes) -> bytes:
    """As much of a record as a reject shows."""
    return record[:800].rstrip(b"\r\n")


def breaks_before(text: bytes, positions: np.ndarray) -> np.ndarray:
    """Number of line breaks before each position (the first byte of a record)."""
    view = np.frombuffer(text, np.uint8)
    is_break = view == 10
    if b"\r" in text:
        lone = view == 13
        lone[:-1] &= ~is_break[1:]
        is_break = is_break | lone
    return np.searchsorted(np.flatnonzero(is_break), positions)
