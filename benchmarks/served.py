"""The server under test: `pinjoin serve` in a process of its own, on some cores."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

_TICKS = os.sysconf("SC_CLK_TCK")
_READY_S = 120.0

COMMAND = (sys.executable, "-c", "from pinjoin.cli import main; main()")
"""`pinjoin`, of this environment."""


def run_on(cores: Collection[int] | None) -> Any:
    """For `preexec_fn`: keeps a process to some cores."""
    return None if cores is None else lambda: os.sched_setaffinity(0, cores)


class Served:
    """A workspace, served without limits on rates; ends with its block."""

    def __init__(
        self,
        workspace: Path,
        log: Path,
        cores: Collection[int] | None = None,
        options: Sequence[str] = (),
        command: Sequence[str] = COMMAND,
    ) -> None:
        """log: a file for what it says. cores: it keeps to them. options: of `pinjoin serve`."""
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        limits = ("--read-rate", "0", "--write-rate", "0")
        given = [*command, "serve", str(workspace), "--port", str(self.port), *limits, *options]
        self._log = log.open("ab")
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            given, stdout=self._log, stderr=self._log, preexec_fn=run_on(cores)
        )

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request: the status, and the JSON that came (None: nothing did)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if isinstance(body, bytes) else orjson.dumps(body) if body else None
        kind = {"Content-Type": "application/json"} if content else {}
        try:
            connection.request(method, path, content, kind | headers)
            answer = connection.getresponse()
            received = answer.read()
        finally:
            connection.close()
        return answer.status, orjson.loads(received) if received else None

    def first_answer(self, path: str) -> float:
        """Seconds from the start of the process to its first answer."""
        while time.perf_counter() - self.started < _READY_S:
            try:
                status, _ = self.ask("GET", path)
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.005)
            else:
                if status == 200:
                    return time.perf_counter() - self.started
                raise RuntimeError(f"The first answer was {status}.")
        said = Path(self._log.name).read_text()[-2_000:]
        raise RuntimeError(f"The server did not start. It said:\n{said}")

    def cpu_s(self) -> float:
        """Processor time of all its threads until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> tuple[int, int]:
        """Bytes in memory: of its own, and of the files that it maps."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        kib = {name: int(line.split()[1]) for line in lines
               if (name := line.partition(":")[0]).startswith("Rss")}  # fmt: skip
        return kib["RssAnon"] * 1024, kib["RssFile"] * 1024

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
