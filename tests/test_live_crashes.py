"""Processes that are killed while they store: what they acknowledged is there, and there once."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from live_databases import KINDS, LiveDatabase, entries, made, new_database, saved, submit

from pinjoin.live.store import open_store
from pinjoin.live.submissions import Receipt

SAVES = 10_000
IN_FLIGHT = 256

BEGIN = """
    import os, signal, sys, time
    from pathlib import Path
    from pinjoin.live import group_commit, store as store_module
    from pinjoin.live.changes import Save
    from pinjoin.live.store import StoreConfig, open_store
    from pinjoin.live.submissions import Submission

    where = sys.argv[1]
    where = where if "://" in where else Path(where)
    store = open_store(where, StoreConfig(patience_s=60, lock_s=10))

    def saved(key):
        return Submission(key, (Save(key, "b1", f"{key}.jpg"),))
"""

SERVE = """
    def acknowledge(key):
        return lambda future: print(key, future.result().sequence, flush=True)

    for line in sys.stdin:
        key = line.strip()
        store.submit(saved(key)).add_done_callback(acknowledge(key))
    store.close()
"""

KILLED_BEFORE_COMMIT = """
    append = store_module.append

    def killed(*given):
        append(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    store_module.append = killed
    store.submit(saved("k")).result()
"""

KILLED_BEFORE_ACKNOWLEDGING = """
    group_commit._resolve = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    store.submit(saved("k")).result()
"""

WRITE_AND_FOLLOW = """
    own, count = sys.argv[2], int(sys.argv[3])
    after, seen, waiting = 0, [], []
    while len(seen) < 2 * count:
        if len(waiting) < count:
            waiting.append(store.submit(saved(f"{own}{len(waiting)}")))
        page = store.tail(after)
        after = page.sequence
        seen += [(one.sequence, one.key, one.origin == store.origin) for one in page.entries]
        time.sleep(0.002)
    assert all(future.done() for future in waiting)
    for one in seen:
        print(*one)
    store.close()
"""


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveDatabase]:
    with new_database(request.param, tmp_path) as made:
        yield made


def start(program: str, database: LiveDatabase, *given: str) -> subprocess.Popen[str]:
    text = textwrap.dedent(BEGIN) + textwrap.dedent(program)
    command = [sys.executable, "-c", text, str(database.where), *given]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1)


class Client:
    """Has saves stored by servers that die, and submits what was not acknowledged again."""

    def __init__(self, database: LiveDatabase, keys: list[str]) -> None:
        self.database = database
        self.open = deque(keys)
        self.acknowledged: dict[str, int] = {}

    def use_a_server(self, kill_after: int) -> None:
        """One server's life: it is killed after some receipts, or ends when all have come."""
        server = start(SERVE, self.database)
        outlet, inlet = server.stdin, server.stdout
        assert outlet is not None
        assert inlet is not None
        sent: list[str] = []
        with suppress(BrokenPipeError), outlet:  # closing it ends the server
            for _ in range(min(IN_FLIGHT, len(self.open))):
                sent.append(self.open.popleft())
                print(sent[-1], file=outlet)
            for receipts, line in enumerate(inlet, 1):
                self.take(line)
                if receipts == kill_after:
                    server.kill()
                    break
                if self.open:
                    sent.append(self.open.popleft())
                    print(sent[-1], file=outlet)
                elif len(self.acknowledged) == SAVES:
                    break
        with inlet:  # what it wrote before it died
            for line in inlet:
                self.take(line)
        server.wait(60)
        self.open.extendleft(key for key in reversed(sent) if key not in self.acknowledged)

    def take(self, line: str) -> None:
        if line.endswith("\n"):  # else it was killed while it wrote
            key, sequence = line.split()
            assert self.acknowledged.setdefault(key, int(sequence)) == int(sequence)


def test_killed_servers_lose_and_double_no_acknowledged_save(database: LiveDatabase) -> None:
    keys = [f"k{n}" for n in range(SAVES)]
    client, random, lives = Client(database, keys), Random(1), 0
    while client.open:
        client.use_a_server(random.randrange(1, 2_500))
        lives += 1
    assert lives >= 5
    with open_store(database.where) as store:
        found = entries(store)
        assert {entry.key: entry.sequence for entry in found} == client.acknowledged
        assert sorted(made(found)) == sorted(keys)
        assert [entry.sequence for entry in found] == list(range(1, SAVES + 1))


@pytest.mark.parametrize(
    ("program", "stored"), [(KILLED_BEFORE_COMMIT, False), (KILLED_BEFORE_ACKNOWLEDGING, True)]
)
def test_a_client_that_got_no_answer_submits_again(
    database: LiveDatabase, program: str, stored: bool
) -> None:
    server = start(program, database)
    server.communicate(timeout=60)
    assert server.returncode == -signal.SIGKILL
    with open_store(database.where) as store:
        assert made(entries(store)) == (["k"] if stored else [])
        assert submit(store, saved("k")) == [Receipt(1, repeated=stored)]
        assert made(entries(store)) == ["k"]


def test_processes_see_each_others_saves_in_one_order(database: LiveDatabase) -> None:
    count = 100
    open_store(database.where).close()
    both = [start(WRITE_AND_FOLLOW, database, own, str(count)) for own in "ab"]
    seen = []
    for own, process in zip("ab", both, strict=True):
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        lines = [line.split() for line in out.splitlines()]
        assert all((key[0] == own) == (mine == "True") for _, key, mine in lines)
        seen.append([(int(sequence), key) for sequence, key, _ in lines])
    assert seen[0] == seen[1]
    assert [sequence for sequence, _ in seen[0]] == list(range(1, 2 * count + 1))
    for own in "ab":  # of one process, in the order of its submissions
        mine = [key for _, key in seen[0] if key[0] == own]
        assert mine == [f"{own}{n}" for n in range(count)]
