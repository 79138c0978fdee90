"""Whose turn it is: work queued by host, started at a polite pace, taken by several threads."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass(slots=True)
class _Host(Generic[Job]):
    fresh: deque[Job] = field(default_factory=deque)
    later: list[tuple[float, int, Job]] = field(default_factory=list)  # heap by time
    active: int = 0
    free_at: float = 0.0  # no request starts earlier
    failures: int = 0  # in a row

    def ready_at(self) -> float | None:
        """When its next job may start; None if it has none."""
        if self.fresh:
            return self.free_at
        return max(self.free_at, self.later[0][0]) if self.later else None

    def pop(self, now: float) -> Job:
        if self.later and (not self.fresh or self.later[0][0] <= now):
            return heapq.heappop(self.later)[2]
        return self.fresh.popleft()


class HostQueues(Generic[Job]):
    """Jobs by host: at most `per_host` at once and `rate` starts a second of each.

    Threads `take` a job, may `put` others because of it, and then `release` its host. Jobs of a
    host start in the order they were put, but for delayed ones.
    """

    def __init__(
        self, per_host: int, rate: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_host, self._pace, self._clock = per_host, 1 / rate, clock
        self._hosts: dict[str, _Host[Job]] = {}
        # Entries may be out of date, never too late for the host's first job: see `take`.
        self._turns: list[tuple[float, int, str]] = []
        self._count = count()
        self._waiting = 0
        self._active = 0
        self._stopped = False
        self._changed = threading.Condition()

    def put(self, host: str, job: Job, delay: float = 0.0) -> None:
        """Queue a job, to start `delay` seconds from now at the earliest."""
        with self._changed:
            queue = self._hosts.setdefault(host, _Host())
            if delay > 0:
                heapq.heappush(queue.later, (self._clock() + delay, next(self._count), job))
            else:
                queue.fresh.append(job)
            self._waiting += 1
            # A queue of many fresh jobs needs but one entry.
            if delay > 0 or len(queue.fresh) == 1:
                self._line_up(host, queue)

    def take(self) -> Job | None:
        """Wait for the next job that may start; None once all are done, or after `stop`."""
        with self._changed:
            while not self._stopped and (self._waiting or self._active):
                wait = self._wait_for_turn()
                if wait == 0:
                    return self._start(heapq.heappop(self._turns)[2])
                self._changed.wait(wait)
            return None

    def release(self, host: str) -> None:
        """A job of this host has ended."""
        with self._changed:
            queue = self._hosts[host]
            queue.active -= 1
            self._active -= 1
            self._line_up(host, queue)
            if not self._active and not self._waiting:
                self._changed.notify_all()

    def pause(self, host: str, seconds: float) -> None:
        """Start nothing of this host for so long."""
        with self._changed:
            queue = self._hosts[host]
            queue.free_at = max(queue.free_at, self._clock() + seconds)

    def answered(self, host: str, well: bool) -> int:
        """Note how a host answered; returns how many times in a row it did not answer well."""
        with self._changed:
            queue = self._hosts[host]
            queue.failures = 0 if well else queue.failures + 1
            return queue.failures

    def drain(self, host: str) -> list[Job]:
        """Take all waiting jobs of a host away."""
        with self._changed:
            queue = self._hosts[host]
            jobs = [*queue.fresh, *(job for _, _, job in sorted(queue.later))]
            queue.fresh.clear()
            queue.later.clear()
            self._waiting -= len(jobs)
            return jobs

    def stop(self) -> None:
        """Let every `take` return None."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _line_up(self, host: str, queue: _Host[Job]) -> None:
        at = queue.ready_at()
        if at is not None and queue.active < self._per_host:
            heapq.heappush(self._turns, (at, next(self._count), host))
            self._changed.notify()

    def _wait_for_turn(self) -> float | None:
        """Seconds until the first entry is due (0: now); None: until something changes."""
        while self._turns:
            at, _, host = self._turns[0]
            queue = self._hosts[host]
            true = queue.ready_at()
            if true is None or queue.active >= self._per_host:
                heapq.heappop(self._turns)  # `release` or `put` lines it up again
            elif true > at:
                heapq.heapreplace(self._turns, (true, next(self._count), host))
            else:
                return max(0.0, at - self._clock())
        return None

    def _start(self, host: str) -> Job:
        queue, now = self._hosts[host], self._clock()
        job = queue.pop(now)
        queue.free_at = now + self._pace
        queue.active += 1
        self._active += 1
        self._waiting -= 1
        self._line_up(host, queue)
        return job
