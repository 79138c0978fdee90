"""Logs of what was shown and what people did with it, as batches in one schema.

An event is an impression (a candidate shown for a query, in a request, at a position, on a
device) or an action on one. Files are read as tables of pins are: any format, any number of
parts, streamed; what cannot be used is rejected with its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.core.progress import Progress, silent
from pinjoin.data import strings, values
from pinjoin.data.blocks import Block, Part
from pinjoin.data.cleaning import Cleaner
from pinjoin.data.intake import NO_TIME, Intake
from pinjoin.data.locations import Where
from pinjoin.data.rejects import Rejects
from pinjoin.data.schema import TIMESTAMP
from pinjoin.data.tables import Table, open_table, read_blocks

ACTIONS = ("impression", "click", "clickthrough", "save", "hide")
"""What an event can be, by its code."""

EVENTS = pa.schema(
    [
        pa.field("time", TIMESTAMP),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string()),
        pa.field("query", pa.string(), nullable=False),
        pa.field("candidate", pa.string(), nullable=False),
        pa.field("position", pa.string()),  # "3", or "2,5" for a grid; null: see its impression
        pa.field("device", pa.string()),
        pa.field("surface", pa.string()),
        pa.field("action", pa.string(), nullable=False),
        pa.field("propensity", pa.float64()),  # of an impression; see PROPENSITY
    ]
)
"""Columns of an event log, in order."""

CONTEXT = pa.schema(
    [
        pa.field("phrase", pa.string()),  # what the person searched for
        pa.field("locale", pa.string()),  # the person's, as your column `locale` of the pins has it
    ]
)
"""What the log of a request may say of the person, besides who it was."""

LOGGED = pa.schema([*EVENTS, *CONTEXT])
"""Columns of an event log in files, in order."""

PROPENSITY = "how likely what was shown was to be shown there, when it was: above 0, at most 1"
"""What the propensity of an impression is; estimates of other policies need it."""

REQUIRED = ("request_id", "query", "candidate", "device", "action")
"""Columns that a log must have, besides `position`, or `row` and `column` in its place."""

GRID = ("row", "column")

NO_ACTION = "not an action"
NO_PLACE = "not a position"
NO_POSITION = "an impression without a position"
NO_PROPENSITY = "not a probability above 0 and at most 1; the row is kept without it"

_REMEDIES = {
    NO_ACTION: f"Write one of {', '.join(ACTIONS)}; leave other events out.",
    NO_PLACE: 'Write a whole number ≥ 0, or row and column of a grid as "2,5".',
    NO_POSITION: "Write where it was shown: without it, its clicks cannot be judged.",
    NO_PROPENSITY: f"Write {PROPENSITY}.",
}
_DIGITS = 9
_PLACE = rf"^\d{{1,{_DIGITS}}}(,\d{{1,{_DIGITS}}})?$"
_GRID_FORM = r"^[\[(]?\s*(\d+)\s*,\s*(\d+)\s*[\])]?$"


class EventSource:
    """Events in files. Made by `open_events`."""

    def __init__(self, table: Table, mapping: Mapping[str, str]) -> None:
        self.name = table.name
        self.schema = LOGGED
        self._table = table
        self._columns = [_resolve(part, mapping) for part in table.parts]

    @property
    def length(self) -> int | None:
        """Number of rows, bad ones included; None where only reading to the end would tell."""
        return self._table.length

    @property
    def missing(self) -> tuple[str, ...]:
        """Optional columns that no part has."""
        found = {name for columns in self._columns for name in columns}
        found |= {"position"} if found >= set(GRID) else set()
        return tuple(name for name in LOGGED.names if name not in found)

    def fingerprint(self) -> str:
        """A hash (hex) of the input, as of a table of pins."""
        return self._table.fingerprint()

    def batches(self, rejects: Rejects, progress: Progress = silent) -> Iterator[pa.RecordBatch]:
        """The good rows in input order, in the schema LOGGED; never an empty batch.

        Can be called again for another pass. InputError at the end if every row was rejected.
        """
        for name in self._table.empty:
            rejects.note_file(name, "this part has no rows", "Check that its export is whole.")
        good = 0
        before = rejects.count
        with progress("reading events", self._table.length) as advance:
            for part, columns in zip(self._table.parts, self._columns, strict=True):
                cleaner = _EventCleaner(columns, part.name, rejects)
                theirs = set(columns.values())
                for block in read_blocks(part, sorted(theirs), theirs):
                    batch = cleaner.clean(block)
                    advance(block.length + len(block.faults))
                    if batch.num_rows:
                        good += batch.num_rows
                        yield batch
        if not good:
            raise InputError(
                f"{self.name}: none of its events can be used; {rejects.count - before:,} were "
                f"rejected, most often because: {rejects.commonest()}. The list of rejects has "
                "each row with its remedy."
            )


def open_events(
    where: Where,
    mapping: Mapping[str, str] | None = None,
    *,
    encoding: str | None = None,
    filesystem: Any = None,
) -> EventSource:
    """The event log at `where`: a file, a directory or glob of parts, an address, or a list.

    Formats, places, `mapping` (`{"query": "their_column"}`; an empty name leaves a column out)
    and `encoding` are as for `open_source`. Columns: `request_id`, `query`, `candidate`,
    `device`, `action` and `position`, or `row` and `column` in its place; optional are `time`,
    `user_id`, `surface`, `propensity`, `phrase` and `locale`. Positions are whole numbers ≥ 0 or
    "row,column". An action may leave its position and device empty: it gets those of its
    impression.

    Rejected are rows without an id, with an unknown action, with a position that is none, and
    impressions without one. Raises ConfigError for a wrong parameter, InputError (before any
    row is read) for what is missing, unreadable, empty, or without a required column.
    """
    given = _check_mapping(mapping or {})
    wanted = [given.get(name, name) for name in (*LOGGED.names, *GRID)]
    return EventSource(open_table(where, wanted, encoding=encoding, filesystem=filesystem), given)


def _check_mapping(mapping: Mapping[str, str]) -> dict[str, str]:
    known = (*LOGGED.names, *GRID)
    for column, theirs in mapping.items():
        if column not in known:
            close = get_close_matches(column, known, n=2)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise ConfigError(
                f"{column!r} is not a column of events.{hint} Columns that can be mapped are "
                f"{', '.join(known)}."
            )
        if not theirs and column in REQUIRED and column != "device":
            raise ConfigError(
                f"The mapping leaves {column} out, which events need. Name your column: "
                f"--map {column}=COLUMN."
            )
    return dict(mapping)


def _resolve(part: Part, mapping: Mapping[str, str]) -> dict[str, str]:
    """The part's column for each of ours that it has."""
    wanted = {name: mapping.get(name, name) for name in (*LOGGED.names, *GRID)}
    found = {name: theirs for name, theirs in wanted.items() if theirs in part.columns}
    for name, theirs in wanted.items():
        if name not in found and theirs and (name in REQUIRED or name in mapping):
            raise _missing(part, name, theirs)
    if "position" not in found and not set(GRID) <= set(found):
        raise _missing(part, "position", wanted["position"])
    for name in GRID:
        if "position" in found:
            found.pop(name, None)
    for name, theirs in found.items():
        _check_column(part, name, theirs)
    return found


