"""pinjoin: related items for any catalogue people curate."""

__version__ = "0.1.0"
