"""A small web server whose answers a test writes, byte by byte if it likes."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    at: float
    connection: socket.socket

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, body: bytes = b"", status: str = "200 OK", **headers: str) -> None:
        """Names of headers with `_` for `-`; a length is added unless one is given."""
        headers.setdefault("Content_Length", str(len(body)))
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def close(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End the connection with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())  # its own close waits for the reader's


Behaviour = Callable[[Request], None]


@dataclass
class Web:
    """Paths and how they answer (`pages`; others: 404), and what was asked of it."""

    pages: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    most_at_once: int = 0
    connections: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Web:
        self._lock, self._now = threading.Lock(), 0
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def asked(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(request.path for request in self.requests)

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True)
        with connection:
            reader = connection.makefile("rb")
            while line := reader.readline():
                headers = {}
                while (header := reader.readline()) not in (b"\r\n", b""):
                    name, _, value = header.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                path = line.decode("latin-1").split(" ")[1]
                request = Request(path, headers, time.monotonic(), connection)
                with self._lock:
                    self.requests.append(request)
                    self._now += 1
                    self.most_at_once = max(self.most_at_once, self._now)
                try:
                    self.pages.get(path, not_found)(request)
                finally:
                    with self._lock:
                        self._now -= 1


def not_found(request: Request) -> None:
    request.answer(b"nothing here", "404 Not Found")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


def _handler(web: Web) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # The client went away, or the page ended the connection.
            with contextlib.suppress(OSError, ValueError):
                web.serve(self.request)

    return Handler
