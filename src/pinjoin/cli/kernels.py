"""The first command compiles the inner loops once; say so instead of seeming to hang."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def announce_compilation() -> Iterator[None]:
    """Print one line if a kernel is compiled (not merely loaded from its cache) inside."""
    from pinjoin.core._compiling_kernel import on_compile

    said = False

    def say() -> None:
        nonlocal said
        if not said:
            said = True
            click.echo("compiling kernels, once …", err=True)

    with on_compile(say):
        yield
