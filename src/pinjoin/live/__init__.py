"""What happens after a build: saves, new boards, takedowns and events, kept in a database."""
