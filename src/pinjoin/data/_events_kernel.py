"""The inner loops of joining actions to their impressions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

IMPRESSION, JOINED, DUPLICATE, ORPHAN = 0, 1, 2, 3
"""What became of an event."""

_LOW = np.uint64(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def group_by_request(request: Any, candidate: Any, starts: Any, keys: Any) -> None:
    """Fill keys (uint64 [n]) with candidate << 32 | event, sorted within each request.

    starts (int64 [requests + 1], zeros) becomes where each request's keys begin. Events of one
    request mostly stand together in a log, so this walks memory nearly in order.
    """
    n = len(request)
    for i in range(n):
        starts[request[i] + 1] += 1
    for r in range(len(starts) - 1):
        starts[r + 1] += starts[r]
    free = starts[:-1].copy()
    for i in range(n):
        r = request[i]
        keys[free[r]] = (np.uint64(candidate[i]) << np.uint64(32)) | np.uint64(i)
        free[r] += 1
    for r in range(len(starts) - 1):
        first, last = starts[r], starts[r + 1]
        for i in range(first + 1, last):
            if keys[i] < keys[i - 1]:
                keys[first:last].sort()
                break


@njit(cache=True, nogil=True)
def join_actions(starts: Any, keys: Any, action: Any, state: Any, owner: Any, done: Any) -> None:
    """For each event: its state, its impression (owner), and (done) the actions on impressions.

    All are [n]; action uint8 codes, 0 = impression; state uint8; owner uint32 = itself for an
    orphan; done uint8 with bit a set if action a was done. The first impression of a (request,
    candidate) in input order counts, and the first of each action.
    """
    for r in range(len(starts) - 1):
        first, last = starts[r], starts[r + 1]
        while first < last:
            candidate = keys[first] >> np.uint64(32)
            end = first
            impression = np.int64(-1)
            while end < last and keys[end] >> np.uint64(32) == candidate:
                event = np.int64(keys[end] & _LOW)
                if impression < 0 and action[event] == 0:
                    impression = event
                end += 1
            seen = 0
            for i in range(first, end):
                event = np.int64(keys[i] & _LOW)
                bit = 1 << action[event]
                owner[event] = event if impression < 0 else impression
                if seen & bit:
                    state[event] = DUPLICATE
                elif action[event] == 0:
                    state[event] = IMPRESSION
                elif impression < 0:
                    state[event] = ORPHAN
                else:
                    state[event] = JOINED
                seen |= bit
            if impression >= 0:
                done[impression] = seen
            first = end
