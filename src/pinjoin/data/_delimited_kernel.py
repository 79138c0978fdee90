"""Where the records of delimited text begin: quotes, doubled quotes, line breaks inside quotes."""

from __future__ import annotations

import numpy as np
from numba import njit

_FIELD_START, _IN_FIELD, _IN_QUOTES, _QUOTE_IN_QUOTES = 0, 1, 2, 3
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
    state = _FIELD_START
    start = 0  # of the current record
    count = 0
    i = 0
    while i < n:
        c = text[i]
        i += 1
        if state == _IN_QUOTES:
            if c == _QUOTE:
                state = _QUOTE_IN_QUOTES
            continue
        if c in (_LF, _CR):
            if c == _CR:
                if i == n and not final:
                    break  # its LF may be the next byte
                if i < n and text[i] == _LF:
                    i += 1
            breaks = 2 if c == _CR and text[i - 1] == _LF else 1
            if i - start > breaks:  # not a blank line
                if count < starts.size:
                    starts[count] = start
                count += 1
            start = i
            state = _FIELD_START
        elif c == delimiter:
            state = _FIELD_START
        elif c == _QUOTE and quoting and state != _IN_FIELD:
            state = _IN_QUOTES  # opens, or is the second of a doubled one
        else:
            state = _IN_FIELD
    is_open = state == _IN_QUOTES
    if final and start < n and not is_open:
        if count < starts.size:
            starts[count] = start
        count += 1
        start = n
    return start, count, is_open
