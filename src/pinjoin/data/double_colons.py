"""Tables without a header whose fields are parted by `::`, as MovieLens 1M and 10M are."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from pinjoin.core.errors import InputError
from pinjoin.data.delimited import DelimitedPart, Header
from pinjoin.data.formats import Opening, identify
from pinjoin.data.locations import find_parts
from pinjoin.data.tables import Table

_SEPARATOR = "\x1f"


def open_double_colons(file: str, columns: Sequence[str]) -> Table:
    """The table in `file` with these columns; latin-1 if its beginning is not UTF-8.

    It is read as delimited text whose delimiter is the byte 0x1F. InputError if it is empty.
    """
    (location,) = find_parts(file)
    opening = identify(location)
    if opening is None:
        raise InputError(f"{file} is empty (0 bytes). Fetch it again.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(opening.head)
    except UnicodeDecodeError:
        opening = identify(location, "latin-1") or opening
    retold = _DoubleColons(**{f.name: getattr(opening, f.name) for f in fields(opening)})
    part = DelimitedPart(retold, Header(tuple(columns), _SEPARATOR, 0, 0))
    return Table(file, [part], [], [location])


class _DoubleColons(Opening):
    """A file whose fields are parted by `::`, read as one whose fields are parted by 0x1F."""

    def stream(self) -> Any:
        return _Retold(super().stream())


class _Retold:
    """The stream for `_DoubleColons`: whole lines at a time, so that no `::` is cut in two."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._given = b""
        self._ready = b""

    def __enter__(self) -> _Retold:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        while not self._ready:
            more = self._stream.read(size)
            if not more and not self._given:
                return b""
            text = self._given + more
            end = text.rfind(b"\n") + 1 if more else len(text)
            self._given = text[end:]
            self._ready = _retell(text[:end])
        ready, self._ready = self._ready[:size], self._ready[size:]
        return ready


def _retell(lines: bytes) -> bytes:
    separator = _SEPARATOR.encode()
    if b'"' not in lines:
        return lines.replace(b"::", separator)
    return b"".join(map(_retell_quotes, lines.splitlines(keepends=True)))


def _retell_quotes(line: bytes) -> bytes:
    """Quotes mean nothing in these files: quoted for a reader to whom they do."""
    text = line.rstrip(b"\r\n")
    if not text:
        return line
    quoted = [b'"' + field.replace(b'"', b'""') + b'"' for field in text.split(b"::")]
    return _SEPARATOR.encode().join(quoted) + line[len(text) :]
