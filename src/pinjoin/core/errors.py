"""Errors for people: what went wrong, where, the value received, what is allowed, the remedy."""

from __future__ import annotations

from collections.abc import Sequence


class PinjoinError(Exception):
    """Base of every error a user can mend. The command line prints it and exits with 1."""


class ConfigError(PinjoinError, ValueError):
    """A parameter or setting is outside what is allowed."""


class InputError(PinjoinError, ValueError):
    """A table, row or image of the user's cannot be used."""


class SnapshotError(PinjoinError, RuntimeError):
    """A snapshot is missing, damaged or of a format this version cannot read."""


class UnknownIdError(PinjoinError, KeyError):
    """No PinJoin, pin, image or board has this id. `suggestions` are the closest known ids."""

    def __init__(
        self, given: str, suggestions: Sequence[str] = (), kind: str = "pin id, signature or image"
    ) -> None:
        self.given = given
        self.suggestions = tuple(suggestions)
        hint = f" Did you mean {' or '.join(map(repr, suggestions))}?" if suggestions else ""
        super().__init__(f"{given!r} is not a {kind} of this catalogue.{hint}")

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0])


def check(condition: bool, parameter: str, caller: str, allowed: str, got: object) -> None:
    """Raise a ConfigError in one wording for all parameters.

    >>> check(False, "k", "cooccurrence", "a positive integer", 0)
    Traceback (most recent call last):
    pinjoin.core.errors.ConfigError: The k parameter of cooccurrence must be a positive integer. \
Got 0 instead.
    """
    if not condition:
        raise ConfigError(
            f"The {parameter} parameter of {caller} must be {allowed}. Got {got!r} instead."
        )
