"""§IV.A: which images could stand next to the query."""
