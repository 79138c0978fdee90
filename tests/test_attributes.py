"""Attributes: columns of the user's own, of one type each, whatever the format."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pinjoin
from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data.attributes import parse_attributes
from pinjoin.data.guesses import guess_json, guess_text
from pinjoin.data.rejects import Rejects
from pinjoin.data.schema import TYPES, attributes_of
from pinjoin.data.sources import TableSource, open_source
from pinjoin.lookup import Lookup
from pinjoin.snapshot.reader import open_snapshot

OWN: dict[str, list[Any]] = {
    "in_stock": [True, None, False],
    "locale": ["de", "é", None],
    "price": [9.5, 12.0, None],
    "updated": ["2015-03-01", None, "2015-03-01T12:00:00Z"],
}
DAY, NOON = datetime(2015, 3, 1, tzinfo=UTC), datetime(2015, 3, 1, 12, tzinfo=UTC)
STORED = OWN | {"updated": [DAY, None, NOON]}
KINDS = {"in_stock": "bool", "locale": "text", "price": "number", "updated": "time"}


def as_csv(own: dict[str, list[Any]]) -> bytes:
    out = io.StringIO()
    rows = zip(*own.values(), strict=True)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["pin_id", "board_id", "image", *own])
    for i, row in enumerate(rows):
        writer.writerow([i, "b", f"{i}.jpg", *("" if value is None else value for value in row)])
    return out.getvalue().encode()


def as_json(own: dict[str, list[Any]]) -> bytes:
    rows = [dict(zip(own, row, strict=True)) for row in zip(*own.values(), strict=True)]
    ids = [{"pin_id": i, "board_id": "b", "image": f"{i}.jpg"} for i in range(len(rows))]
    return "".join(json.dumps(a | b) + "\n" for a, b in zip(ids, rows, strict=True)).encode()


def as_parquet(own: dict[str, Any]) -> bytes:
    n = len(next(iter(own.values())))
    ids = {"pin_id": [str(i) for i in range(n)], "board_id": ["b"] * n}
    out = io.BytesIO()
    pq.write_table(pa.table(ids | {"image": [f"{i}.jpg" for i in range(n)]} | own), out)
    return out.getvalue()


FORMATS = {"p.csv": as_csv, "p.jsonl": as_json, "p.parquet": as_parquet}


def put(folder: Path, own: dict[str, Any], name: str = "p.csv") -> Path:
    (folder / name).write_bytes(FORMATS[f"p.{name.rpartition('.')[2]}"](own))
    return folder / name


def read(source: TableSource) -> tuple[dict[str, list[Any]], dict[str, int], dict[str, int]]:
    """The attributes' values, why values were dropped and why rows."""
    with Rejects(None) as rejects:
        table = pa.Table.from_batches(list(source.batches(rejects)), source.schema)
    table.validate(full=True)
    values = {name: table.column(name).to_pylist() for name in attributes_of(source.schema)}
    return values, dict(rejects.dropped_values), dict(rejects.by_reason)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_attributes(tmp_path: Path, name: str) -> None:
    own = OWN | {"updated": STORED["updated"]} if name == "p.parquet" else OWN
    source = open_source("pins", put(tmp_path, own, name), attributes=reversed(OWN))
    assert attributes_of(source.schema) == KINDS
    assert source.schema.names[-4:] == sorted(OWN)
    values, dropped, lost = read(source)
    assert values == STORED
    assert not dropped
    assert not lost


def test_only_what_is_asked_for_is_kept(tmp_path: Path) -> None:
    source = open_source("pins", put(tmp_path, OWN), attributes=["price"])
    assert attributes_of(source.schema) == {"price": "number"}
    assert attributes_of(open_source("pins", tmp_path / "p.csv").schema) == {}


