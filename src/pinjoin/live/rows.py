"""Rows of a stored table, and those that are new or have changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.snapshot.tables import Rows


class LiveRows(Rows):
    """As `Rows`; `records` has what is said of the rows that are new, or other than stored."""

    def __init__(self, stored: Rows, records: Mapping[int, Mapping[str, Any]], n: int) -> None:
        self.table = stored.table
        self._stored, self._records, self._n = stored, records, n

    def __len__(self) -> int:
        return self._n

    def value(self, row: int, column: str) -> Any:
        """As `Rows.value`."""
        record = self._records.get(int(row))
        return self._stored.value(row, column) if record is None else record.get(column)

    def dicts(
        self, rows: Sequence[int] | npt.NDArray[np.integer[Any]], columns: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """As `Rows.dicts`."""
        names = columns or self.table.column_names
        found = []
        for row in np.asarray(rows, np.int64).tolist():
            record = self._records.get(row)
            if record is None:
                found += self._stored.dicts([row], names)
            else:
                found.append({name: record.get(name) for name in names})
        return found
