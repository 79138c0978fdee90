"""Group commit: one write for all that came while the disk was busy, one answer for each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from pinjoin.core.errors import ConfigError
from pinjoin.live.errors import ConflictError, UnavailableError
from pinjoin.live.group_commit import GroupCommit, GroupCommitConfig

AT_ONCE = GroupCommitConfig(linger_s=0)
PATIENT = GroupCommitConfig(linger_s=0, patience_s=60)


class Disk:
    """Doubles numbers, when it is let. `groups` are what it was given."""

    def __init__(self, busy: bool = False) -> None:
        self.groups: list[list[int]] = []
        self.asked = threading.Semaphore(0)
        self.let = threading.Event()
        self.failures: list[Exception] = []
        if not busy:
            self.let.set()

    def write(self, group: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(group))
        self.asked.release()
        assert self.let.wait(60)
        if self.failures:
            raise self.failures.pop(0)
        return [ConflictError("odd") if n % 2 else 2 * n for n in group]


@contextmanager
def commits(disk: Disk, config: GroupCommitConfig) -> Iterator[GroupCommit[int, int]]:
    made: GroupCommit[int, int] = GroupCommit(disk.write, config)
    try:
        yield made
    finally:
        disk.let.set()
        made.close()


def results(futures: Sequence[Future[int]]) -> list[int]:
    return [future.result(60) for future in futures]


def busy_with_first(disk: Disk, group: GroupCommit[int, int]) -> Future[int]:
    """The future of an item that is being written, and is not done until the disk is let."""
    first = group.submit(0)
    disk.asked.acquire()
    return first


def test_what_comes_while_the_disk_is_busy_is_one_group() -> None:
    disk = Disk(busy=True)
    with commits(disk, AT_ONCE) as group:
        first = busy_with_first(disk, group)
        rest = [group.submit(n) for n in (2, 4, 6)]
        assert not first.done()
        disk.let.set()
        assert results([first, *rest]) == [0, 4, 8, 12]
    assert disk.groups == [[0], [2, 4, 6]]


def test_the_first_waits_for_others() -> None:
    disk = Disk()
    with commits(disk, GroupCommitConfig(linger_s=3600, max_rows=3)) as group:
        assert results([group.submit(n) for n in (2, 4, 6)]) == [4, 8, 12]
    assert disk.groups == [[2, 4, 6]]


def test_groups_are_cut_by_their_rows() -> None:
    disk = Disk(busy=True)
    with commits(disk, GroupCommitConfig(linger_s=0, max_rows=10)) as group:
        busy_with_first(disk, group)
        for item, rows in ((2, 6), (4, 4), (6, 1), (8, 50), (10, 1)):
            group.submit(item, rows)
    assert disk.groups == [[0], [2, 4], [6], [8], [10]]


def test_one_failure_is_no_one_elses() -> None:
    disk = Disk(busy=True)
    with commits(disk, AT_ONCE) as group:
        busy_with_first(disk, group)
        two, three = group.submit(2), group.submit(3)
        disk.let.set()
        assert two.result(60) == 4
        with pytest.raises(ConflictError, match="odd"):
            three.result(60)


def test_what_is_unavailable_is_tried_again_in_order() -> None:
    disk = Disk(busy=True)
    disk.failures = [UnavailableError("gone"), UnavailableError("gone")]
    with commits(disk, PATIENT) as group:
        first = busy_with_first(disk, group)
        later = group.submit(2)
        disk.let.set()
        assert results([first, later]) == [0, 4]
    assert disk.groups == [[0], [0, 2], [0, 2]]


def test_a_whole_group_that_is_tried_again_waits_for_no_others() -> None:
    disk = Disk()
    disk.failures = [UnavailableError("gone")]
    with commits(disk, GroupCommitConfig(linger_s=3600, patience_s=60, max_rows=2)) as group:
        assert results([group.submit(n) for n in (2, 4)]) == [4, 8]
        assert results([group.submit(n) for n in (6, 8)]) == [12, 16]
    assert disk.groups == [[2, 4], [2, 4], [6, 8]]


def test_patience_ends_with_the_error_and_the_next_is_tried() -> None:
    disk = Disk()
    disk.failures = [UnavailableError("gone")]
    with commits(disk, GroupCommitConfig(linger_s=0, patience_s=0)) as group:
        with pytest.raises(UnavailableError, match="gone"):
            group.submit(2).result(60)
        assert group.submit(4).result(60) == 8


def test_an_unforeseen_error_reaches_its_callers_and_the_thread_lives_on() -> None:
    disk = Disk()
    disk.failures = [ZeroDivisionError("bug")]
    with commits(disk, PATIENT) as group:
        with pytest.raises(ZeroDivisionError, match="bug"):
            group.submit(2).result(60)
        assert group.submit(4).result(60) == 8


def test_closing_writes_what_is_waiting_and_takes_nothing_more() -> None:
    disk = Disk()
    with commits(disk, GroupCommitConfig(linger_s=3600)) as group:
        waiting = group.submit(2)
        group.close()
        assert waiting.result(0) == 4
        with pytest.raises(UnavailableError, match="The store is closed"):
            group.submit(4)


def test_closing_does_not_wait_for_a_database_to_come_back() -> None:
    disk = Disk(busy=True)
    disk.failures = [UnavailableError("gone")] * 2
    with commits(disk, PATIENT) as group:
        first = busy_with_first(disk, group)
        closing = threading.Thread(target=group.close)
        closing.start()
        while not group._closed:
            pass
        disk.let.set()
        with pytest.raises(UnavailableError, match="gone"):
            first.result(60)
        closing.join(60)
        assert not closing.is_alive()


def test_what_was_cancelled_before_it_was_taken_is_not_written() -> None:
    disk = Disk(busy=True)
    with commits(disk, AT_ONCE) as group:
        first = busy_with_first(disk, group)
        unwanted, wanted = group.submit(2), group.submit(4)
        assert unwanted.cancel()
        assert not first.cancel()
        disk.let.set()
        assert results([first, wanted]) == [0, 8]
    assert disk.groups == [[0], [4]]


def test_too_many_waiting_are_refused_at_once() -> None:
    disk = Disk(busy=True)
    config = GroupCommitConfig(linger_s=0, max_waiting_rows=5)
    with commits(disk, config) as group:
        busy_with_first(disk, group)
        kept = group.submit(2, rows=5)
        with pytest.raises(UnavailableError, match="5 changes are waiting to be written"):
            group.submit(4)
        disk.let.set()
        assert kept.result(60) == 4


def test_coroutines_await_their_items() -> None:
    async def all_of() -> list[int]:
        wrapped = [asyncio.wrap_future(group.submit(n)) for n in range(0, 200, 2)]
        return await asyncio.gather(*wrapped)

    with commits(Disk(), AT_ONCE) as group:
        assert asyncio.run(all_of()) == [2 * n for n in range(0, 200, 2)]


def test_many_threads_get_each_their_own_answer() -> None:
    answers: dict[int, int] = {}

    def call(own: int) -> None:
        for n in range(own, 2_000, 16):
            answers[n] = group.submit(2 * n).result(60)

    with commits(Disk(), GroupCommitConfig(linger_s=0.0005, max_rows=7)) as group:
        threads = [threading.Thread(target=call, args=(own,)) for own in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {n: 4 * n for n in range(2_000) if n % 16 < 8}


@pytest.mark.parametrize(
    "make",
    [
        lambda: GroupCommitConfig(max_rows=0),
        lambda: GroupCommitConfig(max_waiting_rows=-1),
        lambda: GroupCommitConfig(linger_s=-1),
        lambda: GroupCommitConfig(patience_s=float("nan")),
    ],
)
def test_a_config_that_cannot_work_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match="of GroupCommitConfig must be"):
        make()
