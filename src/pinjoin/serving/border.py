"""What every request passes on its way in, and every answer on its way out."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

import orjson
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinjoin.serving.config import ServeConfig
from pinjoin.serving.errors import ApiError, api_error
from pinjoin.serving.logs import LOGGER, say
from pinjoin.serving.metrics import Metrics
from pinjoin.serving.security import SIGN_IN, Gate

UPLOAD = "/v1/related/image"
"""The path of pictures, which may be larger than other requests."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_HEADERS = [
    (b"content-security-policy",
     b"default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
     b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]  # fmt: skip
_PRIVATE = (b"cache-control", b"no-store")


class Border:
    """An ASGI middleware: lets requests in, bounds them, counts and logs them, adds headers."""

    def __init__(self, app: ASGIApp, config: ServeConfig, metrics: Metrics, gate: Gate) -> None:
        self._app, self._config, self._metrics, self._gate = app, config, metrics, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passing = _Passing(scope, send)
        self._metrics.busy.inc()
        try:
            limited = self._limited(scope, passing.headers, receive)
            passing.admit(self._gate)
            await self._app(scope, limited, passing.send)
        except Exception as error:
            await self._fail(error, passing, receive)
        finally:
            self._metrics.busy.dec()
            self._note(passing)

    def _limited(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Receives a body up to the limit. ApiError 413 beyond."""
        upload = scope["path"] == UPLOAD
        limit = self._config.upload_bytes if upload else self._config.body_bytes
        said = headers.get(b"content-length", b"0")
        if not said.isdigit() or int(said) > limit:
            raise _too_large(limit)
        left = limit

        async def receive_up_to_limit() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _too_large(limit)
            return message

        return receive_up_to_limit

    async def _fail(self, error: Exception, passing: _Passing, receive: Receive) -> None:
        told = api_error(error)
        if told.status_code == 500:
            say("request failed", logging.ERROR, error, request_id=passing.request_id)
        if passing.status:  # too late to say anything else
            raise error
        answer = error_response(told, passing.request_id)
        if told.status_code == 401 and b"text/html" in passing.headers.get(b"accept", b""):
            answer = RedirectResponse(SIGN_IN, 303)
        await answer(passing.scope, receive, passing.send)

    def _note(self, passing: _Passing) -> None:
        seconds = time.perf_counter() - passing.start
        scope, status = passing.scope, passing.status
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(scope["method"], route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if LOGGER.isEnabledFor(logging.INFO):
            say(
                "request",
                request_id=passing.request_id,
                method=scope["method"],
                path=scope["path"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 2),
                who=passing.who,
            )


class _Passing:
    """One request on its way."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.start = time.perf_counter()
        self.scope = scope
        self.headers = dict(scope["headers"])
        self.request_id = _request_id(self.headers.get(b"x-request-id"))
        self.status = 0  # until it is answered
        self.who = ""
        self._send = send
        self._state = scope.setdefault("state", {})
        self._state["request_id"] = self.request_id

    def admit(self, gate: Gate) -> None:
        """Let it in. ApiError if it may not."""
        admitted = gate.admit(self.scope, self.headers)
        self._state["key_name"] = admitted.key_name
        self.who = admitted.key_name or admitted.address

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"] = list(message.get("headers", ()))
            headers += _HEADERS
            headers.append((b"x-request-id", self.request_id.encode()))
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append(_PRIVATE)
        await self._send(message)


def error_response(told: ApiError, request_id: str) -> Response:
    """An error as an answer."""
    body = orjson.dumps(told.body(request_id))
    return Response(body, told.status_code, told.headers, "application/json")


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "too_large", f"The request may have {limit:,} bytes at most.")


def _request_id(given: Any) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return str(given.decode())
    return uuid.uuid4().hex
