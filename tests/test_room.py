"""Room behind arrays, mapped or copied."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from pinjoin.core import room
from pinjoin.core.room import with_room
from pinjoin.snapshot.arrays import map_array_file, write_array_file


@pytest.fixture(params=["mapped", "copied"])
def way(request, monkeypatch) -> str:
    if request.param == "copied":
        monkeypatch.setattr(room, "_system_mmap", lambda: None)
    return request.param


@pytest.mark.parametrize("shape", [(0,), (1,), (1000,), (5000, 3), (3, 0)])
@pytest.mark.parametrize("dtype", [np.uint32, np.float16, np.int64, np.uint8])
def test_an_array_has_zeros_behind_it_and_can_be_written_to(tmp_path, way, shape, dtype):
    path = tmp_path / "a.npy"
    given = np.random.default_rng(0).integers(1, 100, shape).astype(dtype)
    write_array_file(path, given)
    found = with_room(map_array_file(path), 700, path)
    assert found.shape == (shape[0] + 700, *shape[1:])
    assert found.dtype == dtype
    assert np.array_equal(found[: shape[0]], given)
    assert not found[shape[0] :].any()
    found[:] = 7
    assert (found == 7).all()
    assert np.array_equal(map_array_file(path), given), "the file stays as it was"


def test_a_mapped_file_is_not_read_for_it(tmp_path):
    """What is there is shared with the page cache: a view of it costs no memory of its own."""
    path = tmp_path / "a.npy"
    write_array_file(path, np.arange(1 << 20, dtype=np.uint32))
    found = with_room(map_array_file(path), 1 << 36, path)  # 256 GiB that nobody has
    assert found[-1] == 0
    assert found[(1 << 20) - 1] == (1 << 20) - 1


def test_a_view_keeps_the_memory(tmp_path):
    path = tmp_path / "a.npy"
    write_array_file(path, np.arange(10, dtype=np.uint32))
    view = with_room(map_array_file(path), 10, path)[5:15].view()
    gc.collect()
    assert view.tolist() == [5, 6, 7, 8, 9, 0, 0, 0, 0, 0]


def test_an_array_in_memory_is_copied():
    given = np.arange(3)
    found = with_room(given, 2)
    found[0] = 9
    assert found.tolist() == [9, 1, 2, 0, 0]
    assert given.tolist() == [0, 1, 2]


def test_a_file_that_cannot_be_mapped_is_copied(tmp_path):
    assert with_room(np.arange(3), 1, tmp_path / "missing.npy").tolist() == [0, 1, 2, 0]
