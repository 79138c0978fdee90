"""Hashing, numbering and finding of external ids."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinjoin.core import _ids_kernel as kernel
from pinjoin.core import ids
from pinjoin.core.errors import InputError
from pinjoin.core.ids import NULL_CODE, IdIndex, StringTable, hash_strings

MASK = (1 << 64) - 1
laws = settings(deadline=None, max_examples=50)  # the first example compiles
TYPES = [pa.string(), pa.large_string()]
# Few letters, so that ids repeat and nearly repeat; and any Unicode at all.
texts = st.one_of(st.text("ab", max_size=4), st.text(max_size=80))
columns = st.lists(st.one_of(st.none(), texts), max_size=60)


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0, written from its specification, one step per line."""
    p1, p2, p3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
    p4, p5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5

    def rotl(x: int, r: int) -> int:
        return ((x << r) | (x >> (64 - r))) & MASK

    def step(acc: int, lane: int) -> int:
        return rotl((acc + lane * p2) & MASK, 31) * p1 & MASK

    at, h = 0, p5
    if len(data) >= 32:
        lanes = [(p1 + p2) & MASK, p2, 0, -p1 & MASK]
        while at + 32 <= len(data):
            for k in range(4):
                word = data[at + 8 * k : at + 8 * k + 8]
                lanes[k] = step(lanes[k], int.from_bytes(word, "little"))
            at += 32
        h = sum(rotl(v, r) for v, r in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK
        for v in lanes:
            h = ((h ^ step(0, v)) * p1 + p4) & MASK
    h = (h + len(data)) & MASK
    while at + 8 <= len(data):
        h ^= step(0, int.from_bytes(data[at : at + 8], "little"))
        h, at = (rotl(h, 27) * p1 + p4) & MASK, at + 8
    if at + 4 <= len(data):
        h ^= int.from_bytes(data[at : at + 4], "little") * p1 & MASK
        h, at = (rotl(h, 23) * p2 + p3) & MASK, at + 4
    for byte in data[at:]:
        h = rotl(h ^ (byte * p5 & MASK), 11) * p1 & MASK
    h = (h ^ (h >> 33)) * p2 & MASK
    h = (h ^ (h >> 29)) * p3 & MASK
    return h ^ (h >> 32)


def chunked(values: list[str | None], cut: int, kind: pa.DataType) -> pa.ChunkedArray:
    """The values in two chunks, each a slice of something longer."""
    cut = min(cut, len(values))
    parts = [
        pa.array(["before", None, *part, "after"], kind) for part in (values[:cut], values[cut:])
    ]
    return pa.chunked_array([part.slice(2, len(part) - 3) for part in parts], kind)


def known(values: list[str | None]) -> dict[str, int]:
    """The naive index: the lowest row of each string."""
    rows: dict[str, int] = {}
    for row, value in enumerate(values):
        if value is not None:
            rows.setdefault(value, row)
    return rows


# The published values of XXH64. Snapshots hold what follows from them: they never change.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0xEF46DB3751D8E999),
        ("a", 0xD24EC4F1A98C6E5B),
        ("abc", 0x44BC2CF5AD770999),
        ("xxhash", 0x32DD38952C4BC720),
        ("Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_hashes_are_the_published_ones(text: str, expected: int) -> None:
    assert int(hash_strings(pa.array([text]))[0]) == expected == xxh64(text.encode())


@laws
@given(columns, st.integers(0, 60), st.sampled_from(TYPES))
def test_hash_equals_the_specification(values: list[str | None], cut: int, kind: object) -> None:
    expected = [0 if v is None else xxh64(v.encode()) for v in values]
    assert hash_strings(chunked(values, cut, kind)).tolist() == expected


@pytest.mark.parametrize("size", range(100))
def test_hash_of_every_length(size: int) -> None:
    text = "".join(chr(33 + i) for i in range(size % 90)) + "é" * (size - size % 90)
    assert int(hash_strings(pa.array([text]))[0]) == xxh64(text.encode())


def test_hash_of_nothing_and_of_nulls() -> None:
    assert hash_strings(pa.array([], pa.string())).size == 0
    assert hash_strings(pa.nulls(3)).tolist() == [0, 0, 0]


@laws
@given(st.lists(st.tuples(columns, st.integers(0, 60)), max_size=5), st.sampled_from(TYPES))
def test_table_numbers_by_first_appearance(batches: list, kind: object) -> None:
    table, numbers = StringTable(), {}
    for values, cut in batches:
        for value in values:
            if value is not None:
                numbers.setdefault(value, len(numbers))
        expected = [NULL_CODE if v is None else numbers[v] for v in values]
        assert table.encode(chunked(values, cut, kind)).tolist() == expected
    assert len(table) == len(numbers)
    assert table.strings().to_pylist() == list(numbers)


def test_table_grows_far_beyond_its_first_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_MAX_CHUNK_BYTES", 1000)  # many chunks of strings
    values = [f"{i * 7919 % 200_000}" for i in range(200_000)]
    table = StringTable()
    for start in range(0, len(values), 70_000):
        table.encode(pa.array(values[start : start + 70_000]))
    earlier = table.strings()
    assert len(table) == 200_000  # 7919 is prime: no number repeats
    assert table.encode(pa.array(values[::-1])).tolist() == list(range(199_999, -1, -1))
    table.encode(pa.array([f"new {i}" for i in range(200_000)]))
    assert earlier.to_pylist() == values  # what was given out is not touched by growth
    assert earlier.num_chunks > 500
    assert len(table) == 400_000


def test_table_keeps_long_strings() -> None:
    long = ["x" * 1_000_000, "x" * 999_999 + "y", "", "x" * 1_000_000]
    table = StringTable()
    assert table.encode(pa.array(long)).tolist() == [0, 1, 2, 0]
    assert table.strings().to_pylist() == long[:3]


@pytest.mark.parametrize("hash", [0, 1, MASK])
@laws
@given(columns)
def test_equal_hashes_do_not_merge_ids(hash: int, values: list[str | None]) -> None:
    def same(chunk: pa.Array) -> np.ndarray:
        return np.full(len(chunk), hash, np.uint64)

    numbers: dict[str, int] = {}
    for value in values:
        if value is not None:
            numbers.setdefault(value, len(numbers))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "_hash_chunk", same)
        table = StringTable()
        expected = [NULL_CODE if v is None else numbers[v] for v in values]
        assert table.encode(pa.array(values, pa.string())).tolist() == expected
        index = IdIndex(
            *IdIndex.build(pa.array(values, pa.string())), pa.array(values, pa.string())
        )
        assert index.find_all(list(numbers)).tolist() == [known(values)[v] for v in numbers]
        assert index.find("not there") is None


def test_every_byte_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_hash_chunk", lambda chunk: np.zeros(len(chunk), np.uint64))
    for size in range(1, 40):
        values = ["x" * size, *("x" * i + "y" + "x" * (size - i - 1) for i in range(size))]
        column = pa.array(values)
        assert StringTable().encode(column).tolist() == list(range(size + 1))
        assert IdIndex(*IdIndex.build(column), column).find_all(values).tolist() == list(
            range(size + 1)
        )


@laws
@given(columns, st.integers(0, 60), st.sampled_from(TYPES), st.lists(texts, max_size=9))
def test_index_equals_a_dict(values: list, cut: int, kind: object, others: list) -> None:
    column, rows = chunked(values, cut, kind), known(values)
    index = IdIndex(*IdIndex.build(column), column)
    asked = [*values, *others]
    expected = [-1 if v is None else rows.get(v, -1) for v in asked]
    assert index.find_all(asked).tolist() == expected
    assert index.find_all(chunked(asked, cut, kind)).tolist() == expected
    assert [index.find(v) for v in others] == [rows.get(v) for v in others]
    assert len(index) == len(rows)


def test_index_of_very_many_equal_ids_stays_fast() -> None:
    column = pa.array(["same"] * 500_000 + ["other"])
    offsets, rows = IdIndex.build(column)
    assert rows.tolist() in ([0, 500_000], [500_000, 0])  # one row per distinct id
    assert IdIndex(offsets, rows, column).find_all(["same", "other", "x"]).tolist() == [
        0,
        500_000,
        -1,
    ]


def test_index_is_the_same_for_other_chunks() -> None:
    values = [f"id{i % 700}" for i in range(1000)]
    one, many = pa.array(values), pa.chunked_array([[v] for v in values])
    for a, b in zip(IdIndex.build(one), IdIndex.build(many), strict=True):
        np.testing.assert_array_equal(a, b)


def test_index_over_read_only_arrays(tmp_path: object) -> None:
    column = pa.array(["a", "b", "ü"])
    arrays = IdIndex.build(column)
    for array in arrays:
        array.flags.writeable = False
    index = IdIndex(*arrays, column)
    assert index.find("ü") == 2
    assert index.find("\udcff") is None  # what a shell hands over as not UTF-8
    assert index.find_all(["b", "\udcff", None]).tolist() == [1, -1, -1]


@pytest.mark.parametrize("call", [hash_strings, StringTable().encode, IdIndex.build])
def test_other_types_are_refused(call: object) -> None:
    with pytest.raises(InputError, match=r"Ids must be strings\. Got a column of int64"):
        call(pa.array([1, 2]))


def test_dictionary_and_view_columns_are_strings_too() -> None:
    values = ["b", "a", "b"]
    for kind in (pa.dictionary(pa.int32(), pa.string()), pa.string_view()):
        assert StringTable().encode(pa.array(values).cast(kind)).tolist() == [0, 1, 0]


def levenshtein(a: bytes, b: bytes) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, last = [i], row
        for j, y in enumerate(b, 1):
            row.append(min(last[j - 1] + (x != y), last[j] + 1, row[j - 1] + 1))
    return row[-1]


@laws
@given(st.text("abAB", max_size=9), st.text("abAB", max_size=9), st.integers(0, 4))
def test_distance_equals_the_full_matrix(a: str, b: str, limit: int) -> None:
    asked = np.frombuffer(a.lower().encode(), np.uint8)
    other = np.frombuffer(b.encode() + b"#", np.uint8)
    scratch = np.empty(2 * limit + 3, np.int64)
    at = np.uint64(other.ctypes.data)
    found = kernel.bounded_distance(asked, at, np.uint64(len(b)), limit, scratch)
    expected = levenshtein(a.lower().encode(), b.lower().encode())
    assert found == min(expected, limit + 1)


def test_suggestions_are_the_closest_then_by_row() -> None:
    column = pa.array(["table-12", "lamp-7", None, "Lamp-9", "lamp-79", "photos/lamp", "lamp-7"])
    index = IdIndex(*IdIndex.build(column), column)
    assert index.close_matches("lamp-8") == ["lamp-7", "Lamp-9", "lamp-79"]  # 1, 1, 2 edits
    assert index.close_matches("LAMP-7", n=1) == ["lamp-7"]  # 0: case is free
    assert index.close_matches("lamp") == ["lamp-7", "Lamp-9", "lamp-79"]  # 2, 2, 3 edits
    assert index.close_matches("lamp", n=9)[-1] == "photos/lamp"  # ends with it
    assert index.close_matches("wardrobe") == []
    assert index.close_matches("") == index.close_matches("lamp", n=0) == []
    assert index.close_matches("\udcff") == []


def test_suggestions_stop_after_the_popular_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    column = pa.chunked_array(
        [[f"id-{i:04d}" for i in range(j, j + 30)] for j in range(0, 990, 30)]
    )
    monkeypatch.setattr(ids, "_SUGGESTION_IDS", 100)
    index = IdIndex(*IdIndex.build(column), column)
    assert index.close_matches("id-0099x") == ["id-0099", "id-0009", "id-0019"]
    assert index.close_matches("id-0989", n=1) == ["id-0089"]  # row 989 is beyond the first 100
