"""How often someone may ask: a bucket of tokens each, filled at a steady rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_BURST_S = 2.0  # what was not used of so many seconds may be used at once
_MOST = 10_000  # buckets; full ones are forgotten beyond


class Buckets:
    """One bucket per name. Not thread-safe: for the event loop."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """rate: tokens a second; 0: all may always."""
        self._rate, self._size = rate, max(1.0, rate * _BURST_S)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and when there were so many

    def take(self, name: str) -> float:
        """Take a token: 0, or how many seconds are to be waited for one."""
        if not self._rate:
            return 0.0
        now = self._clock()
        tokens, then = self._buckets.get(name, (self._size, now))
        tokens = min(self._size, tokens + (now - then) * self._rate)
        if tokens < 1:
            return math.ceil((1 - tokens) / self._rate * 1000) / 1000
        if len(self._buckets) >= _MOST and name not in self._buckets:
            self._forget(now)
        self._buckets[name] = tokens - 1, now
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop full buckets: they are as new ones. All, where that is not enough."""
        self._buckets = {
            name: (tokens, then)
            for name, (tokens, then) in self._buckets.items()
            if tokens + (now - then) * self._rate < self._size
        }
        if len(self._buckets) >= _MOST:
            self._buckets.clear()
