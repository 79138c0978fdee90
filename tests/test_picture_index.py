"""Which index a snapshot of pictures gets, and how one build hands it on to the next."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import pinjoin
from pinjoin.candidates import picture_index
from pinjoin.candidates.approximate import ApproximateHamming
from pinjoin.candidates.nearest import ExactHamming
from pinjoin.candidates.picture_index import Indexed, open_index, save_index
from pinjoin.candidates.sketched import SketchedHamming
from pinjoin.cli.build import build as build_command
from pinjoin.core.errors import SnapshotError
from pinjoin.core.types import NO_ROW
from pinjoin.snapshot.reader import open_snapshot
from pinjoin.snapshot.writer import SnapshotWriter

pytest.importorskip("usearch", reason="graphs are optional: pip install usearch")

N, BITS = 3_000, 2_048
RNG = np.random.default_rng(0)
CENTRES = RNG.standard_normal((60, 16))
PLANES = RNG.standard_normal((16, BITS))


def pictures(n: int, seed: int) -> np.ndarray:
    """Hyperplane bits of clustered Gaussian vectors, as benchmarks/nearest.py states."""
    rng = np.random.default_rng(seed)
    points = CENTRES[rng.integers(60, size=n)] + 0.5 * rng.standard_normal((n, 16))
    return np.packbits(points @ PLANES > 0, axis=1, bitorder="little")


CODES = pictures(N, 1)
NAMES = [f"image-{row}" for row in range(N)]


@pytest.fixture(autouse=True)
def all_is_large(monkeypatch):
    """So that few codes get what many would, and graphs are walked."""
    monkeypatch.setattr(picture_index, "EXACT_BYTES", 0)
    monkeypatch.setattr(picture_index, "GRAPH_FROM", 1)
    monkeypatch.setattr("pinjoin.candidates.approximate._SCANNED_PER_VIEWED", 1)
    monkeypatch.setattr("pinjoin.candidates.sketched._LEAST", 100)


def snapshot_of(workspace: Path, names=NAMES, codes=CODES, present=None, choice="auto"):
    """Build a snapshot of these images; what became of its index, and the snapshot."""
    present = np.ones(len(codes), bool) if present is None else present
    with SnapshotWriter(workspace, {}, "0" * 64) as writer:
        writer.save_table("images", pa.table({"signature": names}))
        writer.save_array("visual.bits", codes * present[:, None].astype(np.uint8))
        writer.save_array("visual.present", present.astype(np.uint8))
        indexed = save_index(writer, choice)
        writer.commit({})
    return indexed, open_snapshot(workspace)


def recall(index, codes: np.ndarray, queries: np.ndarray, k: int = 50) -> float:
    hits = 0
    for query in queries:
        true = np.bitwise_count(codes ^ query).sum(1)
        rows, distances = index.search(query, k)
        assert distances.tolist() == true[rows].tolist()
        assert len(set(rows.tolist())) == k
        hits += int(np.sum(distances <= np.sort(true)[k - 1]))
    return hits / k / len(queries)


@pytest.mark.parametrize(
    ("exact_bytes", "graph_from", "choice", "kind"),
    [
        (CODES.nbytes, N + 1, "auto", ExactHamming),
        (CODES.nbytes - 1, N + 1, "auto", SketchedHamming),
        (CODES.nbytes - 1, N, "auto", ApproximateHamming),
        (CODES.nbytes - 1, N, "never", SketchedHamming),
        (CODES.nbytes, N, "auto", ApproximateHamming),
    ],
)
def test_the_index_is_as_large_as_the_catalogue(
    tmp_path, monkeypatch, exact_bytes, graph_from, choice, kind
):
    monkeypatch.setattr(picture_index, "EXACT_BYTES", exact_bytes)
    monkeypatch.setattr(picture_index, "GRAPH_FROM", graph_from)
    indexed, snapshot = snapshot_of(tmp_path, choice=choice)
    index = open_index(snapshot)
    assert type(index) is kind
    assert (len(index), index.bits) == (N, BITS)
    assert indexed == (Indexed(N, N) if kind is ApproximateHamming else Indexed())
    assert recall(index, CODES, pictures(20, 2)) >= 0.95


def test_codes_as_short_as_sketches_get_none(tmp_path):
    _, snapshot = snapshot_of(tmp_path, codes=CODES[:, :128].copy(), choice="never")
    assert type(open_index(snapshot)) is ExactHamming


def test_the_next_build_only_indexes_what_is_new(tmp_path):
    """Rows are renumbered; 50 images are gone, 30 look different, 20 lost their picture (one of
    them had no bit set, as those without have none) and 40 are new."""
    rng = np.random.default_rng(0)
    order = rng.permutation(N)[: N - 50]
    before = CODES.copy()
    before[order[30]] = 0
    snapshot_of(tmp_path, codes=before)
    names = [NAMES[row] for row in order] + [f"new-{row}" for row in range(40)]
    codes = np.concatenate([CODES[order], pictures(40, 3)])
    codes[:30] = pictures(30, 4)
    present = np.ones(len(codes), bool)
    present[30:50] = False
    indexed, snapshot = snapshot_of(tmp_path, names, codes, present)
    assert indexed == Indexed(len(codes) - 20, 30 + 40)
    index = open_index(snapshot)
    there = codes.copy()
    there[~present] = ~pictures(1, 2)[0]  # as far away as can be
    assert recall(index, there, np.concatenate([pictures(10, 2), codes[:10], codes[-10:]])) >= 0.95
    gone = [*before[np.setdiff1d(np.arange(N), order)], before[order[30]]]
    assert all(index.search(code, 1)[1][0] > 0 for code in gone)
    again, _ = snapshot_of(tmp_path, names, codes, present)
    assert again == Indexed(len(codes) - 20, 0)


def test_a_graph_mostly_of_what_is_gone_is_built_afresh(tmp_path):
    snapshot_of(tmp_path)
    indexed, snapshot = snapshot_of(tmp_path, NAMES[:2_000], CODES[:2_000])
    assert indexed == Indexed(2_000, 2_000)
    assert len(snapshot.array("visual.graph.rows")) == 2_000


def test_codes_of_another_length_are_indexed_afresh(tmp_path):
    snapshot_of(tmp_path)
    indexed, _ = snapshot_of(tmp_path, codes=CODES[:, :200].copy())
    assert indexed == Indexed(N, N)


@given(st.lists(st.integers(0, 9), unique=True), st.lists(st.integers(0, 9), unique=True))
@settings(max_examples=30, deadline=None)
def test_rows_are_followed_by_signature(old, new):
    as_table = [
        pa.chunked_array([[str(one) for one in names]], pa.string()) for names in (old, new)
    ]
    rows = picture_index._rows_now(*as_table)
    naive = [new.index(one) if one in new else NO_ROW for one in old]
    assert rows.dtype == np.uint32
    assert rows.tolist() == naive


def without_usearch(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setitem(sys.modules, "usearch.index", None)


def test_without_usearch_a_build_succeeds_and_says_what_is_missing(tmp_path, monkeypatch):
    without_usearch(monkeypatch)
    indexed, snapshot = snapshot_of(tmp_path)
    assert indexed == Indexed(missing=True)
    assert type(open_index(snapshot)) is SketchedHamming
    assert snapshot_of(tmp_path, choice="never")[0] == Indexed()


def test_without_usearch_a_graph_made_elsewhere_is_a_warning(tmp_path, monkeypatch, caplog):
    _, snapshot = snapshot_of(tmp_path)
    without_usearch(monkeypatch)
    assert type(open_index(snapshot)) is SketchedHamming
    assert "pip install 'pinjoin[ann]'" in caplog.text
    assert "scanned" in caplog.text


def test_a_damaged_graph_is_refused_by_name(tmp_path):
    _, snapshot = snapshot_of(tmp_path)
    with (snapshot.path / "visual.graph.npy").open("r+b") as file:
        file.seek(5_000)
        file.write(b"damaged")
    with pytest.raises(SnapshotError, match=r"visual\.graph\.npy has the SHA-256 .*build"):
        open_snapshot(tmp_path)
    indexed, _ = snapshot_of(tmp_path)
    assert indexed == Indexed(N, N), "nothing is taken over from a snapshot that is damaged"


def test_a_graph_that_cannot_be_read_is_scanned_around_and_built_afresh(
    tmp_path, monkeypatch, caplog
):
    """As one of a version of usearch that this one does not read."""
    with monkeypatch.context() as other_version:
        save = SnapshotWriter.save_array
        other_version.setattr(
            SnapshotWriter,
            "save_array",
            lambda writer, name, array: save(
                writer, name, np.zeros(100, np.uint8) if name == "visual.graph" else array
            ),
        )
        _, snapshot = snapshot_of(tmp_path)
    assert type(open_index(snapshot)) is SketchedHamming
    assert "cannot be read" in caplog.text
    indexed, snapshot = snapshot_of(tmp_path)
    assert indexed == Indexed(N, N)
    assert type(open_index(snapshot)) is ApproximateHamming


# Through the whole build.

PHOTOS = sorted((Path(pinjoin.__file__).parent / "data/demo/images").glob("*.jpg"))


def build(tmp_path: Path, number: int, *more: str) -> list[str]:
    """What `pinjoin build` prints of the first so many photos of the demo, on three boards."""
    pins = [f"p{at},b{at % 3},{photo.name}" for at, photo in enumerate(PHOTOS[:number])]
    (tmp_path / "pins.csv").write_text("\n".join(["pin_id,board_id,image", *pins]))
    (tmp_path / "boards.csv").write_text("board_id,title\nb0,One\nb1,Two\nb2,Three\n")
    tables = ["--pins", str(tmp_path / "pins.csv"), "--boards", str(tmp_path / "boards.csv")]
    given = [str(tmp_path / "ws"), *tables, "--images", str(PHOTOS[0].parent), *more]
    result = CliRunner().invoke(build_command, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def related(tmp_path: Path) -> list[pinjoin.Related]:
    """What is shown beside a picture from outside."""
    return pinjoin.open(tmp_path / "ws").related(str(PHOTOS[80]), n=10)


def test_related_finds_through_a_graph_what_a_scan_finds(tmp_path, monkeypatch):
    searched = []
    search = ApproximateHamming.search

    def spy(index, *asked, **options):
        searched.append(len(index))
        return search(index, *asked, **options)

    monkeypatch.setattr(ApproximateHamming, "search", spy)
    assert "30 of them are indexed, 30 newly so." in build(tmp_path, 30)
    assert "40 of them are indexed, 10 newly so." in build(tmp_path, 40)
    through_graph = related(tmp_path)
    assert set(searched) == {40}
    assert not any("indexed" in line for line in build(tmp_path, 40, "--index", "never"))
    searched.clear()
    assert related(tmp_path) == through_graph
    assert searched == []


def test_a_build_without_usearch_tells_how_to_get_it(tmp_path, monkeypatch):
    without_usearch(monkeypatch)
    assert any("pip install 'pinjoin[ann]'" in line for line in build(tmp_path, 4))
    assert len(related(tmp_path)) == 4
