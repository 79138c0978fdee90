"""What every request passes on its way in, and every answer on its way out."""

from __future__ import annotations

import re
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinjoin.serving.config import ServeConfig

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


class Border:
    """An ASGI middleware."""

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"], *_HEADERS, (b"x-request-id", request_id.encode())
                ]  # fmt: skip
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _request_id(given: Any) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return str(given.decode())
    return uuid.uuid4().hex
