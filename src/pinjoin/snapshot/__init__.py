"""Immutable, checksummed, memory-mapped directories that hold one built catalogue."""
