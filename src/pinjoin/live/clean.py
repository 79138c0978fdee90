"""One field of what clients send: cleaned, or a ValueError that says what is allowed.

Ids come out as `data.intake` reads those of tables, so that live rows meet the catalogue's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from pinjoin.data.intake import FIELD_LIMIT
from pinjoin.data.values import EARLIEST, LATEST, MISSING_WORDS

ID_LIMIT = 2_000
"""Bytes of an id: PostgreSQL cannot index much longer ones."""

Cleaner = Callable[[Any, str], Any]
"""From (value, name of the field) to what is stored."""

_BLANK = " \t\n\v\f\r"  # what Arrow strips of ASCII
_MISSING = frozenset(("", *MISSING_WORDS))
_WHOLE = re.compile(r"-?[0-9]+\.0")
_PLACE = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})?")
_PLACES = frozenset(map(str, range(1_000)))
_ZEROS = re.compile(r"(^|,)0+([0-9])")


def reference(value: Any, name: str) -> str:
    """An image's path or address: stripped, without control characters."""
    return _present(_name(value, name), name)


def required_id(value: Any, name: str) -> str:
    """An id: as a reference, and NFC; `12.0` is `12`."""
    return _present(optional_id(value, name), name)


def optional_id(value: Any, name: str) -> str | None:
    """An id, or None where it is missing."""
    if value is None or _is_plain_id(value):
        return value  # type: ignore[no-any-return]
    found = _name(value, name)
    if found is None:
        return None
    if not found.isascii():
        found = unicodedata.normalize("NFC", found)
    if len(found) > ID_LIMIT // 4 and len(found.encode()) > ID_LIMIT:
        raise ValueError(f"{name} must have at most {ID_LIMIT:,} bytes")
    return found[:-2] if found.endswith(".0") and _WHOLE.fullmatch(found) else found


def text(value: Any, name: str) -> str | None:
    """Free text as it is; None where empty."""
    if not value and (value is None or value == ""):
        return None
    _check_text(value, name)
    if "\0" in value:
        raise ValueError(f"{name} must have no NUL characters")
    return str(value)


def time(value: Any, name: str) -> int | None:
    """Unix seconds, or None."""
    if value is None:
        return None
    if type(value) is not int or not EARLIEST <= value <= LATEST:
        raise ValueError(f"{name} must be whole unix seconds between the years 1 and 9999")
    return value


def position(value: Any, name: str) -> str | None:
    """A position as in a log of events, or None."""
    if value is None or (type(value) is str and value in _PLACES):
        return value
    if not isinstance(value, str) or not _PLACE.fullmatch(value):
        raise ValueError(f'{name} must be a whole number ≥ 0 or "row,column", as text')
    return _ZEROS.sub(r"\1\2", value)


def probability(value: Any, name: str) -> float | None:
    """A number above 0 and at most 1, or None."""
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value <= 1:
        raise ValueError(f"{name} must be a number above 0 and at most 1")
    return float(value)


def one_of(allowed: tuple[str, ...]) -> Cleaner:
    """What lets only these words through."""

    def clean(value: Any, name: str) -> str:
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}")
        return str(value)

    return clean


def _is_plain_id(value: Any) -> bool:
    """Whether there is surely nothing to clean: so it is with most, and this is quick."""
    return (
        type(value) is str
        and value.isascii()
        and value.isprintable()
        and value.strip() is value
        and value not in _MISSING
        and value[-2:] != ".0"
        and len(value) <= ID_LIMIT
    )


def _name(value: Any, name: str) -> str | None:
    if value is None:
        return None
    _check_text(value, name)
    found = str(value)
    if not (found.isascii() and found.isprintable()):
        found = found.strip(_BLANK if found.isascii() else None)
        if any(unicodedata.category(character) == "Cc" for character in found):
            raise ValueError(f"{name} must have no control characters")
    elif found[:1] == " " or found[-1:] == " ":
        found = found.strip()
    return None if found in _MISSING else found


def _check_text(value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text")
    if value.isascii():
        size = len(value)
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise ValueError(f"{name} must be Unicode without lone surrogates") from None
    if size > FIELD_LIMIT:
        raise ValueError(f"{name} must have at most 1 MiB")


def _present(found: str | None, name: str) -> str:
    if found is None:
        raise ValueError(f"{name} is missing")
    return found
