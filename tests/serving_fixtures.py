"""What tests of the server share: servers, and clients of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from pinjoin.serving.app import create_app
from pinjoin.serving.config import ServeConfig

HERE = "http://127.0.0.1"


@contextmanager
def client_of(workspace: Path, **settings: Any) -> Iterator[TestClient]:
    """A client of a server that answers in this process; `.app.state.service` is its service."""
    config = ServeConfig(**{"read_rate": 0, "write_rate": 0, "watch_s": 0.05, **settings})
    with TestClient(create_app(workspace, config), base_url=HERE) as client:
        yield client


@contextmanager
def server_of(workspace: Path, **settings: Any) -> Iterator[str]:
    """A server on a port of this machine, in a thread; its address."""
    config = ServeConfig(**{"read_rate": 0, "write_rate": 0, "watch_s": 0.05, **settings})
    app = create_app(workspace, config)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"{HERE}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def signatures_of(client: TestClient) -> list[str]:
    """Of all images, most popular first."""
    known = client.app.state.service.workspace  # type: ignore[attr-defined]
    return [one for one in known.signatures().to_pylist() if one is not None]


def error_of(response: Any, status: int, code: str) -> dict[str, Any]:
    """The error of an answer, which must be in the one shape."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == code, error
    assert error["message"]
    assert error["request_id"] == response.headers["x-request-id"]
    return error
