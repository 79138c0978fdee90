"""Bad tables: every message tells what is wrong, where, what was given and the remedy."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data.mapping import parse_map
from pinjoin.data.sources import Rejects, open_source

HEADER = "pin_id,board_id,image,title,created_at,feature_price\n"
GOOD = "g1,b,1.jpg,One,964982703,1.5\n"
GOOD_TOO = "g2,b,2.jpg,Two,2000-07-30T18:45:03Z,2\n"


class Outcome:
    """The rows that were read and the rejects that were listed."""

    def __init__(self, rows: list[dict[str, Any]], listed: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.listed = listed
        self.ids = [row.get("pin_id") for row in rows]


Read = Callable[..., Outcome]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read pins from bytes put in a file of the given name (or from `where`)."""

    def run(data: bytes | str = b"", name: str = "pins.csv", **options: Any) -> Outcome:
        where = options.pop("where", tmp_path / name)
        if where == tmp_path / name:
            where.write_bytes(data.encode() if isinstance(data, str) else data)
        strict = options.pop("strict", False)
        kind = options.pop("kind", "pins")
        mapping = options.pop("mapping", None)
        listing = tmp_path / "rejects.jsonl"
        source = open_source(kind, where, mapping, **options)
        with Rejects(listing, strict) as rejects:
            rows = [row for batch in source.batches(rejects) for row in batch.to_pylist()]
        lines = listing.read_text().splitlines() if listing.exists() else []
        listed = [json.loads(line) for line in lines]
        assert rejects.count == sum(one["dropped"] == "row" for one in listed if one["row"])
        return Outcome(rows, listed)

    return run


def table(text: str) -> str:
    """One good row, the bad text, another good row."""
    return HEADER + GOOD + text + GOOD_TOO


# Rows: (what, the bad lines, column, reason, value, remedy, file line of the reject)
BAD_ROWS = [
    ("too few fields", "x,b,3.jpg\n", None, "the row has 3 fields; the header has 6", "x,b,3.jpg",
     "double quotes"),
    ("too many fields", "x,b,3.jpg,T,,,more\n", None, "has 7 fields; the header has 6",
     "x,b,3.jpg,T,,,more", "double quotes"),
    ("a comma that is not quoted", "x,b,3.jpg,One, two,,\n", None, "the row has 7 fields",
     "x,b,3.jpg,One, two,,", "double quotes"),
    ("an unclosed quote", 'x,b,"3.jpg,T,,\n', None, "a quote is opened here and not closed",
     'x,b,"3.jpg,T,,', "Close the quote"),
    ("no pin_id", ",b,3.jpg,T,,\n", "pin_id", "pin_id is missing", "", "--map pin_id=COLUMN"),
    ("a blank pin_id", "  \t,b,3.jpg,T,,\n", "pin_id", "pin_id is missing", "  \t", "Fill it in"),
    ("a NaN pin_id", "nan,b,3.jpg,T,,\n", "pin_id", "pin_id is missing", "nan", "Fill it in"),
    ("a NaN image", "x,b,NaN,T,,\n", "image", "image is missing", "NaN", "--map image=COLUMN"),
    ("no image", "x,b,,T,,\n", "image", "image is missing", "", "--map image=COLUMN"),
    ("a NUL in an id", "x\0y,b,3.jpg,T,,\n", "pin_id", "a control character in pin_id", "x\0y",
     "Remove line breaks, tabs and NUL"),
    ("a line break in an id", '"x\ny",b,3.jpg,T,,\n', "pin_id", "a control character in pin_id",
     "x\ny", "Remove line breaks"),
    ("a tab in an image", '"x",b,3\t.jpg,T,,\n', "image", "a control character in image",
     "3\t.jpg", "Remove line breaks"),
    ("a control character in a board's id", "x,b\x7f,3.jpg,T,,\n", "board_id",
     "a control character in board_id", "b\x7f", "Remove line breaks"),
    ("a C1 control character", "é\x85x,b,3.jpg,T,,\n", "pin_id", "a control character in pin_id",
     "é\x85x", "Remove line breaks"),
    ("a huge field", "x,b,3.jpg," + "T" * (1 << 20) + "T,,\n", "title", "longer than 1 MiB",
     "T" * 199 + "…", "quote that is not closed"),
    ("a huge image", "x,b," + "i" * (1 << 20) + ".jpg,T,,\n", "image", "longer than 1 MiB",
     "i" * 199 + "…", "quote that is not closed"),
    ("a line without end", "x,b,3.jpg," + "T" * (9 << 20) + ",,\n", None, "longer than 4 MiB",
     "x,b,3.jpg," + "T" * 189 + "…", "Shorten it"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "column", "reason", "value", "remedy"),
    [row[1:] for row in BAD_ROWS],
    ids=[row[0] for row in BAD_ROWS],
)
def test_a_bad_row_is_rejected_and_the_others_survive(
    read: Read, bad: str, column: str | None, reason: str, value: str, remedy: str
) -> None:
    outcome = read(table(bad))
    assert sorted(outcome.ids) == ["g1", "g2"]
    (only,) = outcome.listed
    assert only["file"].endswith("pins.csv")
    assert only["row"] == 3  # the header is line 1, a good row line 2
    assert (only["column"], only["value"], only["dropped"]) == (column, value, "row")
    assert reason in only["reason"]
    assert remedy in only["remedy"]


