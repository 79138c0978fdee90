"""Policies in files: how likely each candidate is to be shown in a context."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import pyarrow as pa

from pinjoin.core.errors import InputError
from pinjoin.data import values
from pinjoin.data.blocks import Part
from pinjoin.data.intake import NO_NUMBER, Intake
from pinjoin.data.locations import Where
from pinjoin.data.rejects import Rejects
from pinjoin.data.tables import open_table, read_blocks

CONTEXT = ("query", "position", "device", "surface")
"""Columns of a policy that may make a context; named and written as in the event log."""

_REQUIRED = ("candidate", "probability")


def read_policy(where: Where, *, encoding: str | None = None, filesystem: Any = None) -> pa.Table:
    """The policy at `where` (any format, any number of parts): `candidate` string, `probability`
    float64, and those of CONTEXT that it has, string.

    Positions are written as "3", or "2,5" for row and column. Other columns are left out. One bad
    row is an InputError: without it the probabilities would no longer add up.
    """
    table = open_table(where, _REQUIRED, encoding=encoding, filesystem=filesystem)
    first = table.parts[0]
    columns = [name for name in (*CONTEXT, *_REQUIRED) if name in first.columns]
    rejects = Rejects(None, strict=True)
    batches = []
    for part in table.parts:
        _check_columns(part, [*columns, *_REQUIRED])
        for block in read_blocks(part, columns, columns):
            block.report(part.name, rejects)
            work = Intake(block, part.name, rejects)
            batches += [_batch(columns, work)] if block.length else []
    return pa.Table.from_batches(batches)


def _check_columns(part: Part, columns: list[str]) -> None:
    for name in columns:
        if name not in part.columns:
            close = get_close_matches(name, part.columns, n=1)
            hint = f" Is it {close[0]!r}?" if close else ""
            raise InputError(
                f"{part.name} has no column {name!r}.{hint} A policy has candidate, probability "
                f"and, in every part alike, any of {', '.join(CONTEXT)}. Rename yours."
            )


def _batch(columns: list[str], work: Intake) -> pa.RecordBatch:
    arrays = {}
    for name in columns:
        raw = work.block.columns[name]
        arrays[name] = (
            work.values(name, raw, values.numbers, NO_NUMBER)
            if name == "probability"
            else work.ids(name, raw, required=name == "candidate")
        )
    return pa.RecordBatch.from_pydict(arrays)
