"""Progress of long work: a bar on a terminal, plain lines in a log, silence in a library."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO

Advance = Callable[[int], None]
"""Called with how many more units are done."""

Progress = Callable[[str, int | None], AbstractContextManager[Advance]]
"""`with progress("reading pins", total) as advance: ... advance(n)`; total None = unknown."""


@contextmanager
def silent(what: str, total: int | None = None) -> Iterator[Advance]:
    """The library's default: says nothing."""
    yield lambda n: None


def reporter(stream: TextIO | None = None, every_s: float = 10.0) -> Progress:
    """What the command line uses, on `stream` (stderr by default).

    A terminal gets a bar; a log gets a plain line at the start, every `every_s` seconds and
    at the end, with the rate.
    """
    out = stream if stream is not None else sys.stderr
    return _bar(out) if out.isatty() else _lines(out, every_s)


def _bar(out: TextIO) -> Progress:
    @contextmanager
    def show(what: str, total: int | None = None) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(file=out)) as bar:
            task = bar.add_task(what, total=total)
            yield lambda n: bar.advance(task, n)

    return show


def _lines(out: TextIO, every_s: float) -> Progress:
    @contextmanager
    def show(what: str, total: int | None = None) -> Iterator[Advance]:
        start = last = time.monotonic()
        done = 0

        def advance(n: int) -> None:
            nonlocal done, last
            done += n
            now = time.monotonic()
            if now - last >= every_s:
                last = now
                of = f" of {total:,} ({100 * done / total:.0f} %)" if total else ""
                print(f"{what}: {done:,}{of}, {done / (now - start):,.0f}/s", file=out, flush=True)

        yield advance
        seconds = time.monotonic() - start
        print(f"{what}: {done:,} in {seconds:.1f} s", file=out, flush=True)

    return show
