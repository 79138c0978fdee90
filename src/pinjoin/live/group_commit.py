"""Many callers, one disk: what they hand in while it is busy is written in one transaction."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from pinjoin.core.errors import check
from pinjoin.live.errors import UnavailableError

Item = TypeVar("Item")
Result = TypeVar("Result")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


@dataclass(frozen=True)
class GroupCommitConfig:
    """When a group is complete, and how long callers wait."""

    max_rows: int = 5_000  # of a group; one larger item is a group of its own
    linger_s: float = 0.002  # how long the first of a group waits for others
    patience_s: float = 5.0  # how long to try again before a caller gets the error
    max_waiting_rows: int = 200_000  # beyond, new items are refused at once

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_waiting_rows"):
            value = getattr(self, name)
            check(value > 0, name, "GroupCommitConfig", "a positive integer", value)
        for name in ("linger_s", "patience_s"):
            value = getattr(self, name)
            check(0 <= value <= 3600, name, "GroupCommitConfig", "0 to 3,600 seconds", value)


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    rows: int
    until: float  # time.monotonic(): no more tries after it
    future: Future[Result]


class GroupCommit(Generic[Item, Result]):
    """A thread that writes, and a queue in front of it.

    `write` stores a group and returns when it is durable, with a result or an exception for
    each item. Where it raises UnavailableError, nothing is known to be stored: the group is
    tried again with growing pauses, so writing an item twice must do no harm. Where it raises
    anything else, all items of the group fail.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        config: GroupCommitConfig,
    ) -> None:
        self._write = write
        self._config = config
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._rows = 0  # of those waiting
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, item: Item, rows: int = 1) -> Future[Result]:
        """Hand in an item. The future is done when the item is durable, or has failed.

        Raises UnavailableError, and takes nothing, when closed or when too many are waiting.
        """
        future: Future[Result] = Future()
        until = time.monotonic() + self._config.patience_s
        with self._changed:
            if self._closed:
                raise UnavailableError("The store is closed. Open it again.")
            if self._rows and self._rows + rows > self._config.max_waiting_rows:
                raise UnavailableError(
                    f"{self._rows:,} changes are waiting to be written. Try again later, with "
                    "the same key."
                )
            self._waiting.append(_Waiting(item, rows, until, future))
            self._rows += rows
            if self._rows == rows or self._rows >= self._config.max_rows:
                self._changed.notify()
        return future

    def close(self) -> None:
        """Write what is waiting, then stop. Nothing is taken any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while group := self._next(pause):
            results: Sequence[Result | Exception]
            try:
                results = self._write([one.item for one in group])
            except UnavailableError as error:
                pause = min(max(2 * pause, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                self._put_back(group, error)
                continue
            except Exception as error:
                results = [error] * len(group)
            pause = 0.0
            for one, result in zip(group, results, strict=True):
                _resolve(one.future, result)

    def _next(self, pause: float) -> list[_Waiting[Item, Result]]:
        """The next group, once it is complete; empty when closed and all is written."""
        with self._changed:
            if pause:
                self._changed.wait_for(lambda: self._closed, pause)
            while self._waiting or not self._closed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                self._changed.wait_for(self._complete, self._config.linger_s)
                if group := self._take():  # not if all of it was cancelled
                    return group
        return []

    def _complete(self) -> bool:
        return self._closed or self._rows >= self._config.max_rows

    def _take(self) -> list[_Waiting[Item, Result]]:
        group: list[_Waiting[Item, Result]] = []
        rows = 0
        while self._waiting and (not rows or rows + self._waiting[0].rows <= self._config.max_rows):
            one = self._waiting.popleft()
            self._rows -= one.rows
            if one.future.running() or one.future.set_running_or_notify_cancel():
                group.append(one)
                rows += one.rows
        return group

    def _put_back(self, group: list[_Waiting[Item, Result]], error: UnavailableError) -> None:
        """Those with patience left wait again, before all others; the rest fail."""
        now = time.monotonic()
        with self._changed:
            until = math.inf if self._closed else now
            again = [one for one in group if one.until > until]
            given_up = [one for one in group if one.until <= until]
            self._waiting.extendleft(reversed(again))
            self._rows += sum(one.rows for one in again)
        for one in given_up:
            one.future.set_exception(error)


def _resolve(future: Future[Result], result: Result | Exception) -> None:
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
