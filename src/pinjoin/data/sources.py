"""Tables of pins and boards, from wherever they are, as batches in the canonical schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from pinjoin.core.progress import Progress, silent
from pinjoin.data.rejects import Rejects
from pinjoin.data.schema import Kind

__all__ = ["Rejects", "Source", "open_source"]


class Source(Protocol):
    """Anything that can tell pins or boards."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def schema(self) -> pa.Schema:
        """The canonical schema of its kind, with its `feature_*` columns: that of every batch."""

    def batches(self, rejects: Rejects, progress: Progress = silent) -> Iterator[pa.RecordBatch]:
        """The good rows in input order; what is wrong with the others goes to `rejects`.

        Can be called again for another pass. Batches are of some 10,000–200,000 rows, never
        empty; a source whose every row was rejected raises InputError at its end.
        """

    def fingerprint(self) -> str:
        """A hash (hex) that changes when the input does; cheap, whatever the size."""


def open_source(
    kind: Kind, where: str | Sequence[str], mapping: Mapping[str, str] | None = None
) -> Source:
    """The pins or boards at `where`. (Being written.)"""
    raise NotImplementedError
