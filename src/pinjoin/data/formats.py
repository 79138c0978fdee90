"""What a file is: its compression, its format, its text encoding; by name and by content."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data.locations import Location, unreadable

Format = Literal["delimited", "jsonl", "parquet", "arrow", "arrow stream"]

EXTENSIONS: dict[str, Format] = {
    "csv": "delimited",
    "tsv": "delimited",
    "tab": "delimited",
    "txt": "delimited",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
    "arrow": "arrow",
    "feather": "arrow",
    "ipc": "arrow",
    "arrows": "arrow stream",
}
_COMPRESSED = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_BINARY: dict[bytes, Format] = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow stream",
}
_FOREIGN = {
    b"PK\x03\x04": "a zip archive (or a spreadsheet)",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"PARE": "an encrypted Parquet file",
}
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_READABLE = "CSV, TSV, JSON lines, Parquet and Arrow can be read"
HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Opening:
    """What is known of a file once its beginning was looked at."""

    location: Location
    format: Format
    compression: str | None
    encoding: str | None
    head: bytes  # up to 1 MiB of its text in UTF-8; empty for columnar formats

    @property
    def name(self) -> str:
        return self.location.name

    def stream(self) -> Any:
        """The text from its start, decompressed and in UTF-8, as an Arrow input stream."""
        stream = self.location.open()
        if self.compression:
            stream = pa.CompressedInputStream(stream, self.compression)
        if self.encoding:
            stream = pa.transcoding_input_stream(stream, self.encoding, "utf-8")
        return stream


def extension(name: str) -> str:
    """The format's part of a file name, without compression or a part's number.

    >>> extension("photos.tsv000"), extension("pins.CSV.gz"), extension("part-0001")
    ('tsv', 'csv', '')
    """
    stem, _, last = name.lower().rpartition(".")
    if last in _COMPRESSED:
        stem, _, last = stem.rpartition(".")
    return re.sub(r"(?<=sv)\d+$", "", last) if stem else ""


def identify(location: Location, encoding: str | None = None) -> Opening | None:
    """Look at a file's beginning; None if it has no bytes at all. InputError if unreadable.

    Magic bytes decide over compression and columnar formats, the extension over text formats;
    where the two disagree, that is an error and not a guess.
    """
    if location.size == 0:
        return None
    name = location.name
    with location.open() as file:
        first = file.read(16)
    compression = next((c for magic, c in _MAGIC.items() if first.startswith(magic)), None)
    last = name.lower().rpartition(".")[2]
    if not compression and last in _COMPRESSED:
        raise InputError(
            f"{name} is named .{last} but is not {_COMPRESSED[last]} data: it begins with "
            f"{first[:4]!r}. Rename it after what it is, or fetch it again."
        )
    raw = Opening(location, "delimited", compression, None, b"")
    if compression:
        first = head_of(raw, 16)
        if not first:
            return None
    named = EXTENSIONS.get(extension(name))
    _refuse_foreign(name, first)
    found = next((f for magic, f in _BINARY.items() if first.startswith(magic)), None)
    if found or named in ("parquet", "arrow", "arrow stream"):
        return _columnar(raw, found, named, first)
    encoding = _known(encoding)
    opening = Opening(location, "delimited", compression, encoding, b"")
    if not encoding:
        _refuse_utf16(name, first)
    head = head_of(opening, HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
    return Opening(location, _text_format(name, named, head), compression, encoding, head)


def head_of(opening: Opening, size: int) -> bytes:
    """The first `size` bytes of a file's text."""
    try:
        with opening.stream() as stream:
            return read_fully(stream, size)
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise broken_off(opening, error) from error


def read_fully(stream: Any, size: int) -> bytes:
    """`size` bytes, fewer only at the end: a decompressing stream may give less at a time."""
    data = b""
    while len(data) < size and (piece := stream.read(size - len(data))):
        data += piece
    return data


