"""Arrays with room behind them, so that what comes later lies in the same run of memory.

A file is mapped over the beginning of a reserved range of addresses. Only what is written or read
of the range takes memory.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_FIXED = 0x10  # MAP_FIXED, on Linux and macOS alike
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0  # MAP_NORESERVE


def with_room(array: npt.NDArray[Any], rows: int, file: Path | None = None) -> npt.NDArray[Any]:
    """An array with `rows` more rows behind its own, zeroed, all writable.

    file: the `.npy` file that the array is mapped from: it is mapped again, not read, and what is
    written to the result stays out of it. Without one, or where that cannot be done, the array is
    copied.
    """
    shape = len(array) + rows, *array.shape[1:]
    mapped = None if file is None else _mapped(file, array.dtype, shape)
    if mapped is not None:
        return mapped
    copied = np.zeros(shape, array.dtype)
    copied[: len(array)] = array
    return copied


def _mapped(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """The array of a file and zeros behind it; None where the system does not do that."""
    function = _system_mmap()
    if function is None:
        return None
    try:
        with file.open("rb") as opened:
            start, size = _data_start(opened), os.fstat(opened.fileno()).st_size
            count = int(np.prod(shape, dtype=np.int64))
            whole = max(start + count * dtype.itemsize, size, 1)
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
            region = mmap.mmap(-1, whole, flags=flags)
            at = ctypes.addressof(ctypes.c_char.from_buffer(region))
            protection = mmap.PROT_READ | mmap.PROT_WRITE
            flags = mmap.MAP_PRIVATE | _FIXED | _NO_RESERVE
            got = function(at, size, protection, flags, opened.fileno(), 0)
    except (OSError, ValueError):
        return None
    if got != at:
        return None
    # The region unmaps all of its range once no array views it any more.
    return np.frombuffer(region, dtype, count, start).reshape(shape)


def _data_start(opened: Any) -> int:
    """Where the numbers of a `.npy` file begin."""
    version = np.lib.format.read_magic(opened)  # type: ignore[no-untyped-call, unused-ignore]
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    read(opened)  # type: ignore[no-untyped-call, unused-ignore]
    return int(opened.tell())


@cache
def _system_mmap() -> Callable[..., int | None] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).mmap
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_void_p
    integer = ctypes.c_int
    function.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, integer, integer, integer, ctypes.c_longlong,
    ]  # fmt: skip
    return function  # type: ignore[no-any-return, unused-ignore]
