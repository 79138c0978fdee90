"""Pages of a list: how far a client has come, in a word that only fits the list it came with."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from pinjoin.serving.errors import ApiError

_PLACE, _DIGEST = 4, 8  # bytes


def cursor_of(place: int, *request: Any) -> str:
    """The word for going on at a place of the list that a request asks for."""
    raw = place.to_bytes(_PLACE, "big") + _digest(request)
    return urlsafe_b64encode(raw).decode().rstrip("=")


def place_of(cursor: str | None, *request: Any) -> int:
    """The place to go on at; 0 without a cursor. ApiError if it is not one of this request's.

    >>> place_of(cursor_of(20, "lamp", None), "lamp", None)
    20
    """
    if cursor is None:
        return 0
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:  # no ASCII, or no base64
        raw = b""
    if len(raw) != _PLACE + _DIGEST or raw[_PLACE:] != _digest(request):
        message = (
            "The cursor does not belong to this request. Give what the last page gave, with the "
            "same other parameters; without a cursor the list begins anew."
        )
        raise ApiError(400, "invalid_cursor", message)
    return int.from_bytes(raw[:_PLACE], "big")


def _digest(request: Any) -> bytes:
    return hashlib.blake2b(repr(request).encode("utf-8", "replace"), digest_size=_DIGEST).digest()