@pytest.mark.parametrize("bad", [row[1] for row in BAD_ROWS], ids=[row[0] for row in BAD_ROWS])
def test_strict_fails_on_the_first_bad_row(read: Read, bad: str) -> None:
    with pytest.raises(InputError, match=r"(?s)pins\.csv, row 3.*Got "):
        read(table(bad), strict=True)


BAD_VALUES = [
    ("a word for a time", "x,b,3.jpg,T,yesterday,\n", "created_at", "yesterday", "ISO 8601"),
    ("milliseconds", "x,b,3.jpg,T,964982703000,\n", "created_at", "964982703000", "by 1000"),
    ("a 13th month", "x,b,3.jpg,T,2015-13-01,\n", "created_at", "2015-13-01", "ISO 8601"),
    ("a price with a currency", "x,b,3.jpg,T,,9 €\n", "feature_price", "9 €", "plain number"),
    ("an infinite number", "x,b,3.jpg,T,,1e999\n", "feature_price", "1e999", "plain number"),
]


@pytest.mark.parametrize(
    ("bad", "column", "value", "remedy"),
    [v[1:] for v in BAD_VALUES],
    ids=[v[0] for v in BAD_VALUES],
)
def test_a_bad_time_or_number_is_dropped_and_its_row_kept(
    read: Read, bad: str, column: str, value: str, remedy: str
) -> None:
    outcome = read(table(bad))
    assert outcome.ids == ["g1", "x", "g2"]
    assert outcome.rows[1][column] is None
    (only,) = outcome.listed
    assert (only["row"], only["column"], only["value"]) == (3, column, value)
    assert only["dropped"] == "value"
    assert "the row is kept without it" in only["reason"]
    assert remedy in only["remedy"]
    with pytest.raises(InputError, match=f"row 3, column {column}"):
        read(table(bad), strict=True)


def test_invalid_utf8_costs_its_row_only(read: Read) -> None:
    data = table("x,b,3.jpg,caf@,,\n").encode().replace(b"@", b"\xe9")
    outcome = read(data)
    assert outcome.ids == ["g1", "g2"]
    (only,) = outcome.listed
    assert (only["row"], only["column"], only["reason"]) == (3, "title", "not UTF-8 text")
    assert only["value"] == "caf\\xe9"
    assert "--encoding latin-1" in only["remedy"]


def test_a_quote_left_open_to_the_end_costs_its_line_only(read: Read) -> None:
    later = "".join(f"n{i},b,{i}.jpg,T,,\n" for i in range(1000))
    outcome = read(HEADER + GOOD + 'x,b,3.jpg,"open,,\n' + later)
    assert outcome.ids == ["g1"] + [f"n{i}" for i in range(1000)]
    (only,) = outcome.listed
    assert (only["row"], only["reason"]) == (3, "a quote is opened here and not closed")


