"""What this machine can do, now: the floor that other benchmarks are measured against.

    python benchmarks/probe.py [--json]

One thread each; the best of several runs, as noise only ever slows down.
"""

from __future__ import annotations

import json
import mmap
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True)
def _sum(words: Any) -> Any:
    total = np.uint64(0)
    for i in range(len(words)):
        total += words[i]
    return total


@njit(nogil=True)
def _read_rows(rows: Any, order: Any) -> Any:
    total = np.uint64(0)
    for i in range(len(order)):
        row = rows[order[i]]
        for j in range(row.shape[0]):
            total += row[j]
    return total


@njit(nogil=True)
def _increment(counters: Any, order: Any) -> None:
    for i in range(np.uint64(len(order))):
        counters[order[i]] += np.uint16(1)


def best(work: Callable[[], Any], repeats: int = 5) -> float:
    """Seconds of the fastest run."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def stream_gb_per_s(size: int = 1 << 28) -> float:
    """Reading memory in order, GB/s."""
    words = np.ones(size // 8, np.uint64)
    return size / best(lambda: _sum(words)) / 1e9


def row_reads_per_s(row_bytes: int, total: int = 1 << 30, reads: int = 200_000) -> float:
    """Whole rows of `row_bytes` read at random from `total` bytes, rows/s."""
    rows = np.ones((total // row_bytes, row_bytes // 8), np.uint64)
    order = np.random.default_rng(0).integers(len(rows), size=reads).astype(np.uint64)
    return reads / best(lambda: _read_rows(rows, order))


def increment_ns(counters: int, increments: int = 20_000_000) -> float:
    """Adding one to random uint16 counters, ns each (the order is read as a stream)."""
    order = np.random.default_rng(0).integers(counters, size=increments).astype(np.uint32)
    array = np.zeros(counters, np.uint16)
    return best(lambda: _increment(array, order)) / increments * 1e9


def page_fault_s_per_gb(size: int = 1 << 29) -> float:
    """Touching fresh memory for the first time, s/GB of 4 KiB pages."""

    def touch() -> None:
        with mmap.mmap(-1, size) as fresh:
            np.frombuffer(fresh, np.uint8)[::4096] = 1

    return best(touch, 3) / size * 1e9


def fsyncs_per_s(folder: str | None = None, count: int = 200) -> float:
    """Appending 100 bytes and waiting until they are durable, per second."""
    with tempfile.TemporaryFile(dir=folder) as file:
        start = time.perf_counter()
        for _ in range(count):
            file.write(b"x" * 100)
            file.flush()
            os.fsync(file.fileno())
        return count / (time.perf_counter() - start)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {
        "processor": model or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "commit": commit(),
    }


def commit() -> str:
    """Of the code that is measured; "" outside its repository."""
    asked = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty")
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def measure() -> dict[str, float]:
    """All of them, by name."""
    return {
        "stream_gb_per_s": stream_gb_per_s(),
        "rows_512_per_s": row_reads_per_s(512),
        "rows_896_per_s": row_reads_per_s(896),
        "rows_1024_per_s": row_reads_per_s(1024),
        "increment_0.2M_ns": increment_ns(200_000),
        "increment_2M_ns": increment_ns(2_000_000),
        "page_fault_s_per_gb": page_fault_s_per_gb(),
        "fsyncs_per_s": fsyncs_per_s(),
    }


if __name__ == "__main__":
    figures = machine() | measure()
    if "--json" in sys.argv:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(
                f"{name:<24}{value:>16,.3f}" if isinstance(value, float) else f"{name:<24}{value}"
            )
