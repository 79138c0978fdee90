"""Fetch the pictures that URLs name: politely for their hosts, safely for this machine.

Politely: few requests at once and a second of each host, back-off when one is busy, and nothing
asked twice: what was fetched stays in an `ImageCache`, and so does, for a while, what failed.
Safely: see `pinjoin.data.addresses` (what may be asked) and `pinjoin.data.download` (what may
be answered). robots.txt is not read: it speaks to robots that find their own way, and here
someone names each picture.
"""

from __future__ import annotations

import queue
import random
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pinjoin import __version__
from pinjoin.core.errors import InputError, check
from pinjoin.core.progress import Advance, Progress, silent
from pinjoin.data.addresses import (
    AddressError,
    Resolve,
    Url,
    parse_url,
    shown,
    system_addresses,
)
from pinjoin.data.host_queues import HostQueues
from pinjoin.data.image_cache import CachedImage, Failure, ImageCache
from pinjoin.data.images import Limits
from pinjoin.data.rejects import Rejects

if TYPE_CHECKING:
    from pinjoin.data.download import Downloader, FetchError

_TICK_S = 0.2  # how exactly the total timeout is kept
_REMEDY = "The pin is kept without its picture."


@dataclass(frozen=True)
class FetchConfig:
    """How to fetch; every default is gentle. Raises ConfigError for what cannot work."""

    concurrency: int = 16  # requests at once, in all
    per_host: int = 4  # requests at once to one host
    rate: float = 10.0  # requests started a second, of one host
    connect_timeout_s: float = 10.0  # to be connected
    read_timeout_s: float = 20.0  # between two pieces of an answer
    total_timeout_s: float = 60.0  # of one request, from connecting to the last byte
    attempts: int = 3  # requests for one picture, if failures may pass
    backoff_s: float = 1.0  # before the second attempt; twice as long before each further, ± half
    max_wait_s: float = 120.0  # a server that asks to wait longer is left alone in this run
    host_failures: int = 30  # a host that fails so often in a row is left alone in this run
    max_redirects: int = 5  # places that a server may send us on to; each is judged anew
    max_bytes: int = 20 * 2**20  # of a picture's file; no more is read
    max_pixels: int = Limits.max_pixels  # width × height
    allow_private: bool = False  # also ask addresses that are not of the public internet
    revalidate_after_s: float | None = None  # ask whether older ones changed; None: never
    forget_s: float = 7 * 86400.0  # failures that will stay (404, no picture) are asked again after
    forget_passing_s: float = 3600.0  # as are those that may pass (500, no answer)
    retry_failures: bool = False  # ask again at once for all that failed
    user_agent: str = f"pinjoin/{__version__} (fetches the pictures of a catalogue)"  # who asks

    def __post_init__(self) -> None:
        for name in ("concurrency", "per_host", "attempts", "host_failures"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        for name in ("max_bytes", "max_pixels"):
            self._check(name, getattr(self, name) >= 1, "positive")
        seconds = ("connect_timeout_s", "read_timeout_s", "total_timeout_s")
        for name in ("rate", *seconds):
            self._check(name, 0 < getattr(self, name) < float("inf"), "positive and finite")
        for name in ("backoff_s", "max_wait_s", "max_redirects", "forget_s", "forget_passing_s"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        after = self.revalidate_after_s
        self._check("revalidate_after_s", after is None or after >= 0, "None, or 0 or more")
        clean = self.user_agent.isascii() and self.user_agent.isprintable()
        self._check("user_agent", clean and bool(self.user_agent.strip()), "one line of ASCII")

    def _check(self, name: str, right: bool, allowed: str) -> None:
        check(right, name, "FetchConfig", allowed, getattr(self, name))

    @property
    def limits(self) -> Limits:
        return Limits(max_bytes=self.max_bytes, max_pixels=self.max_pixels)

    @property
    def limits_key(self) -> str:
        where = ", anywhere" if self.allow_private else ""
        return f"{self.max_bytes} bytes, {self.max_pixels} pixels{where}"


def fetch_images(
    urls: Sequence[str],
    cache: ImageCache,
    config: FetchConfig | None = None,
    *,
    rows: Sequence[int | None] | None = None,
    rejects: Rejects | None = None,
    progress: Progress = silent,
    resolve: Resolve = system_addresses,
) -> list[Path | None]:
    """The local file of each URL's picture, in the order of `urls`; None where there is none.

    Only what `cache` does not hold is asked for, each URL once however often it is given.
    `rejects` is told of each None (`file` = the URL; `row` = that of `rows`, by default its
    1-based place in `urls`); with strict rejects the first failure ends the work and raises
    InputError. Interrupting (Ctrl-C) ends it within two seconds and loses nothing that was
    fetched: the next call goes on from there. Raises InputError if the cache cannot be written.

    `resolve` stands in for this machine's resolver of names.
    """
    config = config or FetchConfig()
    work = _Work(cache, config, rejects is not None and rejects.strict)
    keys = [work.add(url) for url in urls]
    if not work.stopped:
        work.run(progress, resolve)
    if rejects is not None:
        _tell(rejects, zip(rows or range(1, len(keys) + 1), keys, strict=True), work.failures)
    return [work.paths.get(key) for key in keys]


def _tell(
    rejects: Rejects, keys: Iterable[tuple[int | None, str]], failures: dict[str, Failure]
) -> None:
    for row, url in keys:
        failure = failures.get(url)
        if failure is not None:
            rejects.add_many(
                file=shown(url),
                rows=[row],
                column="image",
                values=[failure.detail or shown(url)],
                reason=failure.reason,
                remedy=f"{failure.remedy} {_REMEDY}".strip(),
                dropped="value",
            )


_Result = tuple[str, Path | Failure]


@dataclass(frozen=True, slots=True)
class _Job:
    """One request that is to be made for a picture."""

    key: str  # the URL that was given, in its one spelling
    target: Url  # where it has led us so far
    known: CachedImage | None = None  # of an earlier run, to be confirmed
    attempt: int = 1
    hops: int = 0


class _Work:
    """All that one call has to do, and what came of it, by URL."""

    def __init__(self, cache: ImageCache, config: FetchConfig, strict: bool) -> None:
        self.cache, self.config, self.strict = cache, config, strict
        self.paths: dict[str, Path] = {}
        self.failures: dict[str, Failure] = {}
        self.stopped = False
        self._jobs: dict[str, _Job] = {}
        self._queues: HostQueues[_Job] = HostQueues(config.per_host, config.rate)
        self._done: queue.SimpleQueue[_Result | BaseException] = queue.SimpleQueue()
        self._random = random.Random()
        self._over = False  # what threads find out from now on is our doing

    def add(self, text: str) -> str:
        """Answer from the cache or plan a request; returns the URL's key for the results."""
        try:
            url = parse_url(text)
        except AddressError as problem:
            self._failed(text, Failure(problem.reason, "", problem.remedy))
            return text
        key = str(url)
        if key in self.paths or key in self.failures or key in self._jobs:
            return key
        known = self.cache.get(key)
        if known is not None and not self._is_old(known):
            self.paths[key] = known.path
        elif known is None and (failure := self._remembered(key)) is not None:
            self._failed(key, replace(failure, detail=f"{failure.detail} (not asked again yet)"))
        else:
            self._jobs[key] = _Job(key, url, known)
        return key

    def run(self, progress: Progress, resolve: Resolve) -> None:
        """Make the requests. Threads ask; this one collects and watches the time."""
        if not self._jobs:
            return
        from pinjoin.data.download import Downloader

        config = self.config
        downloader = Downloader(
            connect_timeout_s=config.connect_timeout_s,
            read_timeout_s=config.read_timeout_s,
            total_timeout_s=config.total_timeout_s,
            limits=config.limits,
            allow_private=config.allow_private,
            user_agent=config.user_agent,
            connections=config.concurrency,
            resolve=resolve,
        )
        for job in self._jobs.values():
            self._queues.put(job.target.host, job)
        # Daemons: a resolver that hangs must not keep the process from ending.
        threads = [
            threading.Thread(target=self._ask, args=(downloader,), name="fetch", daemon=True)
            for _ in range(min(config.concurrency, len(self._jobs)))
        ]
        try:
            for thread in threads:
                thread.start()
            with progress("fetching pictures", len(self._jobs)) as advance:
                self._collect(downloader, advance)
        finally:
            self._over = True
            self._queues.stop()
            downloader.abort()
            until = time.monotonic() + 2
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, until - time.monotonic()))

    def _collect(self, downloader: Downloader, advance: Advance) -> None:
        missing, looked = len(self._jobs), time.monotonic()
        while missing and not self.stopped:
            try:
                item = self._done.get(timeout=_TICK_S)
            except queue.Empty:
                item = None
            if isinstance(item, BaseException):
                raise item
            if item is not None:
                url, result = item
                if isinstance(result, Failure):
                    self._failed(url, result)
                else:
                    self.paths[url] = result
                missing -= 1
                advance(1)
            if time.monotonic() - looked >= _TICK_S:
                looked = time.monotonic()
                downloader.enforce_deadlines()

    def _ask(self, downloader: Downloader) -> None:
        """What each thread does."""
        while (job := self._queues.take()) is not None:
            try:
                self._request(downloader, job)
            except (OSError, sqlite3.Error) as problem:
                text = f"{self.cache.folder}: the image cache cannot be written ({problem})."
                self._done.put(InputError(text))
            except BaseException as problem:
                self._done.put(problem)
            finally:
                self._queues.release(job.target.host)

    def _request(self, downloader: Downloader, job: _Job) -> None:
        from pinjoin.data.download import FetchError, Moved, Picture

        host, known = job.target.host, job.known
        try:
            if known is None:
                answer = downloader.get(job.target)
            else:
                answer = downloader.get(job.target, known.etag, known.last_modified)
        except FetchError as problem:
            if not self._over:
                self._not_got(job, problem)
            return
        self._queues.answered(host, well=True)
        if isinstance(answer, Moved):
            self._follow(job, answer.location)
        elif isinstance(answer, Picture):
            path = self.cache.put(job.key, answer.content, answer.etag, answer.last_modified)
            self._done.put((job.key, path))
        elif known is not None:
            self.cache.confirm(job.key)
            self._done.put((job.key, known.path))

    def _follow(self, job: _Job, location: str) -> None:
        from pinjoin.data.download import FetchError

        most = self.config.max_redirects
        try:
            if job.hops >= most:
                failure = Failure(f"the server sends on more than {most} times", shown(location))
                raise FetchError(failure, "staying")
            try:
                target = parse_url(location, base=job.target)
            except AddressError as problem:
                failure = Failure(f"sent on: {problem.reason}", shown(location), problem.remedy)
                raise FetchError(failure, "staying") from None
        except FetchError as problem:
            self._end(job, problem)
            return
        self._queues.put(target.host, replace(job, target=target, hops=job.hops + 1))

    def _not_got(self, job: _Job, problem: FetchError) -> None:
        host, config = job.target.host, self.config
        in_a_row = self._queues.answered(host, well=not problem.host_failed)
        wait_s = config.backoff_s * 2 ** (job.attempt - 1) * self._random.uniform(0.5, 1.5)
        wait_s = max(wait_s, problem.wait_s or 0.0)
        if problem.slow_down:
            self._queues.pause(host, min(wait_s, config.max_wait_s))
        if problem.again and job.attempt < config.attempts and wait_s <= config.max_wait_s:
            self._queues.put(host, replace(job, attempt=job.attempt + 1), delay=wait_s)
        else:
            self._end(job, problem)
        if in_a_row >= config.host_failures:
            self._leave(host)

    def _leave(self, host: str) -> None:
        """Ask nothing more of a host that does not answer well."""
        for job in self._queues.drain(host):
            failure = Failure("the host failed too often, and was left alone", host)
            self._give_up(job, failure)

    def _end(self, job: _Job, problem: FetchError) -> None:
        """No more attempts: remember why, so that the next run does not ask at once."""
        config, failure = self.config, problem.failure
        tries = f"after {job.attempt} attempts" if job.attempt > 1 else ""
        via = f"at {shown(str(job.target))}" if job.hops else ""
        detail = ", ".join(part for part in (failure.detail, via, tries) if part)
        failure = replace(failure, detail=detail)
        if job.known is not None:
            self.cache.confirm(job.key)  # what was fetched once is better than nothing
        elif problem.lasting != "unasked" or job.hops:  # who sent us on was asked
            for_s = config.forget_s if problem.lasting == "staying" else config.forget_passing_s
            for_s = max(for_s, min(problem.wait_s or 0.0, config.forget_s))
            by_limits = problem.by_limits or problem.lasting == "unasked"
            limits = config.limits_key if by_limits else None
            self.cache.fail(job.key, failure, for_s, limits)
        self._give_up(job, failure)

    def _give_up(self, job: _Job, failure: Failure) -> None:
        self._done.put((job.key, failure if job.known is None else job.known.path))

    def _failed(self, url: str, failure: Failure) -> None:
        self.failures[url] = failure
        self.stopped = self.stopped or self.strict

    def _is_old(self, known: CachedImage) -> bool:
        after = self.config.revalidate_after_s
        return after is not None and time.time() - known.checked_at >= after

    def _remembered(self, key: str) -> Failure | None:
        if self.config.retry_failures:
            return None
        return self.cache.failure(key, self.config.limits_key)