def test_a_quote_left_open_far_from_the_end_costs_its_line_only(read: Read) -> None:
    rows = [f"n{i},b,{i}.jpg,{'T' * 90},,\n" for i in range(100_000)]  # above 10 MB
    rows[40_000] = 'x,b,3.jpg,"open,,\n'
    outcome = read(HEADER + "".join(rows))
    assert outcome.ids == [f"n{i}" for i in range(100_000) if i != 40_000]
    (only,) = outcome.listed
    assert only["row"] == 40_002


def test_a_quote_closed_by_a_later_one_gives_back_the_lines_between(read: Read) -> None:
    outcome = read(table('x,b,"3.jpg,T,,\ny,b,4.jpg,T,,\nz,b,5.jpg,"a, b",,\n'))
    assert sorted(outcome.ids) == ["g1", "g2", "y", "z"]
    (only,) = outcome.listed
    assert (only["row"], only["value"]) == (3, 'x,b,"3.jpg,T,,')


def test_rows_are_numbered_by_physical_lines(read: Read) -> None:
    text = '\r\nx,b,"1\r\n2.jpg",T,,\r\n\r\n"y",b,3.jpg,"a\n\nb",,\n,b,4.jpg,T,,\nshort\n'
    outcome = read(HEADER + text)
    assert outcome.ids == ["y"]
    assert outcome.rows[0]["title"] == "a\n\nb"
    # 1 header, 2 blank, 3–4 x, 5 blank, 6–8 y, 9 no id, 10 short
    assert sorted(one["row"] for one in outcome.listed) == [3, 9, 10]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_their_absence_at_the_end(read: Read, end: str) -> None:
    data = (HEADER + GOOD + "short\n" + GOOD_TOO).replace("\n", end).removesuffix(end)
    outcome = read(data)
    assert outcome.ids == ["g1", "g2"]
    assert [one["row"] for one in outcome.listed] == [3]


def test_a_byte_order_mark_is_not_part_of_the_header(read: Read) -> None:
    assert read(b"\xef\xbb\xbf" + (HEADER + GOOD).encode()).ids == ["g1"]


def test_many_rejects_in_one_block_each_have_their_line(read: Read) -> None:
    lines = [f"p{i},b,{i}.jpg,T,," if i % 3 else f"{i},short" for i in range(3000)]
    outcome = read(HEADER + "\n".join(lines))
    assert len(outcome.ids) == 2000
    assert [one["row"] for one in outcome.listed] == [2 + i for i in range(0, 3000, 3)]


