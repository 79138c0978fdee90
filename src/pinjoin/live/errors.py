"""What can go wrong between a caller and the database."""

from __future__ import annotations

from pinjoin.core.errors import PinjoinError


class StoreError(PinjoinError, RuntimeError):
    """The live database cannot do what was asked. Nothing was acknowledged."""


class UnavailableError(StoreError):
    """The database is gone, locked, full, overloaded or closed. Try again with the same key."""


class ConflictError(StoreError):
    """A key was used before for something else, or a new pin's or board's id is taken."""


class DamagedError(StoreError):
    """The database's file is no database, or its pages are broken."""


class VersionError(StoreError):
    """The database is of a version that this pinjoin cannot use."""


class PrunedError(StoreError):
    """The events asked for were pruned."""
