"""What a server counts, for Prometheus."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = CONTENT_TYPE_LATEST
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which several processes add up."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The counters of one application."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "pinjoin_requests_total", "Requests answered.", ("method", "route", "status"),
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "pinjoin_request_seconds", "From a request to the end of its answer.", ("route",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.busy = Gauge(
            "pinjoin_requests_in_progress", "Requests being answered.", registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.stored = Counter(
            "pinjoin_changes_stored_total", "Durable pins, boards, deletions and events.",
            ("kind",), registry=registry,
        )  # fmt: skip
        self.refused = Counter(
            "pinjoin_changes_refused_total", "Changes that could not be stored.", ("reason",),
            registry=registry,
        )  # fmt: skip
        self.switches = Counter(
            "pinjoin_snapshot_switches_total", "Switches to another snapshot or model.",
            ("outcome",), registry=registry,
        )  # fmt: skip
        self.images = Gauge(
            "pinjoin_images", "Images of the snapshot that is served.", registry=registry,
            multiprocess_mode="livemax",
        )  # fmt: skip
        self.opened_at = Gauge(
            "pinjoin_snapshot_opened_timestamp_seconds", "When what is served was opened.",
            registry=registry, multiprocess_mode="livemin",
        )  # fmt: skip
        self.database = Gauge(
            "pinjoin_database_up", "1: the live database answers.", registry=registry,
            multiprocess_mode="livemin",
        )  # fmt: skip

    def text(self) -> bytes:
        """All of it, of all processes."""
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        _forget_the_dead(Path(os.environ[FOLDER]))
        whole = CollectorRegistry()
        MultiProcessCollector(whole)  # type: ignore[no-untyped-call]
        return generate_latest(whole)


def _forget_the_dead(folder: Path) -> None:
    """Gauges of a worker that was killed would be told for ever."""
    pids = {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}
    for pid in pids:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
