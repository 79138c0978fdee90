"""Tells when numba compiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event


class _Listener(event.Listener):  # type: ignore[misc]
    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def on_start(self, event: Any) -> None:
        self._call()

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def on_compile(call: Callable[[], None]) -> Iterator[None]:
    """Run `call` whenever a kernel starts to be compiled; loading a cached one is no compiling."""
    with event.install_listener("numba:compile", _Listener(call)):
        yield
