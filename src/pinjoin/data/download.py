"""One request for one picture: to a checked address, within a time, a size and what is a picture.

Nothing that a server says of its answer is trusted: neither the type nor the length it declares
nor how it is compressed (it is asked not to compress, and nothing is ever unpacked). The answer
counts when it decodes.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import urllib3
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    NewConnectionError,
    TimeoutError,
)
from urllib3.response import BaseHTTPResponse

from pinjoin.data.addresses import AddressError, Resolve, Url, allowed_addresses, system_addresses
from pinjoin.data.connections import Guard, Guards, pool_manager
from pinjoin.data.image_cache import Failure
from pinjoin.data.images import ImageError, Limits, decode, sniff

Lasting = Literal["unasked", "passing", "staying"]
"""How long a failure is worth remembering: nothing was asked; it may pass soon; it will stay."""

_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_CHUNK = 64 * 1024
_SMALL = 16 * 1024  # an answer of no use that is read to its end, to keep the connection
_ADDRESSES = 3  # of one host are tried
_ACCEPT = "image/jpeg, image/png, image/webp, image/avif, image/gif, image/*;q=0.5"
_SEEN_AT = 32  # side at which an answer is decoded to see whether it can be


@dataclass(frozen=True)
class Picture:
    """An answer that decodes."""

    content: bytes
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True)
class Moved:
    """The server names another place, not yet judged."""

    location: str


class Unchanged:
    """The picture that is known already is still right."""


class FetchError(Exception):
    """A request gave no picture."""

    def __init__(
        self,
        failure: Failure,
        lasting: Lasting,
        *,
        again: bool = False,
        wait_s: float | None = None,
        slow_down: bool = False,
        host_failed: bool = False,
        by_limits: bool = False,
    ) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.lasting = lasting
        self.again = again  # trying again may help
        self.wait_s = wait_s  # what the server asked to wait
        self.slow_down = slow_down  # asks the host's other requests to wait, too
        self.host_failed = host_failed  # the host is to blame rather than this URL
        self.by_limits = by_limits  # other limits may give another answer


class Downloader:
    """Answers of servers, for any number of threads. Times in seconds.

    Proxies named in the environment are not used: what they connect to could not be judged.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        total_timeout_s: float,
        limits: Limits,
        allow_private: bool,
        user_agent: str,
        connections: int,
        resolve: Resolve = system_addresses,
    ) -> None:
        self._timeout = urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s)
        self._total_s = total_timeout_s
        self._limits = limits
        self._allow_private = allow_private
        self._resolve = resolve
        self._headers = {
            "User-Agent": user_agent,
            "Accept": _ACCEPT,
            "Accept-Encoding": "identity",
        }
        self._pools = pool_manager(num_pools=4 * connections, maxsize=connections)
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None  # reads all certificates: only when needed
        self._guards = Guards()
        # Decoding to check needs memory by the pixel: no more at once than can make progress.
        self._decoding = threading.Semaphore(os.cpu_count() or 1)

    def get(
        self, url: Url, etag: str | None = None, last_modified: str | None = None
    ) -> Picture | Moved | Unchanged:
        """Ask once; with validators, the answer may be `Unchanged`. Raises FetchError."""
        headers = {**self._headers, "Host": url.authority}
        if etag:
            headers["If-None-Match"] = etag
        if last_modified:
            headers["If-Modified-Since"] = last_modified
        addresses = self._addresses(url)
        with self._guards.request(self._total_s) as guard:
            try:
                response = self._connect(url, addresses, headers)
                try:
                    return self._answer(url, response, guard, bool(etag or last_modified))
                finally:
                    response.close()  # what was read to its end is back in the pool by now
            except (HTTPError, OSError) as problem:
                raise (_too_slow(self._total_s) if guard.ended else _explain(problem)) from None

    def enforce_deadlines(self) -> None:
        """End requests that take too long. To be called every fraction of a second.

        A timeout of the socket starts anew with every byte, so a server that drips could hold
        a request for ever.
        """
        self._guards.end_overdue()

    def abort(self) -> None:
        """End all requests under way; later ones fail."""
        self._guards.end_all()
        self._pools.clear()

    def _addresses(self, url: Url) -> list[str]:
        try:
            found = allowed_addresses(url, self._allow_private, self._resolve)
        except AddressError as problem:
            # The host's names may be mended any moment, and nothing was asked of it.
            raise FetchError(Failure(problem.reason, "", problem.remedy), "unasked") from None
        except OSError as problem:
            again = getattr(problem, "errno", None) == socket.EAI_AGAIN
            failure = Failure("the host's name is not known", str(problem.strerror or problem))
            raise FetchError(failure, "passing", again=again, host_failed=True) from None
        except ValueError as problem:  # a resolver that answers nonsense
            failure = Failure("the host's name is not known", str(problem))
            raise FetchError(failure, "passing", host_failed=True) from None
        return found[:_ADDRESSES]

    def _connect(
        self, url: Url, addresses: list[str], headers: Mapping[str, str]
    ) -> BaseHTTPResponse:
        problem: HTTPError | None = None
        for address in addresses:
            pool = self._pool(url, address)
            try:
                return pool.urlopen(
                    "GET",
                    url.target,
                    headers=headers,
                    timeout=self._timeout,
                    redirect=False,
                    retries=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                )
            except (NewConnectionError, ConnectTimeoutError) as error:
                problem = error
        raise problem or HTTPError("the host has no address")

    def _pool(self, url: Url, address: str) -> HTTPConnectionPool:
        # The pool's host is the address, so that no name is looked up again; the certificate
        # must be the name's.
        tls = None
        if url.scheme == "https":
            with self._lock:
                self._tls = self._tls or ssl.create_default_context()
            tls = {"ssl_context": self._tls, "server_hostname": url.host}
        return self._pools.connection_from_host(address, url.port, url.scheme, tls)

    def _answer(
        self, url: Url, response: BaseHTTPResponse, guard: Guard, known: bool
    ) -> Picture | Moved | Unchanged:
        status, headers = response.status, response.headers
        if status == 200:
            return self._picture(url, response, guard)
        _read_if_small(response)
        if status == 304 and known:
            return Unchanged()
        if status in _REDIRECTS and headers.get("Location"):
            return Moved(_as_utf8(headers["Location"]))
        failure = Failure(f"the server answered {status}", _one_line(response.reason))
        if status in _PASSING:
            busy = status in (429, 503)
            raise FetchError(
                failure,
                "passing",
                again=True,
                wait_s=_retry_after(headers.get("Retry-After")),
                slow_down=busy,
                host_failed=status != 408,
            )
        raise FetchError(failure, "staying")

    def _picture(self, url: Url, response: BaseHTTPResponse, guard: Guard) -> Picture:
        content = self._body(response)
        if guard.ended:  # what ends a connection may look like the end of an answer
            raise _too_slow(self._total_s)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        try:
            with self._decoding:
                decode(content, _SEEN_AT, fit="squash", limits=self._limits, name=str(url))
        except ImageError as problem:
            failure = Failure(
                "the answer is no picture that can be used",
                f"it {problem.reason}"
                + (f", {encoding!r} encoded" if encoding not in ("", "identity") else ""),
                problem.remedy,
            )
            # Without a length, a broken connection cannot be told from the end.
            unsure = response.headers.get("Content-Length") is None and "cut short" in str(problem)
            raise FetchError(
                failure, "passing" if unsure else "staying", again=unsure, by_limits=True
            ) from None
        headers = response.headers
        return Picture(content, headers.get("ETag"), headers.get("Last-Modified"))

    def _body(self, response: BaseHTTPResponse) -> bytes:
        """The answer, or as much of it as shows that it is of no use."""
        most = self._limits.max_bytes
        declared = response.headers.get("Content-Length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > most:
            raise _too_large(f"{int(declared[:20]):,} bytes are announced", most)
        body = bytearray()
        while chunk := response.read1(_CHUNK):
            known = len(body) >= 64
            body += chunk
            if len(body) > most:
                raise _too_large("more was sent", most)
            if not known and len(body) >= 64 and sniff(bytes(body[:64])) is None:
                break
        return bytes(body)


def _too_slow(total_s: float) -> FetchError:
    failure = Failure("the answer took too long", f"more than {total_s:g} s in all")
    return FetchError(failure, "passing", host_failed=True)


def _too_large(detail: str, most: int) -> FetchError:
    failure = Failure(f"the answer has more than {most:,} bytes", detail, "Raise max_bytes.")
    return FetchError(failure, "staying", by_limits=True)


def _explain(problem: Exception) -> FetchError:
    """A failure of the connection, by what urllib3 or the system says of it."""
    detail = _one_line(str(problem))
    if any(isinstance(part, ssl.SSLCertVerificationError) for part in (problem, *problem.args)):
        return FetchError(Failure("the host's certificate is not valid", detail), "passing")
    if isinstance(problem, NewConnectionError | ConnectTimeoutError):  # the former is the latter
        reason = "the host cannot be reached"
    elif isinstance(problem, TimeoutError):
        reason = "the host stopped answering"
    elif any(isinstance(part, IncompleteRead) for part in problem.args):
        reason = "the answer was cut short"
    else:
        reason = "the connection failed"
    return FetchError(Failure(reason, detail), "passing", again=True, host_failed=True)


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks to wait: it holds them, or a date."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _as_utf8(value: str) -> str:
    """A header's text, which http.client takes for Latin-1, as browsers read it."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _read_if_small(response: BaseHTTPResponse) -> None:
    length = "0" if response.status == 304 else response.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) <= _SMALL:
        with suppress(HTTPError, OSError):
            while response.read1(_CHUNK):
                pass


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())[:160]
