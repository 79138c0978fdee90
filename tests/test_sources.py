"""Sources: the same table whatever its format, place and parts; values in their canonical form."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import fs

from pinjoin.core.errors import InputError
from pinjoin.data import delimited, records
from pinjoin.data.locations import find_parts, fingerprint
from pinjoin.data.mapping import parse_map
from pinjoin.data.schema import BOARDS, PINS, canonical_schema
from pinjoin.data.sources import Rejects, TableSource, open_source

DATA = Path(os.environ.get("PINJOIN_DATA", Path(__file__).parents[2] / "shared" / "data"))

TABLE = pa.table(
    {
        "pin_id": ["1", "2", "é", "4"],
        "board_id": ["b", "b", None, "c"],
        "image": ["1.jpg", "ü 2.jpg", "https://x/3.jpg", "1.jpg"],
        "title": ["One", None, 'a "quoted", title\nof two lines', "Vier"],
        "created_at": pa.array([964982703, None, 0, -1]),
        "feature_price": [1.5, None, 2.0, -3.25],
        "colour": ["red", "blue", "grey", "green"],
    }
)
WANTED = [
    ("1", "b", "1.jpg", "One", 964982703, 1.5),
    ("2", "b", "ü 2.jpg", None, None, None),
    ("é", None, "https://x/3.jpg", 'a "quoted", title\nof two lines', 0, 2.0),
    ("4", "c", "1.jpg", "Vier", -1, -3.25),
]
COLUMNS = ["pin_id", "board_id", "image", "title", "created_at", "feature_price"]


def read(source: TableSource) -> pa.Table:
    """All rows; no rejects, every batch in the source's schema and valid."""
    with Rejects(None) as rejects:
        batches = list(source.batches(rejects))
    assert not rejects.count
    assert not rejects.dropped_values
    for batch in batches:
        assert batch.num_rows
        assert batch.schema == source.schema
        batch.validate(full=True)
    return pa.Table.from_batches(batches, source.schema)


def tuples(table: pa.Table) -> list[tuple[Any, ...]]:
    seconds = table.column("created_at").cast(pa.int64())
    table = table.set_column(table.column_names.index("created_at"), "created_at", seconds)
    return list(zip(*(table.column(name).to_pylist() for name in COLUMNS), strict=True))


def delimited_text(table: pa.Table, delimiter: str = ",") -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows([["" if v is None else v for v in row.values()] for row in table.to_pylist()])
    return out.getvalue().encode()


def json_lines(table: pa.Table) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()


