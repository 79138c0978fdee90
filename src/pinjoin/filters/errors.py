"""The error for a filter that cannot be used."""

from __future__ import annotations

from pinjoin.core.errors import ConfigError

LANGUAGE = (
    "A filter compares columns with values (= != < <= > >=, in (…), between … and …, like '…%', "
    "is null) or names a column of true and false, joined by and, or, not and parentheses."
)

_AROUND = 40


class FilterError(ConfigError):
    """A filter cannot be read or does not fit the catalogue. `position`: 0-based, if known."""

    def __init__(
        self, problem: str, text: str, position: int | None = None, remedy: str = LANGUAGE
    ) -> None:
        self.position = position
        where = "" if position is None else f", character {position + 1}"
        super().__init__(f"Filter{where}: {problem}. Got {_excerpt(text, position)!r}. {remedy}")


def _excerpt(text: str, position: int | None) -> str:
    """The filter, or what stands around the place if it is long."""
    at = position or 0
    first = 0 if at <= _AROUND or len(text) <= 2 * _AROUND else at - _AROUND
    last = first + 2 * _AROUND
    return ("…" if first else "") + text[first:last] + ("…" if last < len(text) else "")
