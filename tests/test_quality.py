"""Query-independent features against the plainest way to compute them."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import pinjoin
from pinjoin.core.errors import ConfigError
from pinjoin.core.types import NO_ROW
from pinjoin.data.schema import TIMESTAMP
from pinjoin.features import quality, sizes
from pinjoin.features.quality import FROM_SAVES, Quality, Saves
from pinjoin.snapshot.reader import open_snapshot
from pinjoin.snapshot.writer import SnapshotWriter

DAY = 86_400
N_IMAGES, N_BOARDS = 5, 4
ODD = [math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324]
FLOATS = st.one_of(st.none(), st.floats(-100, 100), st.sampled_from(ODD))
PINS = st.lists(
    st.fixed_dictionaries(
        {
            "image": st.one_of(st.none(), st.integers(0, N_IMAGES - 1)),
            "board": st.one_of(st.none(), st.integers(0, N_BOARDS - 1)),
            "time": st.one_of(
                st.none(), st.integers(-3 * DAY, 40 * DAY), st.integers(-(10**10), 10**11)
            ),
            "x": FLOATS,
        }
    ),
    max_size=20,
)


def saves_of(pins) -> tuple[Saves, pa.Table]:
    """Pins whose image is None are those a build leaves out."""
    lists = [[n for n, pin in enumerate(pins) if pin["image"] == i] for i in range(N_IMAGES)]
    indptr = np.cumsum([0, *map(len, lists)])
    rows = np.array([n for some in lists for n in some], np.uint32)
    boards = [NO_ROW if pin["board"] is None else pin["board"] for pin in pins]
    times = pa.array([pin["time"] for pin in pins], pa.int64()).cast(TIMESTAMP)
    x = pa.array([pin["x"] for pin in pins], pa.float64())
    half = len(pins) // 2
    table = pa.table(
        {
            "created_at": pa.chunked_array([times[:half], times[half:]]),
            "feature_x": pa.chunked_array([x[:half], x[half:]]),
        }
    )
    return Saves.of(indptr, rows, np.array(boards, np.uint32), N_BOARDS, table), table


def reference(pins) -> dict[str, list[float]]:
    """The columns that follow from pins, by their definitions."""
    pins = [pin for pin in pins if pin["image"] is not None]
    newest = max((pin["time"] for pin in pins if pin["time"] is not None), default=None)
    most = float(np.finfo(np.float32).max)
    columns = {name: [] for name in [*FROM_SAVES, "feature.x", "feature.x.present"]}
    for image in range(N_IMAGES):
        mine = [pin for pin in pins if pin["image"] == image]
        times = [pin["time"] for pin in mine if pin["time"] is not None]
        rate = len(times) / max((newest - min(times)) / DAY, 30) if times else 0
        xs = [pin["x"] for pin in mine if pin["x"] is not None and math.isfinite(pin["x"])]
        xs = [min(max(x, -most), most) for x in xs]
        boards = {pin["board"] for pin in mine} - {None}
        values = [
            math.log(1 + len(boards)),
            math.log(1 + len(mine)),
            math.log1p(rate),
            float(bool(times)),
            math.fsum(xs) / len(xs) if xs else None,
            float(bool(xs)),
        ]
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    known = [x for x in columns["feature.x"] if x is not None]  # too few to have thousandths
    mean = statistics.fmean(known) if known else 0
    deviation = statistics.pstdev(known) if known else 0
    if known and deviation <= 1e-9 * max(map(abs, known)):
        deviation = math.inf  # they are the same but for rounding
    columns["feature.x"] = [
        0 if x is None else max(-10, min(10, (x - mean) / deviation)) for x in columns["feature.x"]
    ]
    return columns


def build(pins, titles=(None,) * N_IMAGES, sizes=None) -> Quality:
    return quality.build(*saves_of(pins), pa.array(titles, pa.string()), sizes)


@given(PINS)
def test_what_follows_from_pins_equals_its_definition(pins):
    found = build(pins)
    assert found.values.dtype == np.float32
    assert found.values.shape == (N_IMAGES, len(found.names))
    assert np.isfinite(found.values).all()
    assert tuple(found.definitions) == found.names
    expected = reference(pins)
    for name, column in expected.items():
        values = found.values[:, found.names.index(name)]
        np.testing.assert_allclose(values, column, rtol=1e-5, atol=1e-5, err_msg=name)


@given(PINS, st.data())
def test_leaving_pins_out_equals_building_without_them(pins, data):
    hidden = data.draw(st.sets(st.integers(0, len(pins) - 1)) if pins else st.just(set()))
    rows = np.array(data.draw(st.lists(st.integers(0, N_IMAGES - 1))), np.int64)
    saves, _ = saves_of(pins)
    without = build([pin for n, pin in enumerate(pins) if n not in hidden])
    mask = np.isin(np.arange(len(pins)), list(hidden))
    expected = without.values[rows, : len(FROM_SAVES)]
    for left_out in (mask, np.flatnonzero(mask), np.flatnonzero(mask).astype(np.uint32)):
        found = quality.of_rows(saves, rows, left_out)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    whole = build(pins).values[rows, : len(FROM_SAVES)]
    np.testing.assert_array_equal(quality.of_rows(saves, rows), whole)


def pin(image, board=None, day=None, x=None):
    return {"image": image, "board": board, "time": None if day is None else day * DAY, "x": x}


def column(found: Quality, name: str) -> list[float]:
    return found.values[:, found.names.index(name)].tolist()


def test_saves_per_day_by_hand():
    pins = [pin(0, day=0), pin(0, day=4), pin(0), pin(1, day=50), pin(1, day=49.5), pin(2)]
    found = build(pins)
    # Image 0: 2 dated pins in the 50 days until day 50; image 1: 2 in half a day, taken for 30.
    expected = [math.log(1 + 2 / 50), math.log(1 + 2 / 30), 0, 0, 0]
    assert column(found, "quality.saves_per_day") == pytest.approx(expected)
    assert column(found, "quality.dated") == [1, 1, 0, 0, 0]
    # Without the pin of day 50 the catalogue ends on day 49.5.
    found = quality.of_rows(saves_of(pins)[0], np.array([0, 1]), np.array([3]))
    assert found[:, 2].tolist() == pytest.approx([math.log(1 + 2 / 49.5), math.log(1 + 1 / 30)])


def test_without_dates_there_is_no_rate():
    pins = [pin(n % 5, board=0) for n in range(9)]
    saves, table = saves_of(pins)
    assert len(saves.times) == 0
    dateless = Saves.of(saves.indptr, saves.pins, saves.boards, 4, table.drop(["created_at"]))
    for given_saves in (saves, dateless):
        found = quality.build(given_saves, table, pa.nulls(5, pa.string()))
        assert column(found, "quality.saves_per_day") == [0] * 5
        assert column(found, "quality.dated") == [0] * 5
        assert column(found, "quality.log_pins") == pytest.approx([math.log(3)] * 4 + [math.log(2)])


def test_a_pin_that_is_no_images_does_not_date_the_catalogue():
    found = build([pin(0, day=0), pin(0, day=40), pin(None, day=900)])
    assert column(found, "quality.saves_per_day")[0] == pytest.approx(math.log(1 + 2 / 40))


def test_a_feature_without_values_is_zero_and_absent():
    found = build([pin(0), pin(1), pin(1)])
    assert column(found, "feature.x") == [0] * 5
    assert column(found, "feature.x.present") == [0] * 5


def test_wild_values_neither_dominate_nor_hide_the_others():
    values = np.append(np.tile([98.0, 102.0], 2000), [1e30, np.nan])
    found = quality.standard_scores(values)
    assert found[:2] == pytest.approx([-1, 1], abs=0.01)
    assert found[-2:].tolist() == [10, 0]
    rare = quality.standard_scores(np.arange(10_000) == 7)
    assert (rare[7], abs(rare[8]) < 0.02) == (10, True)


def test_an_indicator_is_there_whether_or_not_an_image_needs_it():
    found = build([pin(n, x=float(n)) for n in range(5)])
    two = math.sqrt(2)  # the deviation: √((4 + 1 + 0 + 1 + 4) / 5)
    assert column(found, "feature.x") == pytest.approx([-2 / two, -1 / two, 0, 1 / two, 2 / two])
    assert column(found, "feature.x.present") == [1] * 5


def test_a_users_own_indicator_stands():
    saves, table = saves_of([pin(0, x=2.0), pin(1)])
    table = table.append_column("feature_x.present", pa.array([7.0, 9.0]))
    found = quality.build(saves, table, pa.nulls(5, pa.string()))
    assert column(found, "feature.x.present") == [-1, 1, 0, 0, 0]
    assert column(found, "feature.x.present.present") == [1, 1, 0, 0, 0]
    assert len(set(found.names)) == len(found.names) == found.values.shape[1]


def test_sizes_and_titles():
    widths = np.array([[2000, 1000], [300, 400], [0, 0], [5, 0], [1, 1]], np.uint32)
    found = build([], ["Kettle", None, "", "Löwe", "🦁"], widths)
    megapixels = [math.log(2), math.log(0.12), 0, 0, math.log(1e-6)]
    assert column(found, "quality.log_megapixels") == pytest.approx(megapixels)
    assert column(found, "quality.aspect") == pytest.approx([math.log(2), math.log(3 / 4), 0, 0, 0])
    assert column(found, "quality.sized") == [1, 1, 0, 0, 1]
    lengths = [math.log(1 + 6), 0, 0, math.log(1 + 4), math.log(1 + 1)]
    assert column(found, "quality.title_length") == pytest.approx(lengths)


def test_saved_and_opened(tmp_path):
    found = build([pin(0, 1, 3, 2.5), pin(2, 0)])
    with SnapshotWriter(tmp_path, {}, "x") as writer:
        found.save(writer)
        writer.commit({})
    opened = Quality.open(open_snapshot(tmp_path))
    assert opened.names == found.names
    assert opened.definitions == found.definitions
    np.testing.assert_array_equal(opened.values, found.values)


def test_every_column_is_documented():
    page = (Path(__file__).parents[1] / "docs/features.md").read_text("utf-8")
    for name in build([pin(0, x=1.0)]).names:
        assert f"| `{name}` |" in page


def test_refused():
    saves, table = saves_of([pin(0), pin(1)])
    titles = pa.nulls(5, pa.string())
    with pytest.raises(ConfigError, match="titles parameter of .* 5 long, one an image. Got 4"):
        quality.build(saves, table, titles[:4])
    with pytest.raises(ConfigError, match=r"sizes parameter of .* of shape \(5, 2\). Got \(5, 3\)"):
        quality.build(saves, table, titles, np.zeros((5, 3), np.uint32))
    with pytest.raises(ConfigError, match=r"rows parameter of .* from 0 to 4. Got array\(\[5\]\)"):
        quality.of_rows(saves, np.array([5]))
    with pytest.raises(ConfigError, match="left_out parameter of .* from 0 to 1. Got array"):
        quality.of_rows(saves, np.array([0]), np.array([-1]))
    with pytest.raises(ConfigError, match=r"left_out parameter of .* of shape \(2,\). Got \(3,\)"):
        quality.of_rows(saves, np.array([0]), np.zeros(3, bool))


def built(folder: Path, pins: list[tuple], header: list[str], workspace="ws", **options):
    for name, rows in (
        ("pins", [header, *pins]),
        ("boards", [("board_id", "title"), *((board, board) for board in "ABCD")]),
    ):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    pinjoin.build(
        folder / workspace,
        pinjoin.open_source("pins", str(folder / "pins.csv")),
        pinjoin.open_source("boards", str(folder / "boards.csv")),
        base=folder,
        **options,
    )
    return pinjoin.open(folder / workspace)


HEADER = ["pin_id", "board_id", "image", "title", "created_at", "feature_price"]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", *"ABCD"]),
        st.sampled_from(["i", "j", "k", "l"]),
        st.sampled_from(["", "Cup", "Kettle"]),
        st.one_of(st.just(""), st.integers(0, 20 * DAY)),
        st.sampled_from(["", "nan", "1.5", "-2"]),
    ),
    min_size=2,
    max_size=20,
)


@given(ROWS, st.data())
@settings(max_examples=15)
def test_a_new_build_without_pins_equals_leaving_them_out(tmp_path_factory, rows, data):
    pins = [(f"p{n}", *row) for n, row in enumerate(rows)]
    pins.append(("p0", "A", "copy", "", 900 * DAY, 7))  # an id given twice: no pin of the build
    kept = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1))
    folder = tmp_path_factory.mktemp("quality")
    whole = built(folder, pins, HEADER)
    fewer = built(folder, [pins[n] for n in sorted(kept)], HEADER, "fewer")
    left_out = ~np.isin(np.arange(len(pins)), list(kept))
    signatures = fewer.signatures().to_pylist()
    at = np.array([whole.find(signature) for signature in signatures])
    found = quality.of_rows(Saves.open(whole.snapshot), at, left_out)
    expected = Quality.open(fewer.snapshot)
    np.testing.assert_array_equal(found, expected.values[:, : len(FROM_SAVES)])
    boards = [
        len({row[0] for row in (rows[n] for n in kept) if row[1] == s} - {""}) for s in signatures
    ]
    assert column(expected, "quality.log_boards") == pytest.approx(np.log1p(boards).tolist())


def test_a_build_measures_pictures_once(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (400, 100), "red").save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (30, 30), "red").save(tmp_path / "square.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    images = ["broken.png", "missing.png", "square.png", "turned.jpg", "https://far.example/a.png"]
    pins = [(f"p{n}", "A", image, "", "", "") for n, image in enumerate(images)]
    workspace = built(tmp_path, pins, HEADER)
    rows = [workspace.find(image) for image in images]
    found = Quality.open(workspace.snapshot)
    aspects = [0, 0, 0, math.log(100 / 400), 0]
    assert found.values[rows, found.names.index("quality.sized")].tolist() == [0, 0, 1, 1, 0]
    assert found.values[rows, found.names.index("quality.aspect")] == pytest.approx(aspects)
    opened = []
    monkeypatch.setattr(sizes, "read_size", lambda path: opened.append(path.name) or (1, 1))
    again = Quality.open(built(tmp_path, pins, HEADER).snapshot)
    assert opened == ["broken.png"]
    broken = rows[0]
    np.testing.assert_array_equal(
        np.delete(again.values, broken, 0), np.delete(found.values, broken, 0)
    )
    blind = Quality.open(built(tmp_path, pins, HEADER, "blind", encoder=None).snapshot)
    assert column(blind, "quality.sized") == [0] * 5


def test_real_movies(data, tmp_path):
    folder = data / "movies"
    pinjoin.build(
        tmp_path,
        pinjoin.open_source("pins", str(folder / "pins.csv")),
        pinjoin.open_source("boards", str(folder / "boards.csv")),
        encoder=None,
    )
    workspace = pinjoin.open(tmp_path)
    found = Quality.open(workspace.snapshot)
    times: dict[str, list[int]] = {}
    with (folder / "pins.csv").open(newline="") as file:
        pins = {row["pin_id"]: row for row in reversed(list(csv.DictReader(file)))}
    for row in pins.values():  # of an id given twice the first
        times.setdefault(row["image"], []).append(int(row["created_at"]))
    newest = max(map(max, times.values()))
    days = {image: max((newest - min(some)) / DAY, 30) for image, some in times.items()}
    images = workspace.signatures().to_pylist()
    expected = [math.log1p(len(times[image]) / days[image]) for image in images]
    assert column(found, "quality.saves_per_day") == pytest.approx(expected)
    boards = np.log1p(workspace.incidence.degrees)
    assert column(found, "quality.log_boards") == pytest.approx(boards.tolist())
