"""Event logs: the same events whatever the format; bad ones named; actions joined; oddities."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.cli.events import events as events_command
from pinjoin.core.errors import ConfigError, InputError
from pinjoin.core.ids import NULL_CODE
from pinjoin.data import event_log
from pinjoin.data.event_checks import EventReport, check_events
from pinjoin.data.event_log import (
    FACTORS,
    NO_TIME,
    EventLog,
    Events,
    join,
    join_events,
    number_events,
    read_log,
)
from pinjoin.data.events import ACTIONS, EVENTS, LOGGED, open_events
from pinjoin.data.rejects import Rejects

HEADER = "time,request_id,user_id,query,candidate,position,device,surface,action"
GOOD = "2024-05-01T10:00:00Z,r1,u1,q,a,1,phone,home,impression"
GOOD_ROW = {
    "time": 1_700_000_000, "request_id": "r", "user_id": "u", "query": "q", "candidate": "a",
    "position": "1", "device": "phone", "surface": None, "action": "impression",
}  # fmt: skip


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def read(path: Path, **options: Any) -> tuple[pa.Table, Rejects]:
    rejects = Rejects(None)
    batches = list(open_events(path, **options).batches(rejects))
    for batch in batches:
        assert batch.schema == LOGGED
        batch.validate(full=True)
    return pa.Table.from_batches(batches), rejects


def events_of(rows: Sequence[dict[str, Any]]) -> Events:
    """Events in memory; what a row leaves out is of a plain impression."""
    return number_events([pa.RecordBatch.from_pylist([GOOD_ROW | r for r in rows], schema=EVENTS)])


# Reading


def test_every_format_gives_the_same_events(tmp_path: Path) -> None:
    rows = [
        GOOD,
        "2024-05-01T10:00:05Z,r1,u1,q,a,1,phone,home,click",
        "2024-05-01T10:00:00Z,r1,u1,q,b,2,phone,home,impression",
    ]
    comma = write(tmp_path / "e.csv", *rows)
    wanted, rejects = read(comma)
    assert not rejects.count
    assert wanted.column("position").to_pylist() == ["1", "1", "2"]
    assert wanted.column("time").cast(pa.int64()).to_pylist() == [
        1714557600, 1714557600 + 5, 1714557600
    ]  # fmt: skip
    dicts = list(csv.DictReader(comma.read_text().splitlines()))
    (tmp_path / "e.jsonl").write_text("\n".join(json.dumps(d) for d in dicts))
    with gzip.open(tmp_path / "e.csv.gz", "wb") as out:
        out.write(comma.read_bytes())
    table = pa.Table.from_pylist(dicts)
    pq.write_table(table, tmp_path / "e.parquet")
    with pa.ipc.new_file(tmp_path / "e.arrow", table.schema) as file:
        file.write_table(table)
    with pa.ipc.new_stream(tmp_path / "e.arrows", table.schema) as stream:
        stream.write_table(table)
    for name in ("e.jsonl", "e.csv.gz", "e.parquet", "e.arrow", "e.arrows"):
        assert read(tmp_path / name)[0] == wanted, name


def test_typed_columns_are_read_as_their_text_is(tmp_path: Path) -> None:
    table = pa.table(
        {
            "time": pa.array([1_714_557_600_000], pa.timestamp("ms", tz="UTC")),
            "request_id": [7],
            "query": [12.0],
            "candidate": [3],
            "position": pa.array([4], pa.int8()),
            "device": pa.array(["phone"]).dictionary_encode(),
            "action": ["IMPRESSION"],
        }
    )
    pq.write_table(table, tmp_path / "e.parquet")
    found, rejects = read(tmp_path / "e.parquet")
    assert not rejects.count
    row = found.to_pylist()[0]
    assert [row[n] for n in ("request_id", "query", "candidate", "position", "action")] == [
        "7", "12", "3", "4", "impression"
    ]  # fmt: skip
    assert row["user_id"] is row["surface"] is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("3", "3"), ("3.0", "3"), ("007", "7"), ("0", "0"), ('"2,5"', "2,5"), ('" 2 , 5"', "2,5"),
        ('"(2, 5)"', "2,5"), ('"[02,05]"', "2,5"),
    ],
)  # fmt: skip
def test_positions_have_one_form(tmp_path: Path, given: str, wanted: str) -> None:
    table, rejects = read(write(tmp_path / "e.csv", f",r,u,q,a,{given},phone,,impression"))
    assert not rejects.count
    assert table.column("position").to_pylist() == [wanted]


def test_a_grid_may_have_two_columns(tmp_path: Path) -> None:
    header = "request_id,query,candidate,row,column,device,action"
    path = write(tmp_path / "e.csv", "r,q,a,2,5,tv,impression", "r,q,a,,,tv,save", header=header)
    assert read(path)[0].column("position").to_pylist() == ["2,5", None]


def test_columns_can_be_mapped_and_left_out(tmp_path: Path) -> None:
    header = "rid,seed,item,slot,action"
    path = write(tmp_path / "e.csv", "r,q,a,1,impression", header=header)
    mapping = {"request_id": "rid", "query": "seed", "candidate": "item", "position": "slot"}
    source = open_events(path, mapping | {"device": ""})
    optional = ("time", "user_id", "device", "surface", "propensity", "phrase", "locale")
    assert source.missing == optional
    assert next(iter(source.batches(Rejects(None)))).column("query").to_pylist() == ["q"]


def test_several_parts_are_one_log(tmp_path: Path) -> None:
    write(tmp_path / "1.csv", GOOD)
    write(tmp_path / "2.csv", GOOD.replace("impression", "click"))
    log = read_log(open_events(str(tmp_path / "*.csv")))
    assert log.done.tolist() == [0b11]  # impression and click


MALFORMED = [
    ("no request", ",,u,q,a,1,phone,,impression", "request_id is missing"),
    ("no query", ",r,u,,a,1,phone,,impression", "query is missing"),
    ("nan query", ",r,u,nan,a,1,phone,,impression", "query is missing"),
    ("no candidate", ",r,u,q,,1,phone,,impression", "candidate is missing"),
    ("no action", ",r,u,q,a,1,phone,,", "action is missing"),
    ("unknown action", ",r,u,q,a,1,phone,,view", "not an action"),
    ("impression nowhere", ",r,u,q,a,,phone,,impression", "an impression without a position"),
    ("negative position", ",r,u,q,a,-1,phone,,impression", "not a position"),
    ("fractional position", ",r,u,q,a,1.5,phone,,impression", "not a position"),
    ("position in words", ",r,u,q,a,first,phone,,impression", "not a position"),
    ("three-part position", ',r,u,q,a,"1,2,3",phone,,impression', "not a position"),
    ("half a grid", ',r,u,q,a,"1,",phone,,impression', "not a position"),
    ("huge position", ",r,u,q,a,99999999999,phone,,impression", "not a position"),
    ("too few fields", ",r,u,q,a,1,phone", "the row has 7 fields; the header has 9"),
    ("too many fields", ",r,u,q,a,1,phone,,impression,x", "10 fields; the header has 9"),
    ("control character", ",r,u,q,a\x07,1,phone,,impression", "a control character in candidate"),
    ("open quote", ',r,u,"q,a,1,phone,,impression', "a quote is opened here and not closed"),
    ("huge field", f",r,u,q,{'a' * (1 << 20)}b,1,phone,,impression", "longer than 1 MiB"),
]


@pytest.mark.parametrize(
    ("row", "reason"), [m[1:] for m in MALFORMED], ids=[m[0] for m in MALFORMED]
)
def test_a_bad_event_is_named_and_the_others_are_read(
    tmp_path: Path, row: str, reason: str
) -> None:
    path = write(tmp_path / "e.csv", GOOD, row)
    table, _ = read(path)
    assert table.num_rows == 1
    with Rejects(tmp_path / "rejects.jsonl") as rejects:
        list(open_events(path).batches(rejects))
    (line,) = (tmp_path / "rejects.jsonl").read_text().splitlines()
    listed = json.loads(line)
    assert reason in listed["reason"]
    assert listed["row"] == 3
    assert listed["remedy"]
    with pytest.raises(InputError, match="row 3"):
        list(open_events(path).batches(Rejects(None, strict=True)))


def test_bytes_that_are_no_utf8_cost_their_row(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(f"{HEADER}\n{GOOD}\n,r,u,q,".encode() + b"\xff,1,phone,,impression\n")
    table, rejects = read(path)
    assert table.num_rows == 1
    assert rejects.commonest() == "not UTF-8 text"


def test_a_time_that_is_none_is_dropped_and_its_event_kept(tmp_path: Path) -> None:
    table, rejects = read(write(tmp_path / "e.csv", GOOD.replace("2024-05-01T10:00:00Z", "noon")))
    assert table.column("time").to_pylist() == [None]
    assert rejects.count == 0
    assert rejects.dropped_values.total() == 1


def test_what_was_searched_for_and_the_locale_go_with_their_impression(tmp_path: Path) -> None:
    rows = [
        GOOD + ",red  Lamp ,de",
        GOOD.replace("r1", "r2") + ",,at",
        GOOD.replace("impression", "click") + ",,",
        GOOD.replace("r1", "r3") + ",,",
    ]
    path = write(tmp_path / "e.csv", *rows, header=f"{HEADER},phrase,locale")
    log = read_log(open_events(path))
    assert log.phrases.to_pylist() == ["red  Lamp "]
    assert log.phrase.tolist() == [0, NULL_CODE, NULL_CODE]
    assert [log.locales[int(i)].as_py() for i in log.locale[:2]] == ["de", "at"]
    later = log.where(np.array([False, True, False]))
    assert (later.locale.tolist(), later.user.tolist()) == ([1], [0])


def test_a_log_of_nobody_in_particular_has_no_users_phrases_and_locales() -> None:
    log = join_events(events_of([{"user_id": None}]))
    assert (log.user, log.phrase, log.locale) == (None, None, None)


def test_a_propensity_is_read_and_one_that_is_none_dropped(tmp_path: Path) -> None:
    rows = [f"{GOOD},{p}" for p in ("0.25", "1", "0", "1.5", "-0.1", "often", "", "nan", "1e-3")]
    table, rejects = read(write(tmp_path / "e.csv", *rows, header=f"{HEADER},propensity"))
    assert table.column("propensity").to_pylist() == [0.25, 1, *[None] * 6, 0.001]
    assert rejects.count == 0
    assert rejects.dropped_values.total() == 4  # 0, 1.5, -0.1, often
    columns = {name: ["1"] for name in HEADER.split(",")} | {"action": ["impression"]}
    for number, wanted in ((pa.array([0.5], pa.float32()), 0.5), (pa.array([2]), None)):
        pq.write_table(pa.table(columns | {"propensity": number}), tmp_path / "e.parquet")
        assert read(tmp_path / "e.parquet")[0].column("propensity").to_pylist() == [wanted]
    pq.write_table(pa.table(columns | {"propensity": [[0.5]]}), tmp_path / "e.parquet")
    with pytest.raises(InputError, match="propensity must be a number"):
        open_events(tmp_path / "e.parquet")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (HEADER + "\n", "has no rows"),
        (f"{HEADER}\n,r,u,q,a,x,phone,,impression\n", "none of its events can be used"),
        (HEADER.replace("query", "Query") + "\n" + GOOD, "Did you mean --map query=Query"),
        (HEADER.replace("position", "slot") + "\n" + GOOD, "or row and column, for a grid"),
        (HEADER.replace("device", "platform") + "\n" + GOOD, "--map device="),
        (HEADER.replace("user_id", "query") + "\n" + GOOD, "2 columns named 'query'"),
        ('{"query": [1]}', "holds JSON lines"),
    ],
)
def test_a_log_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "e.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        list(open_events(path).batches(Rejects(None)))


def test_types_that_cannot_be_are_refused_before_a_row_is_read(tmp_path: Path) -> None:
    columns: dict[str, Any] = {name: ["1"] for name in HEADER.split(",")}
    pq.write_table(pa.table(columns | {"position": [[2, 5]]}), tmp_path / "e.parquet")
    with pytest.raises(InputError, match="'position' has type list.*text or whole numbers"):
        open_events(tmp_path / "e.parquet")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [({"positon": "p"}, "Did you mean position"), ({"query": ""}, "leaves query out")],
)
def test_a_wrong_mapping_is_refused(tmp_path: Path, mapping: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_events(write(tmp_path / "e.csv", GOOD), mapping)


def test_no_device_column_is_accepted_only_when_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", "r,q,a,1,impression",
                 header="request_id,query,candidate,position,action")  # fmt: skip
    with pytest.raises(InputError, match="no column 'device'"):
        open_events(path)
    assert len(read_log(open_events(path, {"device": ""}))) == 1


# Joining


def test_late_actions_find_their_impression() -> None:
    events = events_of(
        [
            {"action": "click", "position": None, "device": None},  # before it in the log
            {"position": "4", "device": "tv"},
            {"request_id": "r2", "position": "1"},
            {"action": "save", "position": "9"},  # of r, at r's own place: its impression's counts
            {"action": "click", "request_id": "r2", "candidate": "b"},  # never shown
        ]
    )
    log = join_events(events)
    assert log.done.tolist() == [0b1011, 0b1]  # impression, click, save; impression
    assert [log.cells.name(int(c), "position") for c in log.cell] == ["4", "1"]
    assert log.cells.name(int(log.cell[0]), "device") == "tv"
    assert (log.duplicates, log.orphans) == (0, 1)


def test_repeats_count_once() -> None:
    log = join_events(
        events_of([{}, {"position": "7"}, {"action": "click"}, {"action": "click"}, {}])
    )
    assert log.done.tolist() == [0b11]
    assert log.cells.name(int(log.cell[0]), "position") == "1"  # the first counts
    assert log.duplicates == 3


def naive_join(
    rows: list[tuple[int, int, int]],
) -> tuple[dict[tuple[int, int], tuple[int, int]], int, int]:
    """{(request, candidate): (its impression, done)}, duplicates, orphans; by dictionaries."""
    seen: set[tuple[int, int, int]] = set()
    shown: dict[tuple[int, int], int] = {}
    done: dict[tuple[int, int], int] = {}
    duplicates = 0
    for i, (request, candidate, action) in enumerate(rows):
        if (request, candidate, action) in seen:
            duplicates += 1
            continue
        seen.add((request, candidate, action))
        done[request, candidate] = done.get((request, candidate), 0) | 1 << action
        if action == 0:
            shown[request, candidate] = i
    orphans = sum((bits.bit_count()) for key, bits in done.items() if key not in shown)
    return {k: (shown[k], done[k]) for k in shown}, duplicates, orphans


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, len(ACTIONS) - 1)),
        min_size=1,
        max_size=60,
    )
)
def test_join_equals_dictionaries(rows: list[tuple[int, int, int]]) -> None:
    request, candidate, action = (np.array(c) for c in zip(*rows, strict=True))
    found = join(request.astype(np.uint32), candidate.astype(np.uint32), action.astype(np.uint8))
    wanted, duplicates, orphans = naive_join(rows)
    assert {
        (request[i], candidate[i]): (i, found.done[i]) for i in np.flatnonzero(found.state == 0)
    } == wanted
    assert np.bincount(found.state, minlength=4)[2:].tolist() == [duplicates, orphans]


def test_items_become_catalogue_rows() -> None:
    log = join_events(
        events_of([{"candidate": "a"}, {"candidate": "b"}, {"candidate": "c"}, {"candidate": "?"}])
    )
    assert log.items is not None
    names = log.items.to_pylist()
    rows = {"q": 5, "a": 1, "b": 1, "c": 0}
    found = log.with_rows(np.array([rows.get(n, -1) for n in names]))
    assert found.query.tolist() == [5, 5, 5]
    assert found.candidate.tolist() == [1, 1, 0]
    with pytest.raises(ConfigError, match="rows parameter of EventLog.with_rows must be 5 numbers"):
        log.with_rows(np.zeros(2, np.int64))


def test_a_split_by_time_keeps_requests_whole() -> None:
    rows = [
        {"request_id": f"r{i}", "candidate": c, "time": 1000 + (i * 7) % 10 + late}
        for i in range(10)
        for c, late in (("a", 0), ("b", 500))
    ]
    early, later = join_events(events_of(rows)).split_by_time(0.8)
    assert (len(early), len(later)) == (16, 4)
    assert not set(early.request.tolist()) & set(later.request.tolist())
    begins = [log.time[log.candidate == log.candidate[0]] for log in (early, later)]
    assert begins[0].max() < begins[1].min()


def test_an_impression_keeps_its_propensity() -> None:
    rows = [
        {"action": "click"},
        {"propensity": 0.25},
        {"candidate": "b", "propensity": 0.5},
        {"candidate": "c"},
    ]
    log = join_events(events_of(rows))
    assert log.propensity is not None
    assert log.propensity.tolist() == [0.25, 0.5, pytest.approx(math.nan, nan_ok=True)]
    later = log.where(log.candidate != log.candidate[0])
    assert later.propensity is not None
    assert later.propensity[0] == 0.5
    batches = [
        pa.RecordBatch.from_pylist([GOOD_ROW | {"propensity": p, "request_id": str(p)}], EVENTS)
        for p in (None, 0.5)
    ]
    both = number_events(batches).propensity
    assert both is not None
    assert both.tolist() == [pytest.approx(math.nan, nan_ok=True), 0.5]
    assert number_events(batches[:1]).propensity is None


def test_a_log_without_impressions_is_refused() -> None:
    with pytest.raises(InputError, match="no impression among them"):
        join_events(events_of([{"action": "click"}]))


def test_cells_are_position_device_and_surface() -> None:
    events = events_of(
        [{}, {"candidate": "b"}, {"device": None}, {"surface": "home"}, {"position": "2"}]
    )
    assert len(events.cells) == 4
    assert [tuple(events.cells.name(int(c), f) for f in FACTORS) for c in events.cell] == [
        ("1", "phone", None), ("1", "phone", None), ("1", None, None), ("1", "phone", "home"),
        ("2", "phone", None),
    ]  # fmt: skip
    assert events_of([{"time": None}]).time.tolist() == [NO_TIME]


def test_cells_are_numbered_alike_however_many_there_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [
        {
            "position": str(rng.integers(1, 60)),
            "device": [None, "phone", "tv"][rng.integers(3)],
            "surface": [None, "home"][rng.integers(2)],
        }
        for _ in range(300)
    ]
    few = events_of(rows)
    monkeypatch.setattr(event_log, "_FEW", 0)
    many = events_of(rows)
    assert np.array_equal(few.cell, many.cell)
    assert few.cells.names == many.cells.names
    assert np.array_equal(few.cells.levels, many.cells.levels)
    named = [tuple(many.cells.name(int(c), f) for f in FACTORS) for c in many.cell]
    assert named == [tuple(row[f] for f in FACTORS) for row in rows]


# Oddities


def codes(rows: Sequence[dict[str, Any]], now: float | None = None) -> dict[str, int]:
    return {f.code: f.count for f in check_events(events_of(rows), now=now).findings}


def many(n: int, **row: Any) -> list[dict[str, Any]]:
    return [{"request_id": f"many{i}", "user_id": f"u{i}"} | row for i in range(n)]


ODD: list[tuple[str, list[dict[str, Any]], int]] = [
    ("action-without-impression", [{}, {"action": "click", "candidate": "b"}], 1),
    ("duplicate", [{}, {}, {"action": "click"}, {"action": "click"}], 2),
    ("action-before-impression", [{}, {"action": "click", "time": 1_600_000_000}], 1),
    ("late-action", [{}, {"action": "save", "time": 1_700_000_000 + 90_000}], 1),
    ("several-positions", [{}, {"position": "2"}], 1),
    ("action-elsewhere", [{}, {"action": "click", "position": "2"}], 1),
    ("shared-position", [{}, {"candidate": "b"}], 1),
    ("mixed-positions", [{}, {"candidate": "b", "position": "1,2"}], 1),
    ("position-zero", [{"position": "0"}, {"candidate": "b"}], 1),
    ("position-gap", [{}, {"candidate": "b", "position": "4"}], 2),  # 2 and 3
    ("rare-device", [*many(2000), {"device": "fridge"}], 1),
    ("rare-surface", [*many(2000, surface="home"), {"surface": "hme"}], 1),
    ("unseen-device", [{}, {"action": "click", "device": "watch"}], 1),
    ("device-spelling", [{}, {"request_id": "2", "device": "Phone"}], 2),
    ("no-device", [{"device": None}], 1),
    ("several-queries", [{}, {"candidate": "b", "position": "2", "query": "p"}], 1),
    ("several-users", [{}, {"candidate": "b", "position": "2", "user_id": "v"}], 1),
    ("candidate-is-query", [{"candidate": "q"}], 1),
    ("no-time", [{"time": None}], 1),
    ("old-time", [{"time": 1_700_000}], 1),
    ("future-time", [{"time": 1_800_000_000}], 1),
    ("some-without-propensity", [{"propensity": 0.5}, {"candidate": "b", "position": "2"}], 1),
    ("no-actions", [{}], 1),
    ("no-impressions", [{"action": "click"}], 1),
    ("high-rate", [*many(100), *many(60, action="click")], 60),
    ("busy-user", [*many(200, user_id="bot"), *many(150, action="click", user_id="bot")], 1),
]


@pytest.mark.parametrize(("code", "rows", "count"), ODD, ids=[o[0] for o in ODD])
def test_an_oddity_is_found_counted_and_explained(
    code: str, rows: list[dict[str, Any]], count: int
) -> None:
    report = check_events(events_of(rows), now=1_750_000_000)
    found = {f.code: f for f in report.findings}
    assert found[code].count == count
    assert found[code].what
    assert found[code].remedy


def clean_rows() -> list[dict[str, Any]]:
    shown = [
        {"request_id": f"r{r}", "user_id": f"u{r}", "candidate": f"c{p}", "position": str(p)}
        for r in range(200)
        for p in (1, 2, 3)
    ]
    return shown + [row | {"action": "click"} for row in shown[::20]]


def test_a_clean_log_has_no_oddity() -> None:
    assert codes(clean_rows(), now=1_750_000_000) == {}


def test_the_report_counts() -> None:
    report: EventReport = check_events(events_of(clean_rows()), rejected=3)
    assert report.by_action == {
        "impression": 600, "click": 30, "clickthrough": 0, "save": 0, "hide": 0
    }  # fmt: skip
    assert (report.events, report.requests, report.users) == (630, 200, 200)
    assert (report.queries, report.pairs, report.cells) == (1, 3, 3)
    assert report.first == report.last == "2023-11-14T22:13:20Z"
    assert report.rejected == 3


# The command


def test_check_prints_what_is_odd(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", GOOD, GOOD, GOOD.replace("impression", "bought"))
    done = CliRunner().invoke(events_command, ["check", str(path)])
    assert done.exit_code == 0, done.output
    assert "2 events, 2024-05-01T10:00:00Z" in done.output
    assert "rejected: 1 rows: not an action" in done.output
    assert "[duplicate]" in done.output
    assert "e.g. impression of 'a' for 'q' in request 'r1', position 1, device phone" in done.output


def test_check_answers_in_json(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", GOOD, GOOD)
    rejects = tmp_path / "rejects.jsonl"
    done = CliRunner().invoke(
        events_command, ["check", str(path), "--json", "--rejects", str(rejects)]
    )
    answer = json.loads(done.stdout)
    assert answer["events"] == 2
    assert answer["by_action"]["impression"] == 2
    assert "duplicate" in {f["code"] for f in answer["findings"]}
    assert not rejects.exists()


def test_check_maps_columns_and_can_be_strict(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", GOOD, header=HEADER.replace("query", "seed"))
    run = CliRunner().invoke
    assert run(events_command, ["check", str(path), "--map", "query=seed"]).exit_code == 0
    assert run(events_command, ["check", str(path), "--map", "query"]).exit_code == 2
    bad = write(tmp_path / "bad.csv", GOOD, GOOD.replace("impression", "x"))
    strict = run(events_command, ["check", str(bad), "--strict"])
    assert isinstance(strict.exception, InputError)


def test_where_of_a_log_keeps_its_counts() -> None:
    log: EventLog = join_events(events_of([{}, {}, {"candidate": "b"}]))
    assert log.where(log.candidate == log.candidate[0]).duplicates == 1