def _missing(part: Part, name: str, theirs: str) -> InputError:
    close = get_close_matches(theirs.lower(), [c.lower() for c in part.columns], n=1, cutoff=0.6)
    names = [c for c in part.columns if c.lower() in close]
    hint = f" Did you mean --map {name}={names[0]}?" if names else ""
    what = f"no column {theirs!r}" + (f" (mapped to {name})" if theirs != name else "")
    instead = " (or row and column, for a grid)" if name == "position" else ""
    without = " Without devices, leave it out: --map device=." if name == "device" else ""
    return InputError(
        f"{part.name} has {what}{instead}. Its columns are {', '.join(part.columns) or 'none'}."
        f"{hint} Name the column that holds it: --map {name}=COLUMN.{without}"
    )


def _check_column(part: Part, name: str, theirs: str) -> None:
    if (times := list(part.columns).count(theirs)) > 1:
        raise InputError(
            f"{part.name} has {times} columns named {theirs!r}, so {name} could be any of them. "
            "Rename all but one."
        )
    kind = part.column_type(theirs)
    if kind is None or _fits(name, kind):
        return
    allowed = "a number" if name == "propensity" else "text or whole numbers"
    if name == "time":
        allowed = "a timestamp, a date, unix seconds or ISO 8601 text"
    raise InputError(
        f"{part.name}: column {theirs!r} has type {kind}; {name} must be {allowed}. "
        f"Convert it, or map another column: --map {name}=COLUMN."
    )


