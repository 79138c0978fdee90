"""Serving a workspace: the HTTP API and the pages."""
