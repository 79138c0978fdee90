"""§III: the boards, one row each, in the order of their ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.ids import IdIndex
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import UInt32s
from pinjoin.data.rejects import DUPLICATE_BOARD, Rejects
from pinjoin.data.sources import Source


@dataclass(frozen=True)
class Boards:
    """All boards. table: row order (board_id ascending by UTF-8 bytes); index: board_id → row."""

    table: pa.Table
    index_arrays: tuple[UInt32s, UInt32s]
    index: IdIndex

    def __len__(self) -> int:
        return int(self.table.num_rows)


def read_boards(source: Source, rejects: Rejects, progress: Progress = silent) -> Boards:
    """Read, order and index the boards; a board_id given again is a reject, the first is kept."""
    table = pa.Table.from_batches(source.batches(rejects, progress), source.schema)
    ids = table["board_id"]
    first = np.sort(IdIndex.build(ids)[1])  # an index keeps the lowest row of each id
    if len(first) < table.num_rows:
        again = np.ones(table.num_rows, bool)
        again[first] = False
        rejects.add_many(
            file=source.name,
            rows=[None] * int(again.sum()),
            column="board_id",
            values=ids.filter(pa.array(again)).to_pylist(),
            reason=DUPLICATE_BOARD,
            remedy="Give every board an id of its own.",
        )
        table = table.take(pa.array(first))
    table = table.take(pc.sort_indices(table["board_id"])).combine_chunks()
    arrays = IdIndex.build(table["board_id"])
    return Boards(table, arrays, IdIndex(*arrays, table["board_id"]))