# Files that cannot be used at all: (what, name, bytes, pattern of the message)
NOTHING: list[tuple[str, str, bytes, str]] = [
    ("an empty file", "p.csv", b"", r"p\.csv is empty \(0 bytes\): a header and rows"),
    ("a header alone", "p.csv", HEADER.encode(), r"p\.csv has no rows: nothing follows its header"),
    ("blank lines alone", "p.csv", b"\n\r\n\n", r"p\.csv has no rows"),
    ("gzip of nothing", "p.csv.gz", gzip.compress(b""), r"p\.csv\.gz has no rows"),
    ("an empty JSON-lines file", "p.jsonl", b"", r"p\.jsonl is empty"),
    ("UTF-16", "p.csv", (HEADER + GOOD).encode("utf-16"),
     r"p\.csv is UTF-16 text; UTF-8 is expected.*--encoding utf-16"),
    ("UTF-16 without a mark", "p.csv", (HEADER + GOOD).encode("utf-16-be"),
     r"p\.csv is UTF-16-BE text.*encoding='utf-16-be'"),
    ("UTF-32", "p.csv", (HEADER + GOOD).encode("utf-32"), r"p\.csv is UTF-32 text"),
    ("latin-1", "p.csv", (HEADER + "a,b,é.jpg,,,\nc,b,ü.jpg,,,\n").encode("latin-1"),
     r"p\.csv is not UTF-8 text: line 2 has the byte 0xe9.*encoding='latin-1'"),
    ("a latin-1 header", "p.csv", "pin_id,board_id,image,größe\n1,2,3,4\n".encode("latin-1"),
     r"p\.csv is not UTF-8 text: line 1 has the byte 0xf6"),
    ("a JPEG", "p.csv", b"\xff\xd8\xff\xe0\x00\x10JFIF", r"p\.csv is a JPEG picture, not a table"),
    ("a zip", "p.csv", b"PK\x03\x04rest", r"p\.csv is a zip archive.*unpack or export"),
    ("an encrypted Parquet", "p.parquet", b"PARE" + b"x" * 9, "is an encrypted Parquet file"),
    ("bytes", "p.csv", bytes(range(256)) * 4, r"p\.csv is not text: it has NUL bytes"),
    ("gzip cut short", "p.csv.gz", gzip.compress((HEADER + GOOD * 9999).encode())[:-20],
     r"p\.csv\.gz ends or is damaged within its gzip data.*Fetch"),
    ("no gzip", "p.csv.gz", (HEADER + GOOD).encode(),
     r"p\.csv\.gz is named \.gz but is not gzip data: it begins with b'pin_'"),
    ("damaged bzip2", "p.csv.bz2", bz2.compress(b"x" * 999)[:20], "within its bz2 data"),
    ("text named Parquet", "p.parquet", (HEADER + GOOD).encode(),
     r"named \.parquet but is not a Parquet file: it begins with b'pin_'.*Rename"),
    ("Parquet cut short", "p.parquet", b"PAR1" + b"\0" * 100,
     r"p\.parquet is damaged or cut short: its footer cannot be read"),
    ("Arrow cut short", "p.arrow", b"ARROW1\0\0" + b"\0" * 100,
     r"p\.arrow is damaged or cut short: its schema cannot be read"),
    ("JSON lines named CSV", "p.csv", b'{"pin_id": "1"}\n', r"named \.csv but holds JSON lines"),
    ("a JSON array", "p.json", b'[{"pin_id": "1"}]', r"p\.json is one JSON array.*jq -c"),
    ("pretty JSON", "p.json", b'{\n  "pin_id": "1"\n}\n',
     r"p\.json spreads one JSON object over many lines.*One object per line"),
    ("CSV named JSON lines", "p.jsonl", (HEADER + GOOD).encode(),
     r"p\.jsonl is not JSON: its first line is 'pin_id,board_id"),
    ("no header", "p.csv", b"1,b,1.jpg\n2,b,2.jpg\n",
     r"has no column 'pin_id'. Its columns are 1, b, 1\.jpg.*is the first row a header\?"),
    ("a missing column", "p.csv", b"pin_id,board_id,photo\n1,b,1.jpg\n",
     r"has no column 'image'. Its columns are pin_id, board_id, photo.*--map pins\.image=COLUMN"),
    ("a column in capitals", "p.csv", b"pin_id,board_id,Image\n1,b,1.jpg\n",
     r"no column 'image'.*Did you mean --map image=Image\?"),
    ("two columns of one name", "p.csv", b"pin_id,board_id,image,image\n1,b,1.jpg,2.jpg\n",
     r"2 columns named 'image' \(numbers 3 and 4 of 4\), so image could be either. Rename"),
    ("JSON lines without a key", "p.jsonl", b'{"pin_id": "1", "board": "b"}\n',
     r"no column 'board_id'. Its columns are pin_id, board.*Did you mean --map board_id=board\?"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data", "message"), [n[1:] for n in NOTHING], ids=[n[0] for n in NOTHING]
)
def test_a_file_that_cannot_be_used(read: Read, name: str, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        read(data, name)


def test_gzip_cut_far_from_its_start_fails_when_it_is_reached(read: Read, tmp_path: Path) -> None:
    rows = "".join(f"p{i},b,{i * 7919 % 10007}.jpg,,,\n" for i in range(200_000))
    data = gzip.compress((HEADER + rows).encode())
    (tmp_path / "p.csv.gz").write_bytes(data[:-1000])
    source = open_source("pins", tmp_path / "p.csv.gz")
    with Rejects(None) as rejects, pytest.raises(InputError, match="within its gzip data"):
        list(source.batches(rejects))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "cp1252", "utf-8-sig"])
