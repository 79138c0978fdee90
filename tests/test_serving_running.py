"""The server as a process: how it starts, what it says, how it ends; and its logs and spans."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from serving_fixtures import client_of, error_of

from pinjoin.cli.demo import demo as demo_command
from pinjoin.cli.serve import serve as serve_command
from pinjoin.core.errors import ConfigError, SnapshotError
from pinjoin.recommender import open_workspace
from pinjoin.serving.app import create_app
from pinjoin.serving.config import ServeConfig
from pinjoin.serving.logs import JsonLines, say
from pinjoin.serving.running import address_of, bind, serve

MAIN = "from pinjoin.cli import main; main()"


@contextmanager
def running(*arguments: Any, environment: dict[str, str] | None = None) -> Iterator[Any]:
    """`pinjoin serve …`: the process, once it listens, and its address."""
    command = [sys.executable, "-c", MAIN, "serve", *map(str, arguments)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | (environment or {})
    ) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "Serving on" in line)
            yield process, line.split()[2]
        finally:
            process.kill()


def get(url: str) -> tuple[int, bytes]:
    """What is answered; who asks while the server starts waits."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.status, answer.read()


def test_it_serves_logs_and_ends_when_told(shop):
    with running(shop, "--port", 0) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert json.loads(get(f"{address}/readyz")[1])["ready"]
        status, body = get(f"{address}/v1/related/p0008?n=3")
        assert (status, len(json.loads(body)["results"])) == (200, 3)
        process.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert process.wait(30) in (0, -signal.SIGTERM)
    [asked] = [one for one in lines if one.get("route") == "/v1/related/{id:path}"]
    assert (asked["status"], asked["method"], asked["level"]) == (200, "GET", "info")
    assert asked["request_id"] == json.loads(body)["request_id"]
    assert asked["ms"] > 0
    assert "traceback" not in str(lines)


@pytest.mark.slow
def test_processes_share_a_port_and_add_up_their_counts(shop):
    with running(shop, "--port", 0, "--workers", 2) as (process, address):
        get(f"{address}/readyz")
        for _ in range(7):
            get(f"{address}/v1/pins/p0008")
        text = get(f"{address}/metrics")[1].decode()
        line = next(x for x in text.splitlines() if 'requests_total{method="GET",route="/v1/p' in x)
        assert line.endswith(" 7.0")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_gauges_of_a_process_that_is_gone_are_forgotten(tmp_path):
    program = (
        "from pinjoin.serving.metrics import Metrics; one = Metrics(); "
        "one.database.set({}); one.requests.labels('GET', '/', '200').inc(); "
        "print(one.text().decode())"
    )

    def told(up: int) -> str:
        command = [sys.executable, "-c", program.format(up)]
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert "pinjoin_database_up 0.0" in told(0)
    later = told(1)
    assert "pinjoin_database_up 1.0" in later
    assert 'status="200"} 2.0' in later, "what it counted stays"


def test_the_port_comes_from_the_environment(demo):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PORT": str(port)}
    with running(demo, "--read-only", "--quiet", environment=environment) as (_, address):
        assert address == f"http://127.0.0.1:{port}"
        assert get(f"{address}/healthz")[0] == 200


def test_a_taken_port_is_told(demo):
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Port {port} of 127.0.0.1 is taken.*--port"):
            serve(demo, ServeConfig(port=port, read_only=True))
    with pytest.raises(ConfigError, match="no address to listen on"):
        bind("no.such.host.invalid", 80)


def test_addresses_can_be_opened_in_a_browser():
    for host, shown in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")]:
        with bind("127.0.0.1", 0) as bound:
            port = bound.getsockname()[1]
            assert address_of(bound, host) == f"http://{shown}:{port}"


