"""The one place that imports SQLAlchemy, or says how to get it."""

from __future__ import annotations

from pinjoin.core.errors import ConfigError

try:
    import sqlalchemy as sa
except ModuleNotFoundError:
    raise ConfigError(
        "The live database needs SQLAlchemy, which is not installed: pip install 'pinjoin[serve]'."
    ) from None

__all__ = ["sa"]