LOOKS = [
    ("bool", ["true", "FALSE", "", None]),
    ("bool", ["yes", "no"]),
    ("bool", [" True ", "no"]),
    ("text", ["no", "no"]),  # Norway's
    ("text", ["yes"]),
    ("text", ["t", "f"]),
    ("number", ["1", "0"]),
    ("number", ["1", "-2.5", "3e4", "+.5"][:3]),
    ("number", ["1", "nan", "NULL", "0.5"]),
    ("text", ["1", "07"]),  # a code keeps its zeros
    ("text", ["9007199254740993"]),
    ("text", ["1", "9 €"]),
    ("number", ["1"] * 99 + ["9 €"]),
    ("text", ["1"] * 98 + ["9 €"] * 2),
    ("time", ["2015-03-01", "2015-03-01 12:30", ""]),
    ("text", ["2015-13-01"]),
    ("text", ["2015"] * 98 + ["2015-03-01"] * 2),
    (None, ["", None, "nan", " "]),
    (None, []),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values"), LOOKS)
def test_text_tells_its_type(kind: str | None, values: list[str | None]) -> None:
    assert guess_text(pa.array(values, pa.string())) == kind


JSON_LOOKS = [
    ("bool", [True, None]),
    ("number", [1, 2.5]),
    ("text", [2**53]),
    ("text", ["1", "2"]),  # a string in JSON is meant as one
    ("text", ["true"]),
    ("time", ["2015-03-01", ""]),
    ("text", ["x", 1]),
    ("text", [True, 1]),
    ("text", ["\ud800"]),
    (None, [None]),
    (None, [""]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values"), JSON_LOOKS)
def test_json_tells_its_type(kind: str | None, values: list[Any]) -> None:
    assert guess_json(values) == kind


@given(
    st.lists(
        st.binary(max_size=20) | st.text(max_size=20).map(lambda t: t.encode(errors="replace"))
    )
)
def test_any_bytes_have_some_type(values: list[bytes]) -> None:
    array = pa.array(values, pa.binary())
    text = pa.Array.from_buffers(pa.string(), len(array), array.buffers())
    assert guess_text(text) in {*TYPES, None}


READ = [
    ("x:bool", ["Yes", "n", "T", "0", "1", " false ", "maybe", "", "None"],
     [True, False, True, False, True, False, None, None, None], "x is neither true nor false"),
    ("x:number", ["1", " 2.5 ", "nan", "9 €", "1e999", "9007199254740993", "9007199254740993.0"],
     [1.0, 2.5, None, None, None, None, 9007199254740992.0], "x is no finite number, or too large"),
    ("x:time", ["2015-03-01", "1425168000", "yesterday", "2015-13-01"],
     [datetime(2015, 3, 1, tzinfo=UTC)] * 2 + [None] * 2, "x is not a time"),
    ("x:text", [" a ", "007", "e\u0301", "nan", "NA", "a\tb", ""],
     ["a", "007", "é", None, "NA", "a\tb", None], None),
]  # fmt: skip


@pytest.mark.parametrize(("own", "values", "wanted", "reason"), READ, ids=[r[0] for r in READ])
@pytest.mark.parametrize("name", FORMATS)
def test_a_value_that_is_none_of_its_type_is_dropped_and_counted(
    tmp_path: Path, own: str, values: list[str], wanted: list[Any], reason: str | None, name: str
) -> None:
    found, dropped, lost = read(
        open_source("pins", put(tmp_path, {"x": values}, name), attributes=[own])
    )
    assert found == {"x": wanted}
    assert not lost
    present = [v for v in values if v.strip() not in ("", "nan", "None")]
    bad = len(present) - sum(v is not None for v in wanted)
    assert sum(dropped.values()) == bad
    assert all(reason is not None and reason in one for one in dropped)


DECLARED: list[tuple[str, Any, list[Any]]] = [
    ("bool", pa.array([True, None]), [True, None]),
    ("number", pa.array([1, None], pa.int8()), [1.0, None]),
    ("number", pa.array([2**53 - 1, 2**53]), [float(2**53 - 1), None]),
    ("number", pa.array([1.5, float("nan")]), [1.5, None]),
    ("number", pa.array([None, 2**64 - 1], pa.uint64()), [None, None]),
    ("text", pa.array(["1", "true"]), ["1", "true"]),
    ("text", pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    ("text", pa.nulls(2), [None, None]),
    ("time", pa.array([date(2015, 3, 1), None]), [datetime(2015, 3, 1, tzinfo=UTC), None]),
    ("time", pa.array([1_500, -1], pa.timestamp("ms")),
     [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given_values", "wanted"), DECLARED)
def test_declared_types_are_kept(
    tmp_path: Path, kind: str, given_values: pa.Array, wanted: list[Any]
) -> None:
    source = open_source("pins", put(tmp_path, {"x": given_values}, "p.parquet"), attributes=["x"])
    assert attributes_of(source.schema) == {"x": kind}
    assert read(source)[0] == {"x": wanted}


def test_declared_types_are_read_as_asked(tmp_path: Path) -> None:
    own = {"a": pa.array([0, 1, 2]), "b": pa.array([7, None, 2**60]), "c": pa.array([0, 1, None])}
    path = put(tmp_path, own, "p.parquet")
    found, dropped, _ = read(open_source("pins", path, attributes=["a:bool", "b:text", "c:time"]))
    assert found["a"] == [False, True, None]
    assert found["b"] == ["7", None, str(2**60)]
    assert found["c"] == [datetime(1970, 1, 1, 0, 0, s, tzinfo=UTC) for s in (0, 1)] + [None]
    assert dropped == {"a is neither true nor false; the row is kept without it": 1}


REFUSED = [
    ("tags", pa.array([["a"]]), "column 'tags' has type list<.*attribute must be true or false"),
    ("d:bool", pa.array([date(2015, 3, 1)]), "has type date32.*must be bool as you asked, which is "
     "read from bool, number, text"),
    ("t", pa.array([5], pa.duration("s")), r"has type duration\[s\]"),
]  # fmt: skip


@pytest.mark.parametrize(("own", "values", "message"), REFUSED)
def test_types_that_cannot_be_kept_are_refused_before_any_work(
    tmp_path: Path, own: str, values: pa.Array, message: str
) -> None:
    path = put(tmp_path, {own.partition(":")[0]: values}, "p.parquet")
    with pytest.raises(InputError, match=message):
        open_source("pins", path, attributes=[own])


def test_json_arrays_are_refused_before_any_work(tmp_path: Path) -> None:
    path = put(tmp_path, {"tags": [["a"], None]}, "p.jsonl")
    with pytest.raises(InputError, match="'tags' holds a JSON array in each object"):
        open_source("pins", path, attributes=["tags"])


def test_a_missing_column_is_refused_and_those_there_are_named(tmp_path: Path) -> None:
    path = put(tmp_path, OWN)
    there = "Its columns are pin_id, board_id, image, in_stock, locale, price, updated"
    message = rf"p\.csv has no column 'in_stok'.* Did you mean 'in_stock'\? {there}"
    with pytest.raises(InputError, match=message):
        open_source("pins", path, attributes=["in_stok"])
    with pytest.raises(InputError, match="written NAME:TYPE, of bool, number, text, time"):
        open_source("pins", path, attributes=["price:float"])


def test_a_part_without_the_column_is_refused_but_json_may_say_it_late(tmp_path: Path) -> None:
    put(tmp_path, {"x": [1]}, "a.csv")
    put(tmp_path, {"y": [1]}, "b.jsonl")
    assert read(open_source("pins", tmp_path, attributes=["x"]))[0] == {"x": [1.0, None]}
    put(tmp_path, {"y": [1]}, "c.parquet")
    with pytest.raises(InputError, match=r"c\.parquet has no column 'x'"):
        open_source("pins", tmp_path, attributes=["x"])
    (tmp_path / "c.parquet").unlink()
    late = b'{"pin_id": "late", "board_id": "b", "image": "i"}\n' * 1001
    (tmp_path / "b.jsonl").write_bytes(late + b'{"pin_id": 1, "board_id": 1, "image": 1, "x": 7}\n')
    assert read(open_source("pins", tmp_path, attributes=["x"]))[0]["x"][-1] == 7.0


def test_parts_that_differ_are_text(tmp_path: Path) -> None:
    put(tmp_path, {"x": [1, 2]}, "a.csv")
    put(tmp_path, {"x": [True, None]}, "b.jsonl")
    source = open_source("pins", tmp_path, attributes=["x"])
    assert read(source)[0] == {"x": ["1", "2", "true", None]}


def test_json_values_that_change_type_late_are_read_still(tmp_path: Path) -> None:
    own = {"x": [True] * 1500 + ["false", 1, "odd", None]}
    found, dropped, _ = read(open_source("pins", put(tmp_path, own, "p.jsonl"), attributes=["x"]))
    assert found["x"][-5:] == [True, False, True, None, None]
    assert sum(dropped.values()) == 1


def test_true_and_false_in_json_are_numbers_to_features_and_words_to_ids(tmp_path: Path) -> None:
    rows = [{"pin_id": flag, "board_id": None, "image": "i", "feature_x": flag, "created_at": flag}
            for flag in (True, False)]  # fmt: skip
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Rejects(None) as rejects:
        (batch,) = open_source("pins", tmp_path / "p.jsonl").batches(rejects)
    assert batch.column("pin_id").to_pylist() == ["true", "false"]
    assert batch.column("feature_x").to_pylist() == [1.0, 0.0]
    assert batch.column("created_at").to_pylist() == [None, None]
    assert rejects.dropped_values.total() == 2


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("pin_id,board_id,image,x,x\n1,b,i,2,3\n")
    with pytest.raises(InputError, match="2 columns named 'x'"):
        open_source("pins", tmp_path / "p.csv", attributes=["x"])


def test_a_column_may_be_an_attribute_and_mapped(tmp_path: Path) -> None:
    path = put(tmp_path, {"url": ["a", "b"]})
    source = open_source("pins", path, {"link": "url"}, attributes=["url"])
    assert read(source)[0] == {"url": ["a", "b"]}


NAMES = [
    ("title", "'title' is kept in any case"),
    ("feature_x", "'feature_x' is kept in any case"),
    ("image", "'image' is what joins pins"),
    ("boards", "what filters call the number of an image's boards: rename"),
    ("", "'' is no name"),
]


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_names_that_mean_something_else_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_attributes([name])


def test_an_attribute_is_given_once_or_alike() -> None:
    given_names = ["a:b", "a:b", "c:time", ":text"]
    assert parse_attributes(given_names) == {"a:b": None, "c": "time", ":text": None}
    with pytest.raises(ConfigError, match="'a' is given twice, with different types"):
        parse_attributes(["a", "a:text"])
    with pytest.raises(ConfigError, match="must be a list of names. Got 'in_stock'"):
        parse_attributes("in_stock")


def test_boards_have_no_attributes(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("board_id,title,x\nb,T,1\n")
    with pytest.raises(ConfigError, match="must be empty for boards"):
        open_source("boards", tmp_path / "b.csv", attributes=["x"])


def test_a_build_keeps_them_and_says_which(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("board_id,title\nb,T\n")
    summary = pinjoin.build(
        tmp_path / "ws",
        open_source("pins", put(tmp_path, OWN | {"locale": ["de", "", "x\x07"]}), attributes=OWN),
        open_source("boards", tmp_path / "b.csv"),
        encoder=None,
    )
    assert not summary.rejects
    lookup = Lookup(tmp_path / "ws", open_snapshot(tmp_path / "ws"))
    assert lookup.snapshot.manifest.config["attributes"] == KINDS
    assert lookup.pinjoin(0).pins[0]["in_stock"] is True
    stored = lookup.snapshot.table("pins")
    assert stored.column("price").to_pylist() == OWN["price"]
    assert stored.column("locale").to_pylist() == ["de", None, "x\x07"]
