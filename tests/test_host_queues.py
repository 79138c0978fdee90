"""Turns: bounded and paced by host, fair between hosts, and over when all is done."""

from __future__ import annotations

import threading
import time

from pinjoin.data.host_queues import HostQueues


class Clock:
    """Time that stands still until moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_jobs_of_a_host_start_in_order_and_at_its_pace():
    clock = Clock()
    queues: HostQueues[int] = HostQueues(per_host=9, rate=10, clock=clock)
    for job in range(5):
        queues.put("a", job)
    for job in range(5):
        assert queues.take() == job
        assert queues._wait_for_turn() is None or abs(queues._wait_for_turn() - 1 / 10) < 1e-9
        clock.now += 1 / 10


def test_an_idle_host_has_saved_up_nothing():
    clock = Clock()
    queues: HostQueues[int] = HostQueues(per_host=9, rate=1, clock=clock)
    queues.put("a", 0)
    queues.take()
    clock.now += 1000
    queues.put("a", 1)
    queues.put("a", 2)
    assert queues.take() == 1
    assert queues._wait_for_turn() == 1.0


def test_no_more_than_per_host_at_once():
    clock = Clock()
    queues: HostQueues[str] = HostQueues(per_host=2, rate=1e9, clock=clock)
    for job in ("a1", "a2", "a3"):
        queues.put("a", job)
    assert queues.take() == "a1"
    clock.now += 1
    assert queues.take() == "a2"
    clock.now += 1
    assert queues._wait_for_turn() is None  # a3 waits for one to end
    queues.put("b", "b1")
    assert queues.take() == "b1"
    assert queues._wait_for_turn() is None
    queues.release("a")
    assert queues.take() == "a3"


def test_one_host_does_not_hold_up_another():
    clock = Clock()
    queues: HostQueues[str] = HostQueues(per_host=9, rate=0.001, clock=clock)
    for n in range(100):
        queues.put("a", f"a{n}")
    queues.put("b", "b0")
    assert [queues.take(), queues.take()] == ["a0", "b0"]


def test_delayed_and_paused_jobs_wait():
    clock = Clock()
    queues: HostQueues[str] = HostQueues(per_host=9, rate=1e9, clock=clock)
    queues.put("a", "late", delay=5)
    assert queues._wait_for_turn() == 5.0
    queues.pause("a", 7)
    assert queues._wait_for_turn() == 7.0
    clock.now += 7
    assert queues.take() == "late"


def test_drained_jobs_are_no_longer_waited_for():
    queues: HostQueues[str] = HostQueues(per_host=9, rate=1e9)
    for job in ("a1", "a2"):
        queues.put("a", job)
    queues.put("a", "a3", delay=1000)
    assert queues.take() == "a1"
    assert queues.drain("a") == ["a2", "a3"]
    queues.release("a")
    assert queues.take() is None


def test_failures_in_a_row_are_counted():
    queues: HostQueues[str] = HostQueues(per_host=9, rate=1e9)
    queues.put("a", "a1")
    assert [queues.answered("a", well) for well in (False, False, True, False)] == [1, 2, 0, 1]


def test_every_job_is_taken_once_by_many_threads_and_all_come_home():
    queues: HostQueues[int] = HostQueues(per_host=3, rate=1e5)
    taken: list[int] = []
    at_once: dict[str, int] = {}
    worst: list[int] = []
    lock = threading.Lock()

    def work() -> None:
        while (job := queues.take()) is not None:
            host = f"h{job % 7}"
            with lock:
                taken.append(job)
                at_once[host] = at_once.get(host, 0) + 1
                worst.append(at_once[host])
            if job < 200:  # leads to another, on another host
                queues.put(f"h{(job + 1000) % 7}", job + 1000, delay=0.001 * (job % 3))
            with lock:
                at_once[host] -= 1
            queues.release(host)

    for job in range(400):
        queues.put(f"h{job % 7}", job)
    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(taken) == [*range(400), *range(1000, 1200)]
    assert max(worst) <= 3


def test_stop_wakes_those_who_wait():
    queues: HostQueues[str] = HostQueues(per_host=1, rate=1)
    queues.put("a", "late", delay=1000)
    got: list[str | None] = []
    thread = threading.Thread(target=lambda: got.append(queues.take()))
    thread.start()
    time.sleep(0.02)
    queues.stop()
    thread.join(5)
    assert got == [None]
