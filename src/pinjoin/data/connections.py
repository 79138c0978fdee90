"""Connections that can be cut from outside, when a request takes too long or is not wanted."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Guard:
    """A request under way: when it must be over, and the connection to cut then."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline  # of time.monotonic()
        self.ended = False
        self._socket: socket.socket | None = None

    def watch(self, connected: socket.socket) -> None:
        """This is the request's connection from now on."""
        self._socket = connected
        if self.ended:
            self.end()

    def end(self) -> None:
        """Let whoever reads from the connection find its end, now."""
        self.ended = True
        if self._socket is not None:
            # Not its own shutdown: that of a TLS socket takes apart what another thread reads.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Guards:
    """All requests under way, of any number of threads."""

    def __init__(self) -> None:
        self._open: set[Guard] = set()
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def request(self, seconds: float) -> Iterator[Guard]:
        """Guard the request that this thread makes in this context with a `pool_manager`."""
        guard = Guard(time.monotonic() + seconds)
        with self._lock:
            guard.ended = self._closed
            self._open.add(guard)
        _local.guard = guard
        try:
            yield guard
        finally:
            _local.guard = None
            with self._lock:
                self._open.discard(guard)

    def end_overdue(self) -> None:
        """Cut those whose deadline is over."""
        now = time.monotonic()
        with self._lock:
            for guard in self._open:
                if now > guard.deadline:
                    guard.end()

    def end_all(self) -> None:
        """Cut all, and those that begin later."""
        with self._lock:
            self._closed = True
            for guard in self._open:
                guard.end()


def pool_manager(num_pools: int, maxsize: int) -> PoolManager:
    """urllib3's, with connections that tell the thread's guard when they are used."""
    pools = PoolManager(num_pools=num_pools, maxsize=maxsize)
    pools.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pools


class _Local(threading.local):
    guard: Guard | None = None


_local = _Local()


def _watch(connected: socket.socket | None) -> None:
    if _local.guard is not None and connected is not None:
        _local.guard.watch(connected)


class _HttpConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _watch(self.sock)

    def putrequest(self, *args: object, **options: object) -> None:
        _watch(self.sock)  # of an earlier request
        super().putrequest(*args, **options)  # type: ignore[arg-type]


class _HttpsConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _watch(self.sock)

    def putrequest(self, *args: object, **options: object) -> None:
        _watch(self.sock)
        super().putrequest(*args, **options)  # type: ignore[arg-type]


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
