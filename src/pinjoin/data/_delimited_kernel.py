"""Where the records of delimited text begin: quotes, doubled quotes, line breaks inside quotes."""

from __future__ import annotations

import numpy as np
from numba import njit

_LF, _CR, _QUOTE = 10, 13, 34


@njit(cache=True, nogil=True)
def scan_records(
    text: np.ndarray, delimiter: int, quoting: bool, final: bool, starts: np.ndarray
) -> tuple[int, int, bool]:
    """Walk over the complete records at the beginning of `text` (uint8).

    Agrees with Arrow's parser: a quote opens only at the start of a field, `""` inside quotes is
    a quote, LF, CR and CRLF end a record, blank lines are no records. Returns (number of bytes
    of complete records, number of records, whether the rest begins with a record whose quote is
    still open). The first byte of each record is written to `starts` (int64) as far as it
    reaches; pass an empty one to only look for the end. With `final`, text that does not end in
    a line break still ends a record.
    """
    n = text.size
    start = 0  # of the current record
    count = 0
    i = 0
    while i < n:
        # i is the first byte of a field.
        if quoting and text[i] == _QUOTE:
            i += 1
            while True:
                while i < n and text[i] != _QUOTE:
                    i += 1
                if i == n:
                    return start, count, True
                i += 1
                if i == n or text[i] != _QUOTE:
                    break  # not doubled: it closes
                i += 1
        while i < n and text[i] != delimiter and (text[i] > _CR or text[i] not in (_LF, _CR)):
            i += 1
        if i == n:
            break
        c = text[i]
        i += 1
        if c == delimiter:
            continue
        if c == _CR and i == n and not final:
            break  # its LF may be the next byte
        first_break = i - 1
        if c == _CR and i < n and text[i] == _LF:
            i += 1
        if first_break > start:  # not a blank line
            if count < starts.size:
                starts[count] = start
            count += 1
        start = i
    if final and start < n:
        if count < starts.size:
            starts[count] = start
        count += 1
        start = n
    return start, count, False
