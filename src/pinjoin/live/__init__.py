"""What happens after a build: saves, new boards, takedowns and events, kept in a database."""

LIVE_FILE = "live.db"
"""The database's name in a workspace, unless another is given."""
