"""Memory that a computation works in and leaves for the next one."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Scratch(Protocol):
    """room: what it is large enough for, such as so many images."""

    @property
    def room(self) -> tuple[int, ...]: ...


S = TypeVar("S", bound=Scratch)


class Resting(Generic[S]):
    """Scratch that nobody works in. Thread-safe: list.pop and append are atomic.

    Who is interrupted must not give its scratch back: it may not be as the next one expects it.
    """

    def __init__(self) -> None:
        self._resting: list[S] = []

    def take(self, *room: int) -> S | None:
        """One with at least this room; None: make a new one. Smaller ones are let go."""
        while True:
            try:
                found = self._resting.pop()
            except IndexError:
                return None
            for has, needs in zip(found.room, room, strict=True):
                if has < needs:
                    break
            else:
                return found

    def give_back(self, scratch: S) -> None:
        """For others, or for oneself the next time."""
        self._resting.append(scratch)


def with_headroom(n: int) -> int:
    """Room for n, and for some more that come later. What is not used takes no memory."""
    return n + n // 16 + 64
