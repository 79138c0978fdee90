"""One module per command; imports happen inside commands, so `--help` is instant."""