def test_an_encoding_that_is_named_is_read(read: Read, encoding: str) -> None:
    outcome = read((HEADER + "é,b,1.jpg,Café,,\n" * 3).encode(encoding), encoding=encoding)
    assert [(row["pin_id"], row["title"]) for row in outcome.rows] == [("é", "Café")] * 3


def test_the_wrong_encoding_is_named(read: Read) -> None:
    with pytest.raises(InputError, match=r"pins\.csv is not shift_jis text.*Give the encoding"):
        read((HEADER + "\x80\xa0\xff" * 9).encode("latin-1"), encoding="shift_jis")
    with pytest.raises(ConfigError, match=r"encoding.*must be an encoding Python knows.*'utf-9'"):
        read(HEADER, encoding="utf-9")


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.txt", "p"])
def test_another_delimiter_is_read_right(read: Read, delimiter: str, name: str) -> None:
    assert read((HEADER + GOOD).replace(",", delimiter), name).rows[0]["title"] == "One"


JSON_LINES = [
    ("cut short", '{"pin_id": "x", "board_id"', "not JSON"),
    ("an array", '["x", "b", "3.jpg"]', "a JSON array, not an object"),
    ("a number", "17", "a JSON number, not an object"),
    ("two objects", '{"pin_id": "x"}{"pin_id": "y"}', "not JSON: Extra data"),
    ("nested", '{"pin_id": "x", "image": ["3.jpg"]}', "a JSON array where text or a number"),
    ("no id", '{"board_id": "b", "image": "3.jpg"}', "pin_id is missing"),
    ("a null id", '{"pin_id": null, "board_id": "b", "image": "3.jpg"}', "pin_id is missing"),
    ("a NaN id", '{"pin_id": NaN, "board_id": "b", "image": "3.jpg"}', "pin_id is missing"),
    ("half an id", '{"pin_id": 12.5, "board_id": "b", "image": "3.jpg"}', "not whole"),
]


@pytest.mark.parametrize(
    ("bad", "reason"), [j[1:] for j in JSON_LINES], ids=[j[0] for j in JSON_LINES]
)
def test_a_bad_json_line_is_rejected_and_the_others_survive(
    read: Read, bad: str, reason: str
) -> None:
    good = [f'{{"pin_id": {i}, "board_id": "b", "image": "{i}.jpg"}}' for i in (1, 2)]
    outcome = read("\n".join([good[0], "", bad, good[1]]), "p.jsonl")
    assert outcome.ids == ["1", "2"]
    (only,) = outcome.listed
    assert only["row"] == 3
    assert reason in only["reason"]


def test_invalid_utf8_in_json_costs_its_line_only(read: Read) -> None:
    line = b'{"pin_id": "%s", "board_id": "b", "image": "1.jpg"}\n'
    outcome = read(line % b"1" + line % b"\xe9" + line % b"2", "p.jsonl")
    assert outcome.ids == ["1", "2"]
    assert [(one["row"], one["reason"]) for one in outcome.listed] == [(2, "not UTF-8 text")]


def parquet(path: Path, **columns: Any) -> Path:
    whole = {"pin_id": ["1", "2"], "board_id": ["b", "b"], "image": ["1.jpg", "2.jpg"]} | columns
    pq.write_table(pa.table(whole), path)
    return path


