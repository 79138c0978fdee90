"""Where the parts of a table are: paths, directories, globs, object-store addresses."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from pinjoin.core.errors import ConfigError, InputError

Where = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
FULL_HASH_BYTES = 64 << 20
_SAMPLE_BYTES = 256 << 10


@dataclass(frozen=True)
class Location:
    """One file: `name` for messages, `path` inside `filesystem`, `size` in bytes."""

    name: str
    path: str
    filesystem: Any
    size: int

    def open(self) -> Any:
        """A seekable Arrow file."""
        try:
            return self.filesystem.open_input_file(self.path)
        except OSError as error:
            raise unreadable(self.name, error) from error


def unreadable(name: str, error: BaseException) -> InputError:
    """The error for a file that cannot be opened or breaks off while it is read."""
    cause = (getattr(error, "strerror", None) or str(error)).splitlines()[0].rstrip(". ")
    return InputError(f"{name} cannot be read: {cause}. Check the file and its permissions.")


def find_parts(where: Where, filesystem: Any = None) -> list[Location]:
    """The files that `where` names, in order; each once.

    A string or path is a file, a directory (its table files by name, not those beginning with
    `.` or `_`), a glob (`pins-*.csv`, `**` for any depth), or an address such as
    `s3://bucket/pins/`; a sequence is any number of these. With `filesystem` (a
    `pyarrow.fs.FileSystem`), paths are inside it. InputError if anything named is not there.
    """
    places = [where] if isinstance(where, str | os.PathLike) else list(where)
    if not places:
        raise ConfigError("No table was given: the list of its parts is empty. Name a file.")
    found = [part for place in places for part in _find(os.fspath(place), filesystem)]
    parts: dict[str, list[Location]] = {}
    for part in found:
        same = parts.setdefault(part.path, [])
        if not any(other.filesystem == part.filesystem for other in same):
            same.append(part)
    return [part for same in parts.values() for part in same]


def fingerprint(parts: Sequence[Location]) -> str:
    """SHA-256 (hex) over each part's file name, size and content, in order.

    Up to 64 MiB in all, the whole content; beyond that, the first, middle and last 256 KiB of
    each part, so that a table of any size takes a moment: a change there that keeps a part's
    size and misses all three places is not seen. Times and folders do not count, so a copy has
    the fingerprint of its original.
    """
    whole = sum(part.size for part in parts) <= FULL_HASH_BYTES
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.path.rpartition('/')[2]}\0{part.size}\0".encode())
        with part.open() as file:
            if whole or part.size <= 3 * _SAMPLE_BYTES:
                while chunk := file.read(4 << 20):
                    digest.update(chunk)
            else:
                for at in (0, (part.size - _SAMPLE_BYTES) // 2, part.size - _SAMPLE_BYTES):
                    digest.update(file.read_at(_SAMPLE_BYTES, at))
    return digest.hexdigest()


def _find(place: str, filesystem: Any) -> list[Location]:
    if not place.strip():
        raise ConfigError("No table was given: its path is empty. Name a file.")
    is_uri = filesystem is None and bool(_SCHEME.match(place))
    magic = "*[" if is_uri else "*?["  # in an address, ? begins the options
    literal = filesystem is None and not is_uri and Path(place).expanduser().exists()
    if not literal and any(c in place for c in magic):
        head, pattern = _split_glob(place, magic)
        system, base, prefix = _resolve(head or ".", filesystem, is_uri)
        return _matches(system, base, "" if not head else prefix, pattern, place)
    system, path, name = _resolve(place, filesystem, is_uri)
    info = _info(system, path, place)
    if info.type == fs.FileType.Directory:
        return _directory(system, path, name)
    if info.type == fs.FileType.NotFound:
        raise InputError(f"{place} does not exist.{_hint(system, path)}")
    if info.type != fs.FileType.File:
        raise InputError(
            f"{place} is neither a file nor a directory. Name a file that can be "
            "read from any position; save what a pipe or device gives in one."
        )
    return [Location(name, path, system, info.size)]


def _resolve(place: str, filesystem: Any, is_uri: bool) -> tuple[Any, str, str]:
    """(file system, path inside it, name for messages)."""
    if filesystem is not None:
        return filesystem, place.rstrip("/") or place, place
    if not is_uri:
        return fs.LocalFileSystem(), str(Path(place).expanduser()), place
    try:
        system, path = fs.FileSystem.from_uri(place)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        system, path = _from_fsspec(place, error)
    except OSError as error:
        raise unreadable(place, error) from error
    return system, path, place.split("?")[0]


def _from_fsspec(place: str, cause: Exception) -> tuple[Any, str]:
    scheme = place.split("://")[0]
    try:
        system, path = import_module("fsspec.core").url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"{place}: no file system for {scheme}:// is installed ({cause}). Built in are file, "
            f"s3, gs, abfs and hdfs; for others install fsspec and its driver for {scheme}, or "
            "copy the files here."
        ) from error
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path


def _info(system: Any, path: str, place: str) -> Any:
    try:
        return system.get_file_info(path)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(place, error) from error


def _list(system: Any, path: str, recursive: bool = False) -> list[Any]:
    selector = fs.FileSelector(path, allow_not_found=True, recursive=recursive)
    try:
        return sorted(system.get_file_info(selector), key=lambda info: info.path)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def _directory(system: Any, path: str, name: str) -> list[Location]:
    from pinjoin.data.formats import EXTENSIONS, extension

    entries = _list(system, path)
    parts = [
        Location(f"{name.rstrip('/')}/{info.base_name}", info.path, system, info.size)
        for info in entries
        if info.type == fs.FileType.File
        and not info.base_name.startswith((".", "_"))
        and extension(info.base_name) in EXTENSIONS
    ]
    if parts:
        return parts
    names = [info.base_name for info in entries]
    holds = f"It holds {_some(names)}" if names else "It is empty"
    raise InputError(
        f"{name} is a directory without table parts. {holds}; a part's name ends in "
        f"{', '.join('.' + e for e in EXTENSIONS)} (and .gz, .zst or .bz2 if compressed). "
        "For parts in folders below, use a glob such as dir/**/*.parquet."
    )


def _split_glob(place: str, magic: str) -> tuple[str, str]:
    """Cut before the first path component that has a magic character."""
    first = min(place.index(c) for c in magic if c in place)
    cut = place.rfind("/", 0, first) + 1
    return place[:cut], place[cut:]


def _matches(system: Any, base: str, prefix: str, pattern: str, place: str) -> list[Location]:
    rule = _glob_rule(pattern)
    entries = _list(system, base, recursive="/" in pattern)
    root = base.rstrip("/") + "/"
    parts = []
    for info in entries:
        tail = info.path.removeprefix(root).removeprefix("./")
        if info.type == fs.FileType.File and rule.fullmatch(tail):
            parts.append(Location(prefix + tail, info.path, system, info.size))
    if parts:
        return parts
    names = [info.base_name for info in entries if info.type == fs.FileType.File]
    raise InputError(f"{place} matches no file. Beside it are {_some(names)}.")


def _glob_rule(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression; `*`, `?` and `[…]` stay within one folder, `**/` does not.

    >>> bool(_glob_rule("**/p-*.csv").fullmatch("p-1.csv"))
    True
    """
    special = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*|\?|\[[^\]/]+\])", pattern)
    return re.compile(
        "".join(
            special.get(piece)
            or (piece.replace("[!", "[^") if piece.startswith("[") and i % 2 else re.escape(piece))
            for i, piece in enumerate(pieces)
        )
    )


def _hint(system: Any, path: str) -> str:
    """Close names beside a path that is not there."""
    parent, _, name = path.rpartition("/")
    names = [info.base_name for info in _list(system, parent or ".")]
    if close := get_close_matches(name, names, n=3, cutoff=0.5):
        return f" Did you mean {' or '.join(close)}?"
    if isinstance(system, fs.LocalFileSystem) and not Path(parent or ".").is_dir():
        return f" Nor does the directory {parent}."
    return f" Beside it are {_some(names)}."


def _some(names: Sequence[str], limit: int = 8) -> str:
    if not names:
        return "no files"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
