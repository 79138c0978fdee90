"""References spelled anew, byte by byte, in one pass. What the rules are: `joins/references.py`."""

# mypy: disable-error-code="untyped-decorator, no-any-return"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]

_TRACKING = (
    *("fbclid", "gclid", "gclsrc", "gbraid", "wbraid", "dclid", "msclkid", "yclid", "twclid"),
    *("ttclid", "igshid", "igsh", "li_fat_id", "mc_cid", "mc_eid", "mkt_tok", "srsltid", "epik"),
    *("vero_id", "s_kwcid", "_ga", "_gl", "_hsenc", "_hsmi"),
)
"""Query parameters that say where a click came from, never which image it is; and `utm_…`."""
_NAMES = np.frombuffer("".join(_TRACKING).encode(), np.uint8)
_NAME_ENDS = np.cumsum([len(name) for name in _TRACKING])

_BLANK = np.zeros(256, np.bool_)
_BLANK[list(b" \t\n\r\f")] = True
_SCHEME = np.zeros(256, np.bool_)
_SCHEME[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+.-")] = True
_UNRESERVED = _SCHEME.copy()
_UNRESERVED[list(b"_~")] = True
_UNRESERVED[ord("+")] = False
_TO_ENCODE = np.zeros(256, np.bool_)
_TO_ENCODE[[*range(0x21), *b'"<>\\^`{|}', *range(0x7F, 256)]] = True
_HEX = np.full(256, 255, np.uint8)
for _digit in range(16):
    _HEX[[ord(f"{_digit:x}"), ord(f"{_digit:X}")]] = _digit
_DIGITS = np.frombuffer(b"0123456789ABCDEF", np.uint8)
_HTTPS = np.frombuffer(b"https://", np.uint8)
_DATA = np.frombuffer(b"data", np.uint8)
_UTM = np.frombuffer(b"utm_", np.uint8)

_SLASH, _BACKSLASH, _DOT, _COLON, _QUESTION = 47, 92, 46, 58, 63
_HASH, _PERCENT, _AMPERSAND, _EQUALS, _AT = 35, 37, 38, 61, 64


@njit(cache=True, nogil=True)
def normalise(data: Array, starts: Array, out: Array, out_starts: Array) -> None:
    """Write the normal spelling of `data[starts[i]:starts[i + 1]]`, for each i, to `out`.

    data: uint8[bytes]; starts: int32[references + 1]; out: uint8[≥ 3 · bytes + 2 · references];
    out_starts: int64[references + 1], filled.
    """
    o = 0
    out_starts[0] = 0
    for i in range(len(starts) - 1):
        first, last = starts[i], starts[i + 1]
        a, b = first, last
        while a < b and _BLANK[data[a]]:
            a += 1
        while a < b and _BLANK[data[b - 1]]:
            b -= 1
        scheme = _scheme_length(data, a, b)
        if scheme < 0:
            end = _copy(data, a, b, out, o)
        elif scheme == 0:
            end = _path(data, a, b, out, o)
        elif _is(data, a, scheme, _HTTPS, 4) or _is(data, a, scheme, _HTTPS, 5):
            end = _url(data, a + scheme + 3, b, out, o)
        else:
            end = _copy(data, a, b, out, o)
            for j in range(o, o + scheme):
                out[j] = _lower(out[j])
        if end == o:  # nothing left of it: better an odd name than none
            end = _copy(data, first, last, out, o)
        o = end
        out_starts[i + 1] = o


@njit(cache=True, nogil=True)
def _scheme_length(data: Array, a: int, b: int) -> int:
    """Length of the scheme of `scheme://`; 0 for a path; -1 for `data:`."""
    j = a
    while j < b and _SCHEME[data[j]]:
        j += 1
    starts_with_letter = j > a and 97 <= _lower(data[a]) <= 122
    if not starts_with_letter or j == b or data[j] != _COLON:
        return 0
    if j + 2 < b and data[j + 1] == _SLASH and data[j + 2] == _SLASH and j - a > 1:
        return j - a
    return -1 if _is(data, a, j - a, _DATA, 4) else 0


@njit(cache=True, nogil=True)
def _path(data: Array, a: int, b: int, out: Array, o: int) -> int:
    start = o
    j = a
    while j < b:
        byte = data[j]
        slash = _is_slash(byte)
        at_segment_start = o == start or out[o - 1] == _SLASH
        if slash and o > start and at_segment_start:
            j += 1
        elif byte == _DOT and at_segment_start and j + 1 < b and _is_slash(data[j + 1]):
            j += 2
            while j < b and (_is_slash(data[j]) or (o == start and _BLANK[data[j]])):
                # Blanks too: a bared one at the start would be trimmed by a second pass.
                j += 1
        else:
            out[o] = _SLASH if slash else byte
            o += 1
            j += 1
    return o


@njit(cache=True, nogil=True)
def _url(data: Array, a: int, b: int, out: Array, o: int) -> int:
    """`data[a:b]` is what follows `http://` or `https://`."""
    end = a
    while end < b and data[end] != _HASH:
        end += 1
    if end < b:
        while end > a and _BLANK[data[end - 1]]:
            end -= 1
    o = _copy(_HTTPS, 0, len(_HTTPS), out, o)
    host = o
    j = a
    while j < end and data[j] != _SLASH and data[j] != _QUESTION:
        j, o = _emit(data, j, end, out, o)
    o = _authority(out, host, o)
    if o > host and (j == end or data[j] == _QUESTION):
        out[o] = _SLASH
        o += 1
    while j < end and data[j] != _QUESTION:
        j, o = _emit(data, j, end, out, o)
    separator = _QUESTION
    while j < end:  # data[j] is the `?` or `&` before a parameter
        parameter = o + 1
        out[o] = separator
        o += 1
        j += 1
        while j < end and data[j] != _AMPERSAND:
            j, o = _emit(data, j, end, out, o)
        if o == parameter or _is_tracking(out, parameter, o):
            o = parameter - 1
        else:
            separator = _AMPERSAND
    return o


@njit(cache=True, nogil=True)
def _authority(out: Array, a: int, b: int) -> int:
    """Host in lower case, user as it is; ports 80 and 443 off. Returns the new end."""
    host = b
    while host > a and out[host - 1] != _AT:
        host -= 1
    for j in range(host, b):
        out[j] = _lower(out[j])
    while True:
        j = b
        while j > a and 48 <= out[j - 1] <= 57:
            j -= 1
        if j == a or out[j - 1] != _COLON:
            return b
        port = 0
        for k in range(j, b):
            port = min(10 * port + out[k] - 48, 100_000)
        if b > j and port != 80 and port != 443:
            return b
        b = j - 1


@njit(cache=True, nogil=True)
def _emit(data: Array, j: int, end: int, out: Array, o: int) -> tuple[int, int]:
    """Write the byte or escape at `j` as RFC 3986 §6.2.2 has it. Returns where both went on."""
    byte = data[j]
    j += 1
    encode = _TO_ENCODE[byte]
    if byte == _PERCENT:
        encode = True
        if j + 1 < end and _HEX[data[j]] < 16 and _HEX[data[j + 1]] < 16:
            byte = np.uint8(_HEX[data[j]] * 16 + _HEX[data[j + 1]])
            encode = not _UNRESERVED[byte]
            j += 2
    if not encode:
        out[o] = byte
        return j, o + 1
    out[o] = _PERCENT
    out[o + 1] = _DIGITS[byte >> 4]
    out[o + 2] = _DIGITS[byte & 15]
    return j, o + 3


@njit(cache=True, nogil=True)
def _is_tracking(out: Array, a: int, b: int) -> bool:
    end = a
    while end < b and out[end] != _EQUALS:
        end += 1
    length = end - a
    if length >= 4 and _is(out, a, 4, _UTM, 4):
        return True
    start = 0
    for name_end in _NAME_ENDS:
        if name_end - start == length and _is(out, a, length, _NAMES[start:name_end], length):
            return True
        start = name_end
    return False


@njit(cache=True, nogil=True)
def _is(data: Array, a: int, length: int, word: Array, word_length: int) -> bool:
    if length != word_length:
        return False
    for j in range(length):  # noqa: SIM110 - compiled
        if _lower(data[a + j]) != word[j]:
            return False
    return True


@njit(cache=True, nogil=True)
def _is_slash(byte: Any) -> bool:
    return byte in (_SLASH, _BACKSLASH)


@njit(cache=True, nogil=True)
def _lower(byte: Any) -> Any:
    return byte + np.uint8(32) if 65 <= byte <= 90 else byte


@njit(cache=True, nogil=True)
def _copy(data: Array, a: int, b: int, out: Array, o: int) -> int:
    for j in range(a, b):
        out[o + j - a] = data[j]
    return o + b - a
