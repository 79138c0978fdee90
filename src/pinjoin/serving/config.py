"""Settings of a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from pinjoin.core.cores import cores
from pinjoin.core.errors import ConfigError, check


@dataclass(frozen=True)
class ServeConfig:
    """How a workspace is served."""

    host: str = "127.0.0.1"  # address to listen on
    port: int = 8000
    database: str | None = None  # file or URL of the live store; None: live.db in the workspace
    read_only: bool = False  # no saves, events and takedowns; what others store shows
    model: str | None = None  # what ranks; None: the workspace's model in use, as it changes

    experiment: str | None = None  # its name; with it, users are spread over the arms
    arms: Mapping[str, str] = field(default_factory=dict)  # arm → model; "count" is one

    read_keys: tuple[str, ...] = field(default=(), repr=False)  # "name:secret"; none: all may read
    write_keys: tuple[str, ...] = field(default=(), repr=False)  # may read, too
    open_writes: bool = False  # whether others than this machine may write without a key
    origins: tuple[str, ...] = ()  # web pages of these may call: "https://shop.example"
    hosts: tuple[str, ...] = ()  # other names it is called by; "*": any
    read_rate: float = 1_000.0  # requests a second of one key, or address without keys; 0: any
    write_rate: float = 100.0

    body_bytes: int = 1 << 20  # of a request
    upload_bytes: int = 16 << 20  # of a picture
    most_results: int = 100  # on a page
    depth: int = 1_000  # results that pages of one list lead to, all together
    most_ids: int = 200  # of one request for several images
    most_events: int = 1_000  # of one batch

    threads: int = field(default_factory=cores)  # that rank
    most_waiting: int = 256  # requests that wait for one of them; others are told to come again
    watch_s: float = 1.0  # how often to look for a new snapshot or model
    pages: bool = True  # whether there are pages for people, too
    trace: bool = False  # whether OpenTelemetry gets a span for each request

    def __post_init__(self) -> None:
        caller = "ServeConfig"
        check(0 <= self.port < 1 << 16, "port", caller, "from 0 to 65535", self.port)
        for name in ("body_bytes", "upload_bytes", "most_results", "most_ids",
                     "most_events", "threads", "most_waiting"):  # fmt: skip
            check(getattr(self, name) >= 1, name, caller, "at least 1", getattr(self, name))
        enough = self.depth >= self.most_results
        check(enough, "depth", caller, f"at least most_results, {self.most_results}", self.depth)
        for name in ("read_rate", "write_rate"):
            check(getattr(self, name) >= 0, name, caller, "0 or more", getattr(self, name))
        check(self.watch_s > 0, "watch_s", caller, "above 0", self.watch_s)
        together = bool(self.arms) == bool(self.experiment)
        check(together, "arms", caller, "given with an experiment, and only then", dict(self.arms))
        if not (self.is_local or self.write_keys or self.read_only or self.open_writes):
            raise ConfigError(
                f"Listening on {self.host} without write keys would let everyone who reaches this "
                "machine save and take down. Give --write-keys, or serve --read-only, or say "
                "that this is meant: --open-writes."
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
