"""Width and height of a catalogue's pictures, read from their headers once and then remembered."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pinjoin.core.cores import cores
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import UInt32s
from pinjoin.data.images import ImageError, file_key, read_size
from pinjoin.features.embedding_cache import key_hash
from pinjoin.snapshot.disk import disk_errors, write_durably

CACHE_FILE = "sizes-1.npy"  # the number is the format's
_RECORD = np.dtype([("key", "<u8"), ("size", "<u4", (2,))])
_AT_ONCE = 256  # pictures handed to a thread at a time

Keys = npt.NDArray[np.uint64]


def image_sizes(
    paths: Sequence[Path | None],
    cache: Path | None = None,
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> UInt32s:
    """(images, 2) uint32: width and height of each picture file in pixels, upright as EXIF says.

    0 × 0 where there is no file or none whose header can be read. Sizes are kept in the folder
    `cache`, by path, bytes and time of change: a known file is not opened again. Those that
    could not be read are not kept. `threads` defaults to the cores of this process.
    """
    sizes = np.zeros((len(paths), 2), np.uint32)
    rows = np.array([row for row, path in enumerate(paths) if path is not None], np.int64)
    files = [path for path in paths if path is not None]
    if not files:
        return sizes
    known = _read(cache)
    with ThreadPoolExecutor(threads or cores(), "sizes") as pool:
        keys = np.concatenate(list(pool.map(_keys, _parts(files))))
        found, new = _look_up(known, keys)
        try:
            with progress("measuring pictures", len(new)) as advance:
                parts = _parts([files[number] for number in new])
                for start, part in enumerate(pool.map(_measure, parts)):
                    found[new[start * _AT_ONCE :][: len(part)]] = part
                    advance(len(part))
        finally:  # an interrupted build goes on where it stopped
            _write(cache, known, keys[new], found[new])
    sizes[rows] = found
    return sizes


def _parts(files: list[Path]) -> list[list[Path]]:
    return [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)]


def _keys(files: list[Path]) -> Keys:
    """0 for a file that is gone. Of 3 million files, two share a key once in 4 million builds."""
    keys = np.zeros(len(files), np.uint64)
    for at, path in enumerate(files):
        with suppress(OSError):
            keys[at] = int.from_bytes(key_hash(file_key(path))[:8], "little")
    return keys


def _measure(files: list[Path]) -> UInt32s:
    sizes = np.zeros((len(files), 2), np.uint32)
    for at, path in enumerate(files):
        with suppress(ImageError):
            sizes[at] = read_size(path)
    return sizes


def _look_up(
    known: npt.NDArray[np.void], keys: Keys
) -> tuple[UInt32s, npt.NDArray[np.signedinteger]]:
    """(files, 2) the sizes that are known, else 0, and the numbers of the other files."""
    found = np.zeros((len(keys), 2), np.uint32)
    at = np.searchsorted(known["key"], keys)
    hits = np.flatnonzero(at < len(known))
    hits = hits[known["key"][at[hits]] == keys[hits]]
    found[hits] = known["size"][at[hits]]
    return found, np.setdiff1d(np.arange(len(keys)), hits, assume_unique=True)


def _read(cache: Path | None) -> npt.NDArray[np.void]:
    """What is remembered, by ascending key; nothing if the file is missing or damaged."""
    with suppress(Exception):  # a damaged file may fail in any way
        records = np.load(cache / CACHE_FILE, allow_pickle=False) if cache else None
        if records is not None and records.dtype == _RECORD and records.ndim == 1:
            return records  # type: ignore[no-any-return]
    return np.empty(0, _RECORD)


def _write(cache: Path | None, known: npt.NDArray[np.void], keys: Keys, sizes: UInt32s) -> None:
    read = sizes.all(axis=1)
    if cache is None or not read.any():
        return
    records = np.empty(int(read.sum()), _RECORD)
    records["key"], records["size"] = keys[read], sizes[read]
    both = np.concatenate([known, records])
    _, first = np.unique(both["key"], return_index=True)
    content = io.BytesIO()
    np.save(content, both[first])
    path = cache / CACHE_FILE
    with disk_errors("Writing", path):
        cache.mkdir(parents=True, exist_ok=True)
        write_durably(path.with_suffix(".tmp"), content.getvalue())
        os.replace(path.with_suffix(".tmp"), path)  # noqa: PTH105
