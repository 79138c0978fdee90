"""What could not be used of the input, and why: counted, listed in a file, or fatal if strict."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Literal

from pinjoin.core.closing import Closing
from pinjoin.core.errors import InputError

# Reasons the joins give (the readers' own stand beside their checks).
DUPLICATE_BOARD = "this board_id was already given by an earlier row; the first row is kept"
DUPLICATE_PIN = "this pin_id was already given by an earlier row; the first row is kept"
UNKNOWN_BOARD = "no row of the boards table has this board_id"

VALUE_LIMIT = 200
"""A listed value is cut to this many characters."""

# Characters that end a line or steer a terminal, which JSON lets stand.
_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}

Dropped = Literal["row", "value"]


class Rejects(Closing):
    """Counts what the input lost and lists it, one JSON object per line, in `path`.

    Each line has `file`, `row` (1-based: the physical line of a text file, whose header is line
    1; the record of a columnar one; null if it is not one row's fault), `column`, `value` (cut
    to 200 characters), `reason`, `remedy` and `dropped`: `"row"` where the whole row is left
    out, `"value"` where the row is kept and only this value of it is null.

    The file is made on the first reject; one left there by an earlier run is removed on
    entering. At most `limit` lines are listed, so that a table of a hundred million bad rows
    does not fill the disk; the counts stay exact and the last line says how many are missing.

    With `strict`, the first reject of either sort raises InputError instead.
    `path=None` counts without listing.
    """

    def __init__(self, path: Path | None, strict: bool = False, limit: int = 100_000) -> None:
        self.path = path
        self.strict = strict
        self.limit = limit
        self.by_reason: Counter[str] = Counter()
        self.dropped_values: Counter[str] = Counter()
        self._listed = 0
        self._out: IO[str] | None = None

    @property
    def count(self) -> int:
        """How many rows were left out."""
        return self.by_reason.total()

    def add(
        self,
        *,
        file: str,
        row: int | None,
        column: str | None,
        value: object,
        reason: str,
        remedy: str = "",
    ) -> None:
        """Leave one row out."""
        self.add_many(
            file=file, rows=[row], column=column, values=[value], reason=reason, remedy=remedy
        )

    def add_many(
        self,
        *,
        file: str,
        rows: Sequence[int | None],
        column: str | None,
        values: Iterable[object],
        reason: str,
        remedy: str = "",
        dropped: Dropped = "row",
    ) -> None:
        """Leave out many rows of one file for one reason, or (`dropped="value"`) one value of each.

        `values` runs beside `rows` and is read only as far as the list has room.
        """
        counts = self.by_reason if dropped == "row" else self.dropped_values
        counts[reason] += len(rows)
        room = len(rows) if self.strict else max(0, self.limit - self._listed)
        for row, value in zip(rows[:room], values, strict=False):
            given = None if value is None else _short(value)
            if self.strict:
                raise InputError(_sentence(file, row, column, given, reason, remedy))
            self._write(file, row, column, given, reason, remedy, dropped)
        self._listed += min(room, len(rows))

    def note_file(self, file: str, reason: str, remedy: str = "") -> None:
        """List something about a whole file that costs no row: not counted, but fatal if strict."""
        if self.strict:
            raise InputError(_sentence(file, None, None, None, reason, remedy))
        self._write(file, None, None, None, reason, remedy)

    def commonest(self) -> str:
        """The most frequent reason for leaving out a row; '' if there was none."""
        return self.by_reason.most_common(1)[0][0] if self.by_reason else ""

    def __enter__(self) -> Rejects:
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        return self

    def close(self) -> None:
        """Say how many were not listed, and close the file."""
        if self._out is None:
            return
        missing = self.count + self.dropped_values.total() - self._listed
        if missing:
            self._write("", None, None, None, f"{missing:,} more are counted but not listed", "")
        self._out.close()
        self._out = None

    def _write(
        self,
        file: str,
        row: int | None,
        column: str | None,
        value: str | None,
        reason: str,
        remedy: str,
        dropped: Dropped = "row",
    ) -> None:
        if self.path is None:
            return
        if self._out is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._out = self.path.open("a", encoding="utf-8")
        line = {
            "file": file,
            "row": None if row is None else int(row),
            "column": column,
            "value": value,
            "reason": reason,
            "remedy": remedy,
            "dropped": dropped,
        }
        self._out.write(json.dumps(line, ensure_ascii=False).translate(_ESCAPED) + "\n")


def _short(value: object) -> str:
    """`value` as text of at most VALUE_LIMIT characters; bytes that are not UTF-8 as \\xNN."""
    if isinstance(value, bytes):
        value = value[: 4 * VALUE_LIMIT].decode("utf-8", errors="backslashreplace")
    text = str(value)
    return text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 1] + "…"


def _sentence(
    file: str, row: int | None, column: str | None, value: str | None, reason: str, remedy: str
) -> str:
    where = file + (f", row {row}" if row is not None else "")
    where += f", column {column}" if column else ""
    got = f" Got {value!r}." if value is not None else ""
    return f"{where}: {reason}.{got}{' ' + remedy if remedy else ''}"