def test_what_is_not_there_is_told_before_there_is_a_server(tmp_path):
    with pytest.raises(SnapshotError, match="does not exist"):
        serve(tmp_path / "nothing", ServeConfig())
    (tmp_path / "empty").mkdir()
    with pytest.raises(SnapshotError, match="nothing was built yet"):
        serve(tmp_path / "empty", ServeConfig())
    with pytest.raises(SnapshotError, match="nothing was built yet"):
        create_app(tmp_path / "empty")
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "without write keys"),
        (["--experiment", "e"], "arms"),
        (["--experiment", "e", "--arm", "x"], "ARM=MODEL"),
        (["--arm", "a=count", "--arm", "a=count", "--experiment", "e"], "each arm once"),
        (["--write-keys", "no-such-file"], "cannot be read"),
    ],
)
def test_wrong_options_are_told(demo, options, said):
    result = CliRunner().invoke(serve_command, [str(demo), *options])
    assert result.exit_code != 0
    assert said in f"{result.output}{result.exception}"


def test_unknown_models_of_arms_are_told_at_once(demo):
    with pytest.raises(ConfigError, match="no model 'nope'"):
        create_app(demo, ServeConfig(read_only=True, experiment="e", arms={"a": "nope"}))


def test_without_the_extra_it_says_how_to_get_it(demo):
    code = (
        "import sys; sys.modules['fastapi'] = None; sys.argv = ['pinjoin', 'serve', sys.argv[1]]; "
        "import importlib.util as u; find = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'fastapi' else find(name, *a); "
        "from pinjoin.cli import main; main()"
    )
    command = [sys.executable, "-c", code, str(demo)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "fastapi" in done.stderr
    assert "pip install 'pinjoin[serve]'" in done.stderr


@pytest.mark.parametrize("options", [[], ["--no-serve"]])
def test_the_demo_ends_with_the_served_page(shop, monkeypatch, options):
    served = []

    def serve_it(workspace: Path, config: ServeConfig, listening: Any) -> None:
        served.append((workspace, config.port))
        listening("http://127.0.0.1:8123")

    monkeypatch.setattr("pinjoin.serving.running.serve", serve_it)
    monkeypatch.setattr("pinjoin.cli.demo.build_demo", lambda *_: open_workspace(shop).snapshot)
    monkeypatch.setattr("pinjoin.cli.demo._told", str)
    monkeypatch.setattr("pinjoin.serving.logs.write_json_lines", lambda _: None)
    result = CliRunner().invoke(demo_command, ["--dir", str(shop), "--port", "8123", *options])
    assert result.exit_code == 0, result.output
    assert served == ([] if options else [(shop, 8123)])
    assert ("Open in a browser  http://127.0.0.1:8123" in result.output) == (not options)


def test_logs_are_objects_of_one_line():
    record = logging.LogRecord("x", logging.ERROR, "", 0, "two\nlines", (), None)
    record.fields = {"path": "/é\n", "object": Path("x")}
    line = JsonLines().format(record)
    assert "\n" not in line
    whole = json.loads(line)
    assert (whole["level"], whole["message"], whole["path"]) == ("error", "two\nlines", "/é\n")
    assert whole["time"].endswith("Z")


def test_failures_are_logged_with_their_traceback(caplog):
    try:
        raise ValueError("reason")
    except ValueError as error:
        say("failed", logging.ERROR, error, request_id="r")
    whole = json.loads(JsonLines().format(caplog.records[-1]))
    assert "ValueError: reason" in whole["traceback"]
    assert whole["request_id"] == "r"


def test_requests_are_traced(demo, monkeypatch):
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from pinjoin.serving import tracing

    exporter, real = memory.InMemorySpanExporter(), tracing.trace
    monkeypatch.setattr("pinjoin.serving.app.trace", lambda app: real(app, exporter))
    with client_of(demo, read_only=True, trace=True) as client:
        error_of(client.get("/v1/pins/nobody"), 404, "unknown_id")
        client.get("/healthz")
        client.app.state.tracer_provider.force_flush()
    [span] = exporter.get_finished_spans()
    assert "/v1/pins/" in span.name
    assert 404 in span.attributes.values()


def test_the_document_is_a_page(demo):
    with client_of(demo, read_only=True) as client:
        page = client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        for path in client.get("/openapi.json").json()["paths"]:
            assert f"<code>{path}</code>" in page.text
        assert "Idempotency-Key" in page.text
        assert "<script" not in page.text