def _fits(name: str, kind: pa.DataType) -> bool:
    t = pa.types
    kind = kind.value_type if t.is_dictionary(kind) else kind
    text = (t.is_string, t.is_large_string, t.is_string_view, t.is_binary, t.is_large_binary)
    if any(test(kind) for test in (*text, t.is_binary_view, t.is_null)):
        return True
    if name == "time" and (t.is_timestamp(kind) or t.is_date(kind)):
        return True
    return bool(t.is_integer(kind) or t.is_floating(kind))


class _EventCleaner(Cleaner):
    """Makes batches of LOGGED of one file's blocks."""

    def __init__(self, columns: Mapping[str, str], file: str, rejects: Rejects) -> None:
        super().__init__(LOGGED, columns, file, rejects)

    def clean(self, block: Block) -> pa.RecordBatch:
        """The good rows of a block; it may have none."""
        block.report(self._file, self._rejects)
        if not block.length:
            return pa.RecordBatch.from_pylist([], schema=LOGGED)
        work = Intake(block, self._file, self._rejects)
        arrays = {field.name: self._event_column(field, work) for field in LOGGED}
        shown = pc.equal(arrays["action"], ACTIONS[0])
        unplaced = values.rows_of(pc.and_(shown, arrays["position"].is_null()))
        _lose(work, unplaced, "position", pa.nulls(block.length), NO_POSITION)
        batch = pa.RecordBatch.from_arrays(list(arrays.values()), schema=LOGGED)
        return batch.filter(pa.array(~work.lost)) if work.any_lost else batch

    def _event_column(self, field: pa.Field, work: Intake) -> pa.Array:
        name = field.name
        if name == "position" and name not in self._columns:
            row, column = (self._place(part, work) for part in GRID)
            return pc.binary_join_element_wise(row, column, ",")
        if name not in self._columns:
            return self._null(field, work.block.length)
        if name == "position":
            return self._place(name, work)
        raw = work.block.columns[self._columns[name]]
        if name == "time":
            return work.values(name, raw, values.times, NO_TIME)
        if name == "propensity":
            remedy = _REMEDIES[NO_PROPENSITY]
            return work.values(name, raw, _propensities, NO_PROPENSITY, remedy)
        if name == "phrase":
            return work.text(name, raw)
        ids = work.ids(name, raw, required=not field.nullable)
        return _actions(ids, work) if name == "action" else ids

    def _place(self, name: str, work: Intake) -> pa.StringArray:
        """A position in its one form: "3" or "2,5"."""
        raw = work.block.columns[self._columns[name]]
        text = work.ids(name, raw, required=False)
        if _all_in_form(text):
            return text
        given = text
        text = pc.replace_substring_regex(text, _GRID_FORM, r"\1,\2")
        bad = values.rows_of(pc.invert(pc.match_substring_regex(text, _PLACE)))
        if name != "position":
            bad |= values.rows_of(pc.match_substring(text, ","))
        _lose(work, bad, name, given, NO_PLACE)
        return pc.replace_substring_regex(text, r"(^|,)0+(\d)", r"\1\2")


def _lose(work: Intake, bad: np.ndarray, column: str, given: pa.Array, reason: str) -> None:
    work.lose(bad, column, given, reason, _REMEDIES[reason])


def _actions(ids: pa.StringArray, work: Intake) -> pa.StringArray:
    known = pa.array(ACTIONS)
    if pc.index_in(ids, known).null_count:
        given = ids
        ids = pc.utf8_lower(ids)
        _lose(work, values.rows_of(pc.invert(pc.is_in(ids, known))), "action", given, NO_ACTION)
    return ids


def _propensities(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    found, bad = values.numbers(array)
    given = found.to_numpy(zero_copy_only=False)
    outside = (given <= 0) | (given > 1)
    return pa.array(given, mask=np.isnan(given) | outside), bad | outside


def _all_in_form(text: pa.StringArray) -> bool:
    """Whether all are whole numbers without leading zeros: then they can stay as they are."""
    view = strings.View.of(text)
    low, high = view.range()
    lengths = view.lengths
    if low < ord("0") or high > ord("9") or lengths.max(initial=0) > _DIGITS:
        return False
    return not (view.data[view.offsets[:-1][lengths > 1]] == ord("0")).any()