def broken_off(opening: Opening, error: BaseException) -> InputError:
    """The error for text that cannot be read to its end."""
    if isinstance(error, UnicodeError):
        return InputError(
            f"{opening.name} is not {opening.encoding} text: {error}. "
            "Give the encoding it was written in."
        )
    if opening.compression:
        return InputError(
            f"{opening.name} ends or is damaged within its {opening.compression} data "
            f"({str(error).splitlines()[0].rstrip('. ')}). Fetch or compress it again."
        )
    return unreadable(opening.name, error)


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


def _known(encoding: str | None) -> str | None:
    """Python's name for an encoding; None for UTF-8, which needs no decoding."""
    if encoding is None:
        return None
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise ConfigError(
            f"The encoding parameter of open_source must be an encoding Python knows, such as "
            f"'utf-16' or 'latin-1'. Got {encoding!r} instead."
        ) from error
    return None if name in ("utf-8", "utf-8-sig", "ascii") else name


def _columnar(raw: Opening, found: Format | None, named: Format | None, first: bytes) -> Opening:
    name = raw.name
    if found and raw.compression:
        raise InputError(
            f"{name} is a {_title(found)} file inside {raw.compression} data. "
            "Decompress it first: columnar files must be read from any position."
        )
    if not found:
        raise InputError(
            f"{name} is named .{extension(name)} but is not a {_title(named)} file: it begins "
            f"with {first[:4]!r}. Rename it after what it is, or write it again."
        )
    both_arrow = named in ("arrow", "arrow stream") and found in ("arrow", "arrow stream")
    if named and named != found and not both_arrow:
        raise InputError(
            f"{name} is named .{extension(name)} but is a {_title(found)} file. "
            f"Rename it to end in .{'parquet' if found == 'parquet' else 'arrow'}."
        )
    return Opening(raw.location, found, None, None, b"")


def _title(name: Format | None) -> str:
    return {"parquet": "Parquet", "arrow": "Arrow", "arrow stream": "Arrow"}.get(name or "", "")


def _refuse_foreign(name: str, first: bytes) -> None:
    what = next((w for magic, w in _FOREIGN.items() if first.startswith(magic)), None)
    if what:
        raise InputError(
            f"{name} is {what}, not a table. {_READABLE}; "
            "unpack or export the table as one of these."
        )


def _refuse_utf16(name: str, first: bytes) -> None:
    encoding = next((e for bom, e in _BOMS if first.startswith(bom)), None)
    if not encoding and len(first) >= 4:
        if not any(first[1:8:2]) and all(first[0:8:2]):
            encoding = "utf-16-le"
        elif not any(first[0:8:2]) and all(first[1:8:2]):
            encoding = "utf-16-be"
    if encoding:
        raise InputError(
            f"{name} is {encoding.upper()} text; UTF-8 is expected. Save it as UTF-8, or give "
            f"encoding={encoding!r} (--encoding {encoding})."
        )


def _text_format(name: str, named: Format | None, head: bytes) -> Format:
    if b"\0" in head[:4096] and b"\0" in head[: head.find(b"\n") if b"\n" in head else None]:
        raise InputError(
            f"{name} is not text: it has NUL bytes in its first line (it begins with "
            f"{head[:8]!r}). {_READABLE}."
        )
    start = head.lstrip()[:1]
    if start == b"[" and named == "jsonl":
        raise InputError(
            f"{name} is one JSON array; one object per line is expected. "
            f"Convert it: jq -c '.[]' {name} > pins.jsonl"
        )
    line = head.lstrip().split(b"\n", 1)[0]
    is_object = start == b"{" and _is_json(line)
    if named == "jsonl":
        if not is_object and not (b"\n" in head.strip() and start == b"{" and b'":' in line):
            what = "spreads one JSON object over many lines" if start == b"{" else "is not JSON"
            raise InputError(
                f"{name} {what}: its first line is {_cut(line)}. One object per line is expected, "
                'such as {"pin_id": "1", "board_id": "b", "image": "1.jpg"}.'
            )
        return "jsonl"
    if is_object and named:
        raise InputError(
            f"{name} is named .{extension(name)} but holds JSON lines. Rename it to end in .jsonl."
        )
    return "jsonl" if is_object else "delimited"


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _cut(line: bytes) -> str:
    text = line[:80].decode("utf-8", errors="backslashreplace").strip()
    return repr(text)