def parquet(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def arrow(table: pa.Table, opener: Callable[..., Any] = pa.ipc.new_file) -> bytes:
    out = io.BytesIO()
    with opener(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


FORMATS: dict[str, bytes] = {
    "p.csv": delimited_text(TABLE),
    "p.tsv": delimited_text(TABLE, "\t"),
    "p.tsv000": delimited_text(TABLE, "\t"),
    "p.txt": delimited_text(TABLE, ";"),
    "no-extension": delimited_text(TABLE),
    "p.CSV.GZ": gzip.compress(delimited_text(TABLE)),
    "two-members.csv.gz": gzip.compress(delimited_text(TABLE)[:40])
    + gzip.compress(delimited_text(TABLE)[40:]),
    "unnamed-gzip.csv": gzip.compress(delimited_text(TABLE)),
    "p.csv.zst": zstd(delimited_text(TABLE)),
    "p.csv.bz2": bz2.compress(delimited_text(TABLE)),
    "p.jsonl": json_lines(TABLE),
    "p.ndjson.gz": gzip.compress(json_lines(TABLE)),
    "p.json.zst": zstd(json_lines(TABLE)),
    "unnamed-json": json_lines(TABLE),
    "p.parquet": parquet(TABLE, row_group_size=3),
    "dictionary.parquet": parquet(TABLE, use_dictionary=True),
    "unnamed-parquet": parquet(TABLE),
    "p.arrow": arrow(TABLE),
    "p.feather": arrow(TABLE),
    "p.arrows": arrow(TABLE, pa.ipc.new_stream),
    "stream.arrow": arrow(TABLE, pa.ipc.new_stream),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_table(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FORMATS[name])
    source = open_source("pins", tmp_path / name)
    assert source.schema == canonical_schema("pins", ["feature_price"])
    assert tuples(read(source)) == WANTED
    assert tuples(read(source)) == WANTED  # a second pass


@pytest.mark.parametrize(
    "kind",
    ["large_string", "string_view", "binary", "large_binary", "binary_view", "dictionary"],
)
def test_every_kind_of_text_column_is_text(tmp_path: Path, kind: str) -> None:
    made = pa.dictionary(pa.int32(), pa.string()) if kind == "dictionary" else getattr(pa, kind)()
    texts = pa.schema([(n, made) for n in ("pin_id", "board_id", "image", "title")])
    table = pa.table(
        {name: TABLE.column(name).cast(made) for name in texts.names}
        | {name: TABLE.column(name) for name in ("created_at", "feature_price")}
    )
    (tmp_path / "p.arrow").write_bytes(arrow(table))
    assert tuples(read(open_source("pins", tmp_path / "p.arrow"))) == WANTED


def one_column(tmp_path: Path, column: str, values: Any) -> list[Any]:
    """What becomes of a Parquet column's values."""
    n = len(values)
    whole = {"pin_id": [str(i) for i in range(n)], "board_id": ["b"] * n, "image": ["i"] * n}
    pq.write_table(pa.table(whole | {column: values}), tmp_path / "p.parquet")
    return list(read(open_source("pins", tmp_path / "p.parquet")).column(column).to_pylist())


IDS = [
    (pa.array([1, -2, 2**62]), ["1", "-2", str(2**62)]),
    (pa.array([1, 2**64 - 1], pa.uint64()), ["1", str(2**64 - 1)]),
    (pa.array([12.0, -3.0, 2.0**53 - 1]), ["12", "-3", str(2**53 - 1)]),
    (pa.array(["12.0", "-3.0", "1.2.0", "v1.0", "500.0@0", "x.0", ".0"]),
     ["12", "-3", "1.2.0", "v1.0", "500.0@0", "x.0", ".0"]),
    (pa.array([" a", "b\t", "\u00a0c\u2003", "d e"]), ["a", "b", "c", "d e"]),
    (pa.array(["e\u0301", "\u212b", "한"]), ["\u00e9", "\u00c5", "한"]),
    (pa.array(["NA", "none", "nano", "nan1", "Null"]), ["NA", "none", "nano", "nan1", "Null"]),
]  # fmt: skip


@pytest.mark.parametrize(("given_ids", "wanted"), IDS)
@pytest.mark.parametrize("column", ["pin_id", "board_id", "user_id"])
def test_ids_have_one_canonical_form(
    tmp_path: Path, column: str, given_ids: pa.Array, wanted: list[str]
) -> None:
    assert one_column(tmp_path, column, given_ids) == wanted


@pytest.mark.parametrize("missing", ["", "  ", "nan", "NaN", "null", "None", "<NA>", "NaT", None])
def test_a_missing_board_id_is_no_board(tmp_path: Path, missing: str | None) -> None:
    assert one_column(tmp_path, "board_id", pa.array(["b", missing, " nan "])) == ["b", None, None]
    assert one_column(tmp_path, "board_id", pa.array([1.0, None, float("nan")])) == [
        "1",
        None,
        None,
    ]


def test_image_references_are_stripped_and_left_as_the_file_system_knows_them(
    tmp_path: Path,
) -> None:
    given_images = pa.array([" a b.jpg ", "e\u0301.jpg", "12.0"])
    assert one_column(tmp_path, "image", given_images) == ["a b.jpg", "e\u0301.jpg", "12.0"]


def test_titles_are_left_as_they_are_and_null_where_empty(tmp_path: Path) -> None:
    assert one_column(tmp_path, "title", pa.array([" a ", "", None, "nan"])) == [
        " a ",
        None,
        None,
        "nan",
    ]
    assert one_column(tmp_path, "title", pa.array([300, None, 7])) == ["300", None, "7"]


def at(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=UTC)  # type: ignore[misc]


ZONED = pa.array([at(2000, 7, 30, 18, 45, 3)], pa.timestamp("us", tz="America/New_York"))
TIMES = [
    (pa.array([964982703, 0, -1]),
     [at(2000, 7, 30, 18, 45, 3), at(1970, 1, 1), at(1969, 12, 31, 23, 59, 59)]),
    (pa.array([0.9, -0.5, float("nan")]),
     [at(1970, 1, 1), at(1969, 12, 31, 23, 59, 59), None]),
    (pa.array(["964982703", "964982703.7", " 9.64982703e8 ", "", "NaN"]),
     [at(2000, 7, 30, 18, 45, 3)] * 3 + [None] * 2),
    (pa.array(["2015-03-01", "2015-03-01T12:30", "2015-03-01 12:30:15", "2015-03-01T12:30:15.987"]),
     [at(2015, 3, 1), at(2015, 3, 1, 12, 30)] + [at(2015, 3, 1, 12, 30, 15)] * 2),
    (pa.array(["2015-03-01T12:30:15Z", "2015-03-01 12:30:15 UTC", "2015-03-01T12:30:15.9+00:00",
               "2015-03-01T14:30:15+0200", "2015-03-01 07:00:15 -05:30"]),
     [at(2015, 3, 1, 12, 30, 15)] * 5),
    (pa.array(["2015-03-01", "1425168000", "0001-01-01", "9999-12-31T23:59:59Z"]),
     [at(2015, 3, 1)] * 2 + [at(1, 1, 1), at(9999, 12, 31, 23, 59, 59)]),
    (ZONED, [at(2000, 7, 30, 18, 45, 3)]),
    (pa.array([-1, 1_500], pa.timestamp("ms")),
     [at(1969, 12, 31, 23, 59, 59), at(1970, 1, 1, 0, 0, 1)]),
    (pa.array([1_999_999_999], pa.timestamp("ns")), [at(1970, 1, 1, 0, 0, 1)]),
    (pa.array([date(2015, 3, 1)]), [at(2015, 3, 1)]),
    (pa.array([date(2015, 3, 1)], pa.date64()), [at(2015, 3, 1)]),
    (pa.array([5], pa.uint64()), [at(1970, 1, 1, 0, 0, 5)]),
    (pa.nulls(2), [None, None]),
]  # fmt: skip


@pytest.mark.parametrize(("given_times", "wanted"), TIMES)
def test_times_are_utc_seconds(
    tmp_path: Path, given_times: pa.Array, wanted: list[datetime | None]
) -> None:
    assert one_column(tmp_path, "created_at", given_times) == wanted


NUMBERS = [
    (pa.array([1, None]), [1.0, None]),
    (pa.array([1.5, float("nan")]), [1.5, None]),
    (pa.array([True, False]), [1.0, 0.0]),
    (pa.array(["1.5", " -2e3 ", "", "NaN", None]), [1.5, -2000.0, None, None, None]),
]


@pytest.mark.parametrize(("given_numbers", "wanted"), NUMBERS)
def test_features_are_float64(tmp_path: Path, given_numbers: pa.Array, wanted: list[Any]) -> None:
    assert one_column(tmp_path, "feature_x", given_numbers) == wanted


def test_json_ids_may_be_numbers_and_text_by_turns(tmp_path: Path) -> None:
    ids = [1, "2", 3.0, "4.0", 2**70, "2020-01-01"]
    rows = [{"pin_id": one, "board_id": None, "image": "i"} for one in ids]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = read(open_source("pins", tmp_path / "p.jsonl"))
    assert table.column("pin_id").to_pylist() == ["1", "2", "3", "4", str(2**70), "2020-01-01"]


def test_boards_have_their_schema(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("title,board_id,feature_x,category\nT,b,1,C\n,c,2,\n")
    source = open_source("boards", tmp_path / "b.csv")
    assert source.schema == BOARDS
    assert read(source).select(["board_id", "title", "category", "user_id"]).to_pylist() == [
        {"board_id": "b", "title": "T", "category": "C", "user_id": None},
        {"board_id": "c", "title": None, "category": None, "user_id": None},
    ]


def test_mapping_names_their_columns(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,list,url,title,price\n1,b,1.jpg,T,9.5\n")
    mapping = {
        "pin_id": "id",
        "board_id": "list",
        "image": "url",
        "link": "url",  # one column may serve twice
        "title": "",  # left out
        "feature_price": "price",
    }
    (row,) = read(open_source("pins", tmp_path / "p.csv", mapping)).to_pylist()
    assert row == dict.fromkeys(PINS.names) | {
        "pin_id": "1",
        "board_id": "b",
        "image": "1.jpg",
        "link": "1.jpg",
        "feature_price": 9.5,
    }


def test_map_options_reach_the_tables_that_have_the_column() -> None:
    options = ["board_id=list", "image=url", "pins.title=name", "boards.title=", "feature_x=x"]
    assert parse_map(options) == {
        "pins": {"board_id": "list", "image": "url", "title": "name", "feature_x": "x"},
        "boards": {"board_id": "list", "title": ""},
    }


def test_parts_may_differ_in_format_order_and_optional_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("pin_id,board_id,image,feature_b\n1,b,1.jpg,5\n")
    (tmp_path / "b.jsonl").write_text('{"image": "2.jpg", "pin_id": 2, "board_id": "b"}\n')
    columns = {"feature_a": [7], "image": ["3.jpg"], "board_id": ["b"], "pin_id": [3.0]}
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".a.csv.crc").touch()
    (tmp_path / "notes.md").touch()
    source = open_source("pins", tmp_path)
    assert source.schema.names == [*PINS.names, "feature_a", "feature_b"]
    table = read(source)
    assert table.column("pin_id").to_pylist() == ["1", "2", "3"]
    assert table.column("feature_a").to_pylist() == [None, None, 7]
    assert table.column("feature_b").to_pylist() == [5, None, None]


# Places

PLACES = ["pins-1.csv", "pins-2.csv", "pins-10.csv", "boards.csv", "deep/er/pins-3.csv"]


def put_parts(folder: Path) -> None:
    for i, name in enumerate(PLACES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"pin_id,board_id,image\n{i},b,{i}.jpg\n")


GLOBS = [
    ("pins-*.csv", ["pins-1.csv", "pins-10.csv", "pins-2.csv"]),
    ("pins-?.csv", ["pins-1.csv", "pins-2.csv"]),
    ("pins-[!1].csv", ["pins-2.csv"]),
    ("pins-[12].csv", ["pins-1.csv", "pins-2.csv"]),
    ("deep/*/pins-*.csv", ["deep/er/pins-3.csv"]),
    ("*/pins-3.csv", None),
    ("**/pins-*.csv", ["deep/er/pins-3.csv", "pins-1.csv", "pins-10.csv", "pins-2.csv"]),
]


@pytest.mark.parametrize(("pattern", "wanted"), GLOBS)
@pytest.mark.parametrize("place", ["path", "address", "filesystem", "relative"])
def test_globs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pattern: str,
    wanted: list[str] | None,
    place: str,
) -> None:
    put_parts(tmp_path)
    filesystem = None
    if place == "address":
        if "?" in pattern:
            pytest.skip("in an address, ? begins the options")
        prefix = tmp_path.as_uri() + "/"
    elif place == "filesystem":
        prefix, filesystem = "", fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    elif place == "relative":
        monkeypatch.chdir(tmp_path)
        prefix = ""
    else:
        prefix = f"{tmp_path}/"
    if wanted is None:
        with pytest.raises(InputError, match="matches no file"):
            find_parts(prefix + pattern, filesystem)
    else:
        found = find_parts(prefix + pattern, filesystem)
        assert [part.name for part in found] == [prefix + name for name in wanted]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "pins[1].csv").write_text("pin_id,board_id,image\n1,b,1.jpg\n")
    assert read(open_source("pins", str(tmp_path / "pins[1].csv"))).num_rows == 1


def test_a_list_of_places_keeps_its_order_and_each_part_once(tmp_path: Path) -> None:
    put_parts(tmp_path)
    where = [f"{tmp_path}/pins-2.csv", tmp_path / "boards.csv", f"{tmp_path}/pins-?.csv"]
    source = open_source("pins", where)
    assert read(source).column("pin_id").to_pylist() == ["1", "3", "0"]
    assert source.name == f"{tmp_path}/pins-2.csv and 2 more"


def test_a_local_address_is_read(tmp_path: Path) -> None:
    put_parts(tmp_path)
    assert read(open_source("pins", (tmp_path / "pins-1.csv").as_uri())).num_rows == 1
    assert read(open_source("pins", tmp_path.as_uri())).num_rows == 4


class Bucket(fs.FileSystemHandler):  # type: ignore[misc]
    """An object store of a few files in memory: no folders but those that names make."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.bytes_read = 0

    def __eq__(self, other: object) -> bool:
        return self is other

    def get_type_name(self) -> str:
        return "bucket"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[fs.FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> fs.FileInfo:
        if path in self.files:
            return fs.FileInfo(path, fs.FileType.File, size=len(self.files[path]))
        folder = any(name.startswith(path.rstrip("/") + "/") for name in self.files)
        return fs.FileInfo(path, fs.FileType.Directory if folder else fs.FileType.NotFound)

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        base = selector.base_dir.rstrip("/") + "/"
        names = [name for name in self.files if name.startswith(base)]
        return [self._info(n) for n in names if selector.recursive or "/" not in n[len(base) :]]

    def open_input_file(self, path: str) -> Any:
        if path == "b/forbidden.csv":
            raise PermissionError(13, "Access denied")
        return pa.PythonFile(io.BytesIO(self.files[path]), mode="r")

    open_input_stream = open_input_file

    def _refuse(self, *args: Any) -> Any:
        raise AssertionError("a source must not write")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse


def test_an_object_store_is_read(tmp_path: Path) -> None:
    files = {f"b/{name}": data for name, data in FORMATS.items()} | {"b/forbidden.csv": b"x"}
    store = fs.PyFileSystem(Bucket(files))
    for name in FORMATS:
        source = open_source("pins", f"b/{name}", filesystem=store)
        assert tuples(read(source)) == WANTED
    assert read(open_source("pins", "b/*.parquet", filesystem=store)).num_rows == 8
    with pytest.raises(InputError, match=r"b/p\.cvs does not exist. Did you mean p\.csv"):
        open_source("pins", "b/p.cvs", filesystem=store)
    with pytest.raises(InputError, match=r"forbidden\.csv cannot be read: .*[Dd]enied.*permission"):
        open_source("pins", "b/forbidden.csv", filesystem=store)


def test_an_fsspec_address_is_read() -> None:
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/bucket/p.csv", FORMATS["p.csv"])
    assert tuples(read(open_source("pins", "memory://bucket/p.csv"))) == WANTED


# Fingerprints


def test_fingerprints_tell_contents_names_and_order_apart(tmp_path: Path) -> None:
    put_parts(tmp_path)
    (tmp_path / "copy").mkdir()
    for name in ("pins-1.csv", "pins-2.csv"):
        (tmp_path / "copy" / name).write_bytes((tmp_path / name).read_bytes())

    def of(*names: str) -> str:
        return fingerprint(find_parts([tmp_path / name for name in names]))

    one = of("pins-1.csv", "pins-2.csv")
    assert one == of("copy/pins-1.csv", "copy/pins-2.csv")
    assert len({one, of("pins-2.csv", "pins-1.csv"), of("pins-1.csv"), of("pins-2.csv")}) == 4
    renamed = (tmp_path / "pins-1.csv").rename(tmp_path / "other.csv")
    assert of(renamed.name, "pins-2.csv") != one
    renamed.rename(tmp_path / "pins-1.csv")
    (tmp_path / "pins-2.csv").write_text("pin_id,board_id,image\n1,b,9.jpg\n")
    assert of("pins-1.csv", "pins-2.csv") != one


def test_a_large_table_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinjoin.data.locations.FULL_HASH_BYTES", 1 << 20)
    path = tmp_path / "p.csv"
    data = bytearray(4 << 20)
    prints = []
    for place in (None, 0, 2 << 20, (4 << 20) - 1, 1 << 20):
        changed = bytearray(data)
        if place is not None:
            changed[place] = 1
        path.write_bytes(changed)
        prints.append(fingerprint(find_parts(path)))
    assert len(set(prints[:4])) == 4
    assert prints[4] == prints[0]  # between the samples: documented


# Reading in blocks

FIELD = st.text(st.sampled_from('ab,"\n\r; é'), max_size=6)


@settings(deadline=None)  # the first call compiles the record scanner
@given(st.lists(st.tuples(FIELD, FIELD), max_size=12), st.integers(1, 40), st.booleans())
@example([('"', "\r"), ("\n", '""')], 1, False)
def test_text_is_read_alike_whatever_the_size_of_blocks(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    size: int,
    every_field_quoted: bool,
) -> None:
    """Written by Python's csv, read in blocks of a few bytes, equal to what was written."""
    path = tmp_path_factory.mktemp("blocks") / "p.csv"
    quoting = csv.QUOTE_ALL if every_field_quoted else csv.QUOTE_MINIMAL
    whole = [("0", "", "", ""), *((str(i), "i", a, b) for i, (a, b) in enumerate(rows, 1))]
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, quoting=quoting)
        writer.writerow(["pin_id", "image", "title", "description"])
        writer.writerows(whole)
    table = delimited_table(path, size)
    assert table == [list(row) for row in whole]


def delimited_table(path: Path, size: int) -> list[list[str]]:
    from pinjoin.data.tables import open_table

    (part,) = open_table(path).parts
    found: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK_BYTES", size)
        for block in part.blocks(part.columns):
            assert not block.faults
            columns = [block.columns[name].to_pylist() for name in part.columns]
            found += map(list, zip(*columns, strict=True))
    return found


@settings(deadline=None)  # the first call compiles the record scanner
@given(st.text(st.sampled_from('a,"\n\r'), max_size=40).map(str.encode))
def test_cutting_at_balanced_quotes_agrees_with_the_walk_over_every_byte(text: bytes) -> None:
    from pinjoin.data._delimited_kernel import scan_records

    view = np.frombuffer(text, np.uint8)
    for final in (False, True):
        end, is_open = records._whole_records(text, ",", final)
        walked, _, walked_open = scan_records(view, ord(","), True, final, np.empty(0, np.int64))
        assert is_open == walked_open
        assert text[:end].strip(b"\r\n") == text[: int(walked)].strip(b"\r\n")


@settings(deadline=None)  # the first call compiles the record scanner
@given(st.text(st.sampled_from('a,"\n\r'), min_size=1, max_size=40).map(str.encode))
def test_records_are_counted_as_arrow_counts_them(text: bytes) -> None:
    end, _ = records._whole_records(text, ",", True)
    whole = text[:end]
    if not whole.strip(b"\r\n"):
        return
    rows: list[Any] = []
    table = pa.csv.read_csv(
        pa.BufferReader(whole),
        pa.csv.ReadOptions(column_names=["a", "b"], use_threads=False),
        pa.csv.ParseOptions(
            newlines_in_values=True, invalid_row_handler=lambda row: rows.append(row) or "skip"
        ),
    )
    assert len(records.record_starts(whole, ",")) == table.num_rows + len(rows)


def test_no_row_is_lost_between_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", 1000)
    lines = [f'p{i},b,{i}.jpg,"title, {i}\nof two lines"' for i in range(2000)]
    lines[777] = "short"
    (tmp_path / "p.csv").write_text("pin_id,board_id,image,title\n" + "\n".join(lines))
    with Rejects(tmp_path / "r.jsonl") as rejects:
        batches = list(open_source("pins", tmp_path / "p.csv").batches(rejects))
    ids = [one for batch in batches for one in batch.column("pin_id").to_pylist()]
    assert ids == [f"p{i}" for i in range(2000) if i != 777]
    (only,) = (tmp_path / "r.jsonl").read_text().splitlines()
    assert json.loads(only)["row"] == 2 + 2 * 777


@pytest.mark.parametrize("size", range(1, 30))
def test_lines_are_counted_alike_wherever_a_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", size)
    text = 'pin_id,board_id,image\n1,b,5" disk\n"2",b,"x,y"\n3,b,z\n'.replace("\n", "\r\n")
    (tmp_path / "p.csv").write_bytes((text + "short\r\n").encode())
    with Rejects(tmp_path / "r.jsonl") as rejects:
        batches = list(open_source("pins", tmp_path / "p.csv").batches(rejects))
    images = [one for batch in batches for one in batch.column("image").to_pylist()]
    assert images == ['5" disk', "x,y", "z"]
    (only,) = (tmp_path / "r.jsonl").read_text().splitlines()
    assert json.loads(only)["row"] == 5


@pytest.mark.parametrize("name", ["p.parquet", "p.arrow", "p.arrows"])
def test_slices_of_large_batches_are_read_like_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("pinjoin.data.columnar.BATCH_ROWS", 3)
    ids = [" a ", "b", "c", "é", "e.0", "", "7.0", "nan", None, "j"]  # 3 of 10 are missing
    boards = ["", "x", None, "nan", "5.0", "x", "", "x", "x", "é"]
    bad = pa.array([b"1.jpg"] * 9 + [b"\xff"])
    images = pa.Array.from_buffers(pa.string(), 10, bad.buffers())
    table = pa.table({"pin_id": ids, "board_id": boards, "image": images})
    opener = pa.ipc.new_stream if name.endswith("s") else pa.ipc.new_file
    out = io.BytesIO()
    with opener(out, table.schema) as writer:
        writer.write_table(table)
    data = parquet(table) if name.endswith("parquet") else out.getvalue()
    (tmp_path / name).write_bytes(data)
    with Rejects(tmp_path / "r.jsonl") as rejects:
        batches = list(open_source("pins", tmp_path / name).batches(rejects))
    read_ids = [one for batch in batches for one in batch.column("pin_id").to_pylist()]
    read_boards = [one for batch in batches for one in batch.column("board_id").to_pylist()]
    assert read_ids == ["a", "b", "c", "é", "e.0", "7"]
    assert read_boards == [None, "x", None, None, "5", None]
    listed = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [one["row"] for one in listed] == [6, 8, 9, 10]
    assert listed[-1]["value"] == "\\xff"


def test_progress_counts_every_row(tmp_path: Path) -> None:
    from collections.abc import Iterator
    from contextlib import contextmanager

    told: list[Any] = []

    @contextmanager
    def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        told.append((what, total))
        yield told.append

    (tmp_path / "p.parquet").write_bytes(parquet(TABLE, row_group_size=2))
    list(open_source("pins", tmp_path / "p.parquet").batches(Rejects(None), progress))
    assert told[0] == ("reading pins", 4)
    assert sum(told[1:]) == 4


def test_stopping_early_leaves_no_thread_behind(tmp_path: Path) -> None:
    import threading

    (tmp_path / "p.csv").write_bytes(FORMATS["p.csv"])
    before = threading.active_count()
    batches = open_source("pins", tmp_path / "p.csv").batches(Rejects(None))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("catalogue", "pins", "boards"), [("ikea", 3728, 306), ("movies", 31_016, 5_128)]
)
def test_real_catalogues_have_no_rejects(catalogue: str, pins: int, boards: int) -> None:
    folder = DATA / catalogue
    if not folder.exists():
        pytest.skip(f"{folder} is not there: set PINJOIN_DATA to the folder that holds {catalogue}")
    assert read(open_source("pins", folder / "pins.csv")).num_rows == pins
    assert read(open_source("boards", folder / "boards.csv")).num_rows == boards


def test_the_delimiter_is_the_one_that_finds_the_columns() -> None:
    header = delimited._parse_header('pin_id;"board_id";image,path\n1;b;x\n', ";")
    assert header is not None
    assert header.columns == ("pin_id", "board_id", "image,path")
    assert (header.size, header.lines) == (
        6 + 1 + 10 + 1 + 10 + 1,
        1,
    )  # 'pin_id;"board_id";image,path' + LF
