"""All candidates as a Parquet file, block by block: memory does not grow with images × k."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pinjoin.candidates.cooccurrence import Cooccurrence, CooccurrenceConfig
from pinjoin.core.progress import Progress, silent
from pinjoin.core.whole_file import whole_file

SCHEMA = pa.schema(
    [
        ("query", pa.uint32()),
        ("candidate", pa.uint32()),
        ("count", pa.uint32()),
        ("score", pa.float32()),
    ]
)


def export_candidates(
    incidence: Any,
    file: Path,
    k: int = 10_000,
    config: CooccurrenceConfig | None = None,
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> int:
    """Write query, candidate, count and score of every result; returns how many.

    By query row, then best first. The file appears when it is whole: it is written beside its
    place and renamed.
    """
    counter = Cooccurrence(incidence, config)
    schema = SCHEMA if counter.config.score != "count" else SCHEMA.remove(3)  # score = count
    written = 0
    with (
        whole_file(file) as unfinished,
        pq.ParquetWriter(
            unfinished, schema, compression="zstd", use_dictionary=False,
            column_encoding=dict.fromkeys(schema.names[:3], "DELTA_BINARY_PACKED"),
        ) as writer,
    ):  # fmt: skip
        for first, block in counter.blocks(k, threads=threads, progress=progress):
            queries = np.arange(first, first + len(block), dtype=np.uint32)
            columns: list[Any] = [
                np.repeat(queries, np.diff(block.indptr)),
                block.indices,
                block.counts,
            ]
            if len(schema) > 3:
                columns.append(block.scores)
            writer.write_batch(pa.record_batch(columns, schema=schema))
            written += len(block.indices)
    return written
