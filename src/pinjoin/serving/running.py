"""Runs the application as a server, until it is told to end."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from pinjoin.core.errors import ConfigError
from pinjoin.serving.app import create_app
from pinjoin.serving.config import ServeConfig
from pinjoin.serving.logs import write_json_lines
from pinjoin.serving.metrics import FOLDER
from pinjoin.snapshot.reader import open_snapshot

_GRACE_S = 30  # for requests that are being answered when the server is told to end
_BACKLOG = 2048
_HANGS_S = 60  # until a worker that does not move is replaced: starting may take some


def serve(
    workspace: Path,
    config: ServeConfig,
    workers: int = 1,
    listening: Callable[[str], None] = lambda address: None,
    log_level: int | None = None,
) -> None:
    """Serve a workspace until SIGINT or SIGTERM; what was begun is then still answered.

    workers: processes that share the port. listening: told the address once there is one.
    log_level: of the JSON lines that workers write; None: they write none.
    Raises ConfigError if it cannot be had; SnapshotError and StoreError as `create_app`.
    """
    open_snapshot(workspace)  # what is wrong with it is told before there is a server
    bound = bind(config.host, config.port)
    try:
        address = address_of(bound, config.host)
        if workers == 1:
            _serve_here(workspace, config, bound, partial(listening, address))
        else:
            make = partial(_make_app, workspace, config, log_level)
            _serve_in_processes(make, workers, bound, partial(listening, address))
    finally:
        bound.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there. ConfigError, with what helps, where that cannot be."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[
            0
        ]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"{host!r} is no address to listen on: {error}.") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
        bound.listen(_BACKLOG)  # who comes before the server is warm waits, and is not refused
        bound.set_inheritable(True)
    except OSError as error:
        bound.close()
        raise ConfigError(_why(error, host, port)) from None
    return bound


def address_of(bound: socket.socket, host: str) -> str:
    """Where people find a server: what to type into a browser of this machine."""
    port = bound.getsockname()[1]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is taken. Name another one with --port, or 0 for any."
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}. Name one above 1023 with --port."
    return f"Listening on port {port} of {host} failed: {error.strerror}."


def _serve_here(
    workspace: Path, config: ServeConfig, bound: socket.socket, ready: Callable[[], None]
) -> None:
    server = uvicorn.Server(_settings(create_app(workspace, config)))
    ready()
    server.run(sockets=[bound])


def _serve_in_processes(
    make: Callable[[], FastAPI], workers: int, bound: socket.socket, ready: Callable[[], None]
) -> None:
    with tempfile.TemporaryDirectory(prefix="pinjoin-metrics-") as folder:
        os.environ[FOLDER] = folder  # before the workers count anything
        settings = _settings(make, workers)
        ready()
        Multiprocess(settings, [bound]).run()


def _make_app(workspace: Path, config: ServeConfig, log_level: int | None) -> FastAPI:
    """The application of a worker."""
    if log_level is not None:
        write_json_lines(log_level)
    return create_app(workspace, config)


def _settings(app: object, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        factory=workers > 1,
        workers=workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_worker_healthcheck=_HANGS_S,
    )
