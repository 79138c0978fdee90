"""Networks and their training: the one place where torch is used (extra `vision`)."""
