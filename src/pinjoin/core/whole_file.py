"""A file that appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """A place beside a file to write to. What is there takes the file's place, durably, when the
    block ends well; else it is removed."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        yield unfinished
        with unfinished.open("rb+") as handle:
            os.fsync(handle.fileno())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
