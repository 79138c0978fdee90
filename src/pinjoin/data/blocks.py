"""What every reader yields: some rows as the file has them, and where in the file they stand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa

from pinjoin.data.rejects import Rejects
from pinjoin.data.schema import Type

T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """A row the reader could not split into fields."""

    row: int
    value: object
    reason: str
    remedy: str = ""
    column: str | None = None


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of one file, in the file's own types.

    `columns` are keyed by the file's column names and `length` long. `rows(i)` gives the 1-based
    line (text) or record (columnar) numbers of the rows `i`; it is asked only about rows that
    are rejected, so it may be slow. `faults` are rows between these that could not be read.
    """

    columns: Mapping[str, pa.Array]
    length: int
    rows: Callable[[np.ndarray], np.ndarray]
    faults: Sequence[Fault] = field(default=())

    def report(self, file: str, rejects: Rejects) -> None:
        """Put the faults in the list of rejects."""
        for fault in self.faults:
            rejects.add(
                file=file,
                row=fault.row,
                column=fault.column,
                value=fault.value,
                reason=fault.reason,
                remedy=fault.remedy,
            )


class Part(Protocol):
    """One file of a table, opened far enough to know its columns."""

    @property
    def name(self) -> str:
        """What to call the file in messages."""

    @property
    def columns(self) -> Sequence[str]:
        """The file's column names, in order."""

    @property
    def length(self) -> int | None:
        """Number of rows where the file says it, else None. 0: the file certainly has no row."""

    @property
    def complete(self) -> bool:
        """Whether `columns` are all; False where only the first rows were asked for theirs."""

    def column_type(self, column: str) -> pa.DataType | None:
        """The declared type of a column; None in text formats, where each value tells its own."""

    def look(self, columns: Sequence[str]) -> dict[str, Type]:
        """The types of columns, as declared or as their first values look, if they have any."""

    def blocks(self, columns: Sequence[str], one_line: Collection[str] = ()) -> Iterator[Block]:
        """The rows, with these columns only.

        A line break in a column of `one_line` is sure to be a mistake (an id, a path), which
        helps text formats to tell a quote that is not closed from a field of several lines.
        """


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next one being made in a thread while the last one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        sentinel = object()
        upcoming = pool.submit(next, items, sentinel)
        while (item := upcoming.result()) is not sentinel:
            upcoming = pool.submit(next, items, sentinel)
            yield item  # type: ignore[misc]
