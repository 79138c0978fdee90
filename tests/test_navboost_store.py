"""What people did, kept: the same when opened, in the rows of another snapshot, whole or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError, InputError, SnapshotError
from pinjoin.ranking.coec import CoecTable
from pinjoin.ranking.navboost import Navboost, NavboostConfig
from pinjoin.ranking.navboost_store import open_navboost, renumbered, save_navboost

NAMES = pa.chunked_array([[f"image {i}" for i in range(4)], [f"image {i}" for i in range(4, 10)]])
PLACES = [("1", "phone", None), ("2,5", None, "home")]
Pairs = dict[tuple[int, int], tuple[int, float, float]]


def table(pairs: Pairs) -> CoecTable:
    keys = sorted(pairs)
    query, candidate = np.array(keys, np.uint32).reshape(-1, 2).T
    values = np.array([pairs[key] for key in keys], np.float64).reshape(-1, 3)
    return CoecTable(query, candidate, values[:, 0].astype(np.int64), values[:, 1], values[:, 2])


PAIRS: Pairs = {(1, 2): (10, 3.0, 1.5), (1, 7): (5, 0.0, 0.25), (8, 1): (4, 1.0, 1.0)}
BOOST = Navboost(
    np.array([0.25, 0.1]),
    NavboostConfig(alpha=2.0, weights={"click": 1.0, "save": 3.0}),
    table(PAIRS),
    PLACES,
    until=1_700_000_000,
)


def rows_of(names: list[str | None]) -> object:
    """How a snapshot whose images have these names finds signatures."""
    rows = {name: row for row, name in enumerate(names)}
    return lambda asked: np.array([rows.get(one, -1) for one in asked.to_pylist()], np.int64)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    save_navboost(tmp_path, "first", BOOST, NAMES, "snapshot-1")
    return tmp_path


def test_what_is_kept_is_what_was_counted(kept: Path) -> None:
    again = open_navboost(kept, "first", "snapshot-1", rows_of([]))
    everyone = np.arange(10)
    for query in range(10):
        np.testing.assert_array_equal(again.values(query, everyone), BOOST.values(query, everyone))
    assert (again.config, again.places, again.until) == (BOOST.config, BOOST.places, BOOST.until)
    np.testing.assert_array_equal(again.rates, BOOST.rates)
    assert again.cell("2,5", None, "home") == 1
    assert isinstance(again.table.actions.base, np.memmap)  # mapped, not read


def test_format_1_is_read_for_ever(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent / "data" / "navboost-v1", tmp_path / "navboost" / "old")
    again = open_navboost(tmp_path, "old", "snapshot-1", rows_of([]))
    # candidate 2: 3 actions where 1.5 were expected; alpha is 2
    assert again.values(1, [2])[0] == pytest.approx(np.log((3 + 2) / (1.5 + 2)))
    assert (again.places, again.until) == (BOOST.places, BOOST.until)


def test_after_a_build_pairs_follow_their_images(kept: Path) -> None:
    # images 7 and 2 are at the front now, image 8 is gone
    names = [f"image {i}" for i in (7, 2, 0, 1, 3, 4, 5, 6, 9)]
    again = open_navboost(kept, "first", "snapshot-2", rows_of(names))
    assert again.table.query.tolist() == [3, 3]
    assert again.table.candidate.tolist() == [0, 1]
    np.testing.assert_array_equal(again.values(3, [0, 1]), BOOST.values(1, [7, 2]))


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 9), st.integers(0, 9)),
        st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(1, 9)),
        max_size=30,
    ),
    st.lists(st.integers(-1, 5), min_size=10, max_size=10),
)
def test_renumbering_equals_a_plain_loop(pairs: Pairs, new: list[int]) -> None:
    given_ = table(pairs)
    wanted: dict[tuple[int, int], np.ndarray] = {}
    for (query, candidate), values in pairs.items():
        key = new[query], new[candidate]
        if min(key) >= 0 and key[0] != key[1]:
            wanted[key] = wanted.get(key, np.zeros(3)) + values
    rows = np.union1d(given_.query, given_.candidate).astype(np.int64)
    found = renumbered(given_, rows, np.array(new)[rows])
    keys = list(zip(found.query.tolist(), found.candidate.tolist(), strict=True))
    assert keys == sorted(wanted)
    columns = np.stack([found.impressions, found.actions, found.expected], axis=1)
    for key, row in zip(keys, columns, strict=True):
        assert row.tolist() == wanted[key].tolist()


@pytest.mark.parametrize("name", ["first", "a/b", "", ".hidden"])
def test_names_are_new_and_plain(kept: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="new name"):
        save_navboost(kept, name, BOOST, NAMES, "snapshot-1")
    assert [path.name for path in (kept / "navboost").iterdir()] == ["first"]


@pytest.mark.parametrize("file", ["about.json", "query.npy", "expected.npy", "items.arrow"])
@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_what_is_damaged_is_refused_by_name(kept: Path, file: str, damage: str) -> None:
    path = kept / "navboost" / "first" / file
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content.replace(b"{", b"[") if file == "about.json" else content + b"x")
    with pytest.raises(InputError, match="navboost/first.*pinjoin train"):
        open_navboost(kept, "first", "snapshot-1", rows_of([]))


def test_another_format_is_refused(kept: Path) -> None:
    path = kept / "navboost" / "first" / "about.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))
    with pytest.raises(InputError, match="about.json.*of format 2, not 1"):
        open_navboost(kept, "first", "snapshot-1", rows_of([]))


def test_a_disk_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pinjoin.ranking.navboost_store.write_durably", fail)
    with pytest.raises(SnapshotError, match="No space left.*Make room"):
        save_navboost(tmp_path, "first", BOOST, NAMES, "snapshot-1")
    assert list((tmp_path / "navboost").iterdir()) == []


def test_nothing_counted_can_be_kept(tmp_path: Path) -> None:
    save_navboost(tmp_path, "empty", Navboost(np.array([0.1]), places=PLACES[:1]), NAMES, "s")
    again = open_navboost(tmp_path, "empty", "other", rows_of(["image 1"]))
    assert again.values(0, [1, 2]).tolist() == [0.0, 0.0]
    assert not again.knows(0)
