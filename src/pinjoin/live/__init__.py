"""What happens after a build: saves, new boards, takedowns and events, kept in a database."""

from __future__ import annotations

from pathlib import Path

LIVE_FILE = "live.db"
"""The database's name in a workspace, unless another is given."""


def live_database(workspace: Path, given: Path | str | None) -> Path | str:
    """Where the live database of a workspace is: a file or a URL, as given; by default its own."""
    if isinstance(given, str) and "://" in given:
        return given
    return workspace / LIVE_FILE if given is None else Path(given)