COLUMN_TYPES = [
    ("pin_id", [True, False], "type bool; pin_id must be text or whole numbers"),
    ("pin_id", pa.array([0, 1], pa.timestamp("s")), r"timestamp\[ms\]; pin_id must be text"),
    ("image", [["a"], ["b"]], r"list<.*>; image must be text or whole numbers.*--map image="),
    ("title", [{"en": "a"}, {"en": "b"}], r"struct<.*; title must be text.*--map title= leaves"),
    ("created_at", [True, False], "bool; created_at must be a timestamp, a date, unix seconds"),
    ("feature_x", [["a"], ["b"]], r"list<.*; feature_x must be numbers"),
]


@pytest.mark.parametrize(("column", "values", "message"), COLUMN_TYPES)
def test_a_column_of_the_wrong_type(
    read: Read, tmp_path: Path, column: str, values: Any, message: str
) -> None:
    where = parquet(tmp_path / "p.parquet", **{column: values})
    with pytest.raises(
        InputError,
        match=rf"p\.parquet: column '{column}' has type {message}"
        if "type" not in message
        else rf"p\.parquet: column '{column}' has {message}",
    ):
        read(where=where)


def test_bad_ids_in_parquet_cost_their_rows_only(read: Read, tmp_path: Path) -> None:
    ids = [1.0, float("nan"), 2.5, None, float("inf"), 2.0**60, 3.0]
    where = tmp_path / "p.parquet"
    pq.write_table(pa.table({"pin_id": ids, "board_id": ids, "image": list("abcdefg")}), where)
    outcome = read(where=where)
    assert outcome.ids == ["1", "3"]
    assert [one["row"] for one in outcome.listed] == [3, 5, 6, 2, 4]
    reasons = [one["reason"] for one in outcome.listed]
    assert all("not whole, or too large" in reason for reason in reasons[:3])
    assert reasons[3:] == ["pin_id is missing"] * 2


