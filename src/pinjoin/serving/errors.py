"""What goes wrong, in the one shape in which clients are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException

from pinjoin.core.errors import ConfigError, InputError, PinjoinError, UnknownIdError
from pinjoin.filters.errors import FilterError


class ApiError(HTTPException):
    """Tells a client what is wrong. code: a word for programs; details: more for them."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        **details: Any,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code, self.message, self.details = code, message, details

    def body(self, request_id: str) -> dict[str, Any]:
        """The one shape of errors."""
        error = {"code": self.code, "message": self.message, "request_id": request_id}
        return {"error": error | self.details}


def api_error(error: Exception) -> ApiError:
    """What a client is told of an error. Of one that is none of the client's: nothing."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UnknownIdError):
        return ApiError(404, "unknown_id", str(error), suggestions=list(error.suggestions))
    if isinstance(error, FilterError):
        return ApiError(422, "invalid_filter", str(error), position=error.position)
    if isinstance(error, InputError | ConfigError):
        return ApiError(422, "invalid", str(error))
    if isinstance(error, PinjoinError) and type(error).__module__ == "pinjoin.live.errors":
        return _of_store(error)
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code, "http_error")
        return ApiError(error.status_code, code, str(error.detail), error.headers)
    return ApiError(500, "internal", "Something went wrong here. It was logged under request_id.")


_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}


def _of_store(error: PinjoinError) -> ApiError:
    from pinjoin.live.errors import ConflictError

    if isinstance(error, ConflictError):
        return ApiError(409, "conflict", str(error))
    # It may be stored all the same: a connection broke after the commit, say.
    message = (
        "This is not known to be stored: the live database cannot be used now. Try again with the "
        "same key, and it is done once."
    )
    return ApiError(503, "store_unavailable", message, {"Retry-After": "1"})
