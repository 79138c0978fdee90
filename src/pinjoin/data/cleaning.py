"""Rows as files have them → rows in the canonical schema; what cannot be used is rejected."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa

from pinjoin.data import values
from pinjoin.data.blocks import Block
from pinjoin.data.intake import NO_NUMBER, NO_TIME, Intake
from pinjoin.data.rejects import Rejects
from pinjoin.data.schema import IDS, TIMESTAMP


class Cleaner:
    """Makes canonical batches of one file's blocks."""

    def __init__(
        self,
        schema: pa.Schema,
        columns: Mapping[str, str],
        file: str,
        rejects: Rejects,
        attributes: Collection[str] = (),
    ) -> None:
        """`columns` gives the file's name for each column of `schema` that it has.

        `attributes`: those that are read as `Source` says of them.
        """
        self._schema = schema
        self._attributes = frozenset(attributes)
        self._columns = columns
        self._file = file
        self._rejects = rejects
        self._nulls: dict[str, pa.Array] = {}

    def clean(self, block: Block) -> pa.RecordBatch:
        """The good rows of a block; it may have none."""
        block.report(self._file, self._rejects)
        work = Intake(block, self._file, self._rejects)
        arrays = [self._column(field, work) for field in self._schema]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        return batch.filter(pa.array(~work.lost)) if work.any_lost else batch

    def _column(self, field: pa.Field, work: Intake) -> pa.Array:
        name = field.name
        if name not in self._columns or not work.block.length:
            return self._null(field, work.block.length)
        raw = work.block.columns[self._columns[name]]
        if name in self._attributes:
            return work.attribute(field, raw)
        if field.type == TIMESTAMP:
            return work.values(name, raw, values.times, NO_TIME)
        if field.type == pa.float64():
            return work.values(name, raw, values.numbers, NO_NUMBER)
        if name in IDS:
            return work.ids(name, raw, required=not field.nullable)
        if not field.nullable:
            return work.reference(name, raw)
        return work.text(name, raw)

    def _null(self, field: pa.Field, length: int) -> pa.Array:
        """Nulls, made once and sliced: most sources lack most columns."""
        found = self._nulls.get(field.name)
        if found is None or len(found) < length:
            found = self._nulls[field.name] = pa.nulls(length, field.type)
        return found[:length]
