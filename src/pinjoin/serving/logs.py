"""What a server writes down: one JSON object a line."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import orjson

LOGGER = logging.getLogger("pinjoin.serving")
"""Everything the server says; requests as INFO with a `fields` attribute."""


class JsonLines(logging.Formatter):
    """A record as a JSON object: time, level, message, and its `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        whole: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            whole["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(whole, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def write_json_lines(level: int = logging.INFO) -> None:
    """Send the process's log to standard error as JSON lines. For a server's own process only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # ours has more


def say(message: str, level: int = logging.INFO, error: Any = None, **fields: Any) -> None:
    """Log a message with fields."""
    LOGGER.log(level, message, exc_info=error, extra={"fields": fields})


def _time(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