def test_invalid_utf8_in_parquet_costs_its_row_only(read: Read, tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff", b"ok"]).buffers())
    outcome = read(where=parquet(tmp_path / "p.parquet", image=bad))
    assert outcome.ids == ["2"]
    assert [(one["row"], one["value"]) for one in outcome.listed] == [(1, "\\xff")]


def test_every_row_bad_is_an_error(read: Read) -> None:
    with pytest.raises(InputError, match=r"none of its rows.*3 were rejected.*image is missing"):
        read(HEADER + "x,b,,,,\n" * 3)


def test_a_part_without_rows_is_listed_and_the_others_are_read(read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + GOOD)
    (tmp_path / "b.csv").write_text("")
    (tmp_path / "c.csv").write_text(HEADER)
    parts = [tmp_path / f"{name}.csv" for name in "abc"]
    outcome = read(where=parts)
    assert outcome.ids == ["g1"]
    assert [(Path(one["file"]).name, one["reason"]) for one in outcome.listed] == [
        ("b.csv", "this part has no rows"),
        ("c.csv", "this part has no rows"),
    ]
    with pytest.raises(InputError, match=r"b\.csv: this part has no rows"):
        read(where=parts, strict=True)
    with pytest.raises(InputError, match="None of the 2 parts has a row"):
        read(where=parts[1:])


def test_a_part_with_other_columns_is_named(read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + GOOD)
    (tmp_path / "b.csv").write_text("pin_id,board,image\n1,b,1.jpg\n")
    with pytest.raises(InputError, match=r"b\.csv has no column 'board_id'.*board_id=board"):
        read(where=str(tmp_path / "*.csv"))


def test_what_is_not_there_is_said_with_what_is(read: Read, tmp_path: Path) -> None:
    (tmp_path / "pins.csv").write_text(HEADER + GOOD)
    with pytest.raises(InputError, match=r"pin\.csv does not exist. Did you mean pins\.csv\?"):
        read(where=tmp_path / "pin.csv")
    with pytest.raises(InputError, match=r"does not exist. Beside it are pins\.csv\."):
        read(where=tmp_path / "zzz")
    with pytest.raises(InputError, match=r"does not exist. Nor does the directory .*nowhere"):
        read(where=tmp_path / "nowhere" / "pins.csv")
    with pytest.raises(InputError, match=r"\*\.parquet matches no file. Beside it are pins\.csv"):
        read(where=str(tmp_path / "*.parquet"))
    with pytest.raises(InputError, match=r"is neither a file nor a directory"):
        read(where="/dev/null")
    with pytest.raises(ConfigError, match="its path is empty"):
        read(where=" ")
    with pytest.raises(ConfigError, match="the list of its parts is empty"):
        read(where=[])


def test_a_directory_without_parts_says_what_it_holds(read: Read, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    with pytest.raises(InputError, match=r"without table parts. It is empty"):
        read(where=folder)
    (folder / "_SUCCESS").touch()
    (folder / "readme.md").touch()
    with pytest.raises(InputError, match=r"It holds _SUCCESS, readme\.md; a part's name ends in"):
        read(where=folder)


def test_an_address_nobody_can_open(read: Read) -> None:
    with pytest.raises(InputError, match=r"no file system for nowhere:// .*install fsspec"):
        read(where="nowhere://bucket/pins.csv")


MAPPINGS = [
    ({"imge": "photo"}, ConfigError, r"'imge' is not a column of pins. Did you mean image\?"),
    ({"image": "foto"}, InputError, r"no column 'foto' \(mapped to image\).*image=photo\?"),
    ({"title": "name"}, InputError, r"no column 'name' \(mapped to title\)"),
    ({"image": ""}, ConfigError, r"leaves image out, which pins need.*--map image=COLUMN"),
]


@pytest.mark.parametrize(("mapping", "error", "message"), MAPPINGS)
def test_a_mapping_that_does_not_fit(
    read: Read, mapping: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(
            "pin_id,board_id,photo\n1,b,1.jpg\n",
            mapping=mapping | {"pin_id": "pin_id"}
            if "image" in mapping
            else {"image": "photo"} | mapping,
        )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("image", r"must be column=column \(ours=yours\).*Got 'image'"),
        ("pin.image=x", r"must be column=column .*Got 'pin\.image=x'"),
        ("imag=x", r"'imag' is not a column of pins or boards. Did you mean image"),
        ("boards.image=x", r"'image' is not a column of boards\."),
    ],
)
def test_a_map_option_that_does_not_parse(option: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_map([option])


def test_an_unknown_kind(read: Read) -> None:
    with pytest.raises(ConfigError, match=r"must be 'pins' or 'boards'. Got 'pin' instead"):
        read(HEADER + GOOD, kind="pin")


def test_a_board_without_an_id_is_rejected_one_without_a_title_kept(read: Read) -> None:
    outcome = read("board_id,title\nb1,\n,T\n", kind="boards")
    assert [(row["board_id"], row["title"]) for row in outcome.rows] == [("b1", None)]
    assert [(one["row"], one["column"]) for one in outcome.listed] == [(3, "board_id")]


def test_only_the_first_reason_of_a_row_counts(read: Read) -> None:
    outcome = read(HEADER + GOOD + ",b,,T,yesterday,\n")
    assert [(one["row"], one["column"]) for one in outcome.listed] == [(3, "pin_id")]


def test_the_list_has_a_limit_and_the_counts_have_none(tmp_path: Path) -> None:
    with Rejects(tmp_path / "r.jsonl", limit=10) as rejects:
        rejects.add_many(
            file="p", rows=list(range(25)), column=None, values=np.arange(25), reason="bad"
        )
        rejects.add(file="p", row=26, column=None, value=None, reason="worse")
    assert (rejects.count, rejects.by_reason["bad"]) == (26, 25)
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(lines) == 10 + 1
    assert lines[-1]["reason"] == "16 more are counted but not listed"  # 25 + 1 - 10


def test_no_reject_makes_no_file_and_removes_an_old_one(read: Read, tmp_path: Path) -> None:
    read(table("short\n"))
    assert (tmp_path / "rejects.jsonl").exists()
    read(HEADER + GOOD)
    assert not (tmp_path / "rejects.jsonl").exists()
