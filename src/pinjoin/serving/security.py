"""Who may do what: hosts and origins, keys, rates.

A key comes as `Authorization: Bearer …`, as `X-API-Key`, or, of people who signed in on the page
for it, as a cookie that goes to no other site and that no script can read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.requests import cookie_parser
from starlette.types import Scope

from pinjoin.serving.config import ServeConfig
from pinjoin.serving.errors import ApiError
from pinjoin.serving.keys import Keys
from pinjoin.serving.rates import Buckets

COOKIE = "pinjoin_key"
SIGN_IN = "/sign-in"

Headers = Mapping[bytes, bytes]

_OPEN = ("/healthz", "/readyz", "/openapi.json", "/docs", SIGN_IN)
_OPEN_FOLDER = "/static/"
_READING_POSTS = ("/v1/related", "/v1/related/image")
_SAFE = ("GET", "HEAD", "OPTIONS")
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Admitted(NamedTuple):
    """Who asks."""

    key_name: str | None
    address: str


class Gate:
    """Lets requests in. Not thread-safe: for the event loop."""

    def __init__(self, config: ServeConfig) -> None:
        self._readers, self._writers = Keys(config.read_keys), Keys(config.write_keys)
        self._reads, self._writes = Buckets(config.read_rate), Buckets(config.write_rate)
        self._origins = config.origins
        self._read_only = config.read_only
        self._hosts = _hosts(config)

    def admit(self, scope: Scope, headers: Headers) -> Admitted:
        """Raises ApiError 400, 401, 403 or 429 for those who may not."""
        host = _text(headers.get(b"host"))
        if self._hosts is not None and _name(host) not in self._hosts:
            message = f"This server is not called {host[:100]!r}. Tell it that it is: --allow-host."
            raise ApiError(400, "unknown_host", message)
        path, safe = scope["path"], scope["method"] in _SAFE
        if not safe:
            self._check_origin(headers, host)
        address = str(scope["client"][0]) if scope.get("client") else "unknown"
        if path in _OPEN or path.startswith(_OPEN_FOLDER):
            return Admitted(None, address)
        writes = not safe and path not in _READING_POSTS
        if writes and self._read_only:
            raise ApiError(403, "read_only", "This server takes nothing in.")
        name = self._identify(headers, writes)
        wait = (self._writes if writes else self._reads).take(name or address)
        if wait:
            again = {"Retry-After": str(math.ceil(wait))}
            raise ApiError(429, "too_many_requests", f"Wait for {wait:.3f} s.", again)
        return Admitted(name, address)

    def accepts(self, secret: str) -> bool:
        """Whether a key is one of ours."""
        return (self._readers.name_of(secret) or self._writers.name_of(secret)) is not None

    def _identify(self, headers: Headers, writes: bool) -> str | None:
        """The name of the key, or None where none is needed. ApiError where one is missing."""
        needed = len(self._writers) > 0 if writes else len(self._readers) > 0
        secret = _secret(headers)
        if secret is None:
            if needed:
                message = "A key is needed: Authorization: Bearer KEY, or X-API-Key: KEY."
                raise ApiError(401, "key_needed", message, {"WWW-Authenticate": "Bearer"})
            return None
        name = self._writers.name_of(secret)
        reader = None if name else self._readers.name_of(secret)
        if writes and needed and reader:
            raise ApiError(403, "key_only_reads", "This key may not write.")
        if needed and not (name or reader):
            message = "This key is not known here."
            raise ApiError(401, "unknown_key", message, {"WWW-Authenticate": "Bearer"})
        return name or reader

    def _check_origin(self, headers: Headers, host: str) -> None:
        """Web pages of others must not write with what a browser knows of us."""
        origin = headers.get(b"origin")
        if origin is None or _text(origin) in self._origins:
            return
        if _text(origin).partition("://")[2] != host:  # it has no path
            message = "This server takes nothing from pages of that origin."
            raise ApiError(403, "foreign_origin", message)


def _hosts(config: ServeConfig) -> frozenset[str] | None:
    """Names that the server answers to; None: any.

    On this machine alone, others are refused: a page of a site whose name is made to point here
    would be of the same origin.
    """
    if "*" in config.hosts or not (config.is_local or config.hosts):
        return None
    return frozenset(_name(host) for host in (*_LOCAL, config.host, *config.hosts))


def _name(host: str) -> str:
    """A host without its port, in small letters."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.lower() if host.count(":") > 1 else host.partition(":")[0].lower()


def _secret(headers: Headers) -> str | None:
    scheme, _, bearer = _text(headers.get(b"authorization")).partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return bearer.strip()
    if b"x-api-key" in headers:
        return _text(headers[b"x-api-key"])
    return cookie_parser(_text(headers.get(b"cookie"))).get(COOKIE)


def _text(header: Any) -> str:
    return "" if header is None else str(header.decode("latin-1"))
