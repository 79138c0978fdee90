"""Arrays on disk: `.npy` files, the same bytes for the same numbers, mapped for reading."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check

_STEP = 64 << 20  # bytes per write


def write_array_file(path: Path, array: npt.NDArray[Any]) -> None:
    """Write `array` in C order and little-endian."""
    array = np.asarray(array, dtype=_stored_dtype(array.dtype), order="C")
    with path.open("wb") as file:
        _write_header(file, array.dtype, array.shape)
        data = array.reshape(-1).view(np.uint8)  # not `tofile`, which hides the reason it failed
        for start in range(0, data.size, _STEP):
            file.write(data[start : start + _STEP].data)


def create_array_file(
    path: Path, dtype: np.dtype[Any], shape: int | tuple[int, ...]
) -> np.memmap[Any, Any]:
    """Make a zeroed array file and map it for writing."""
    dtype = _stored_dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    with path.open("w+b") as file:
        _write_header(file, dtype, shape)
        file.flush()
        size = math.prod(shape) * dtype.itemsize
        if size:  # a sparse file would fail with SIGBUS when the disk is full
            os.posix_fallocate(file.fileno(), file.tell(), size)
    return np.lib.format.open_memmap(path, mode="r+")  # type: ignore[no-untyped-call, no-any-return, unused-ignore]


def map_array_file(path: Path) -> npt.NDArray[Any]:
    """The array of a file, mapped read-only; a plain ndarray, as memmap is slow to index."""
    return np.lib.format.open_memmap(path, mode="r").view(np.ndarray)  # type: ignore[no-untyped-call, no-any-return, unused-ignore]


def _stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    check(not dtype.hasobject, "array", "SnapshotWriter", "of numbers, not objects", dtype)
    return dtype.newbyteorder("<")


def _write_header(file: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    descr = np.lib.format.dtype_to_descr(dtype)  # type: ignore[no-untyped-call, unused-ignore]
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call, unused-ignore]
