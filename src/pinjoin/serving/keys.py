"""API keys: told apart in constant time, held as hashes."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pinjoin.core.errors import ConfigError

READ, WRITE = "PINJOIN_READ_KEYS", "PINJOIN_WRITE_KEYS"
"""Variables with keys, one a line or separated by commas."""

_SHORTEST, _LONGEST_NAME = 16, 64


class Keys:
    """Some keys by name. Their secrets are not kept."""

    def __init__(self, entries: Iterable[str]) -> None:
        """entries: "name:secret". ConfigError for one of another form, or a name given twice."""
        self._hashes: dict[str, bytes] = {}
        for entry in entries:
            name, colon, secret = entry.partition(":")
            fits = 0 < len(name) <= _LONGEST_NAME and colon and len(secret) >= _SHORTEST
            if not fits or name in self._hashes:
                raise ConfigError(
                    f"A key must be NAME:SECRET, each name once and of at most {_LONGEST_NAME} "
                    f"characters, the secret of at least {_SHORTEST}. Got the name {name[:40]!r} "
                    f"and {len(secret)} characters. Make one with "
                    " `python -c 'import secrets; print(secrets.token_urlsafe())'`."
                )
            self._hashes[name] = _hash(secret)

    def __len__(self) -> int:
        return len(self._hashes)

    def name_of(self, secret: str) -> str | None:
        """Whose key this is. Looks at all, however early one fits."""
        given, found = _hash(secret), None
        for name, known in self._hashes.items():
            if hmac.compare_digest(given, known):
                found = name
        return found


def read_keys(
    file: Path | None, variable: str, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """The entries in a file, if one is given, or in a variable; empty lines and # are left out."""
    text = environment.get(variable, "").replace(",", "\n")
    if file is not None:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The keys in {file} cannot be read: {error}.") from None
    lines = [line.strip() for line in text.splitlines()]
    return tuple(line for line in lines if line and not line.startswith("#"))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
