"""What is live on top of a snapshot: how soon a save is seen, and what it costs those who read.

    python benchmarks/live_overlay.py [--images 200000] [--saves 3200000] [--folder DIR]

Reading a workspace with and without a live part is compared in turns within this run; a save that
is seen is beside the commit it has to wait for.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import CatalogueShape
from synthetic_workspace import make

import pinjoin
from pinjoin.live.changes import Board, Change, Save
from pinjoin.live.overlay import Overlay
from pinjoin.live.store import Store, open_store
from pinjoin.live.submissions import Entry, Submission
from pinjoin.live.workspace import LiveWorkspace, open_live

SEEN, READ, TURNS, APPLIED = 200, 200, 7, 10_000


class Saver:
    """Saves that never repeat: a popular image to a random board, or a new image."""

    def __init__(self, ws: pinjoin.Workspace, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.images = ws.describe(np.arange(20_000))
        self.boards = ws.describe_boards(self.rng.integers(ws.n_boards, size=20_000))
        self.made = 0

    def save(self, new: float = 0.2) -> Save:
        self.made += 1
        board = self.boards[int(self.rng.integers(len(self.boards)))]["board_id"]
        image = self.images[int(self.rng.integers(len(self.images)))]["image"]
        if self.rng.random() < new:
            image = f"new-{self.made}.jpg"
        words = " ".join(f"word{one}" for one in self.rng.integers(5_000, size=4))
        return Save(f"live-{self.made}-{id(self)}", board, image, words, created_at=1_700_000_000)


def percentiles(seconds: np.ndarray) -> dict[str, float]:
    return {f"p{q}_ms": round(float(np.percentile(seconds, q) * 1e3), 3) for q in (50, 99)}


def in_turns(work: dict[str, Callable[[int], Any]], rows: np.ndarray) -> dict[str, Any]:
    """Each does each row some times in changing order; processor time, the least of each row."""
    took = {name: np.full(len(rows), np.inf) for name in work}
    for turn in range(TURNS):
        for i, row in enumerate(rows.tolist()):
            for name in sorted(work, reverse=(i + turn) % 2 == 0):
                start = time.thread_time()
                work[name](row)
                took[name][i] = min(took[name][i], time.thread_time() - start)
    return {name: percentiles(times) for name, times in took.items()} | {
        "ratio": round(float(np.median(took["live"] / took["snapshot"])), 3)
    }


def read_part(path: Path, overlay: Overlay) -> dict[str, Any]:
    """Ranking 20 of a traffic-weighted row, on the snapshot alone and on a version of it."""
    plain, rng = pinjoin.open(path, verify="none"), np.random.default_rng(1)
    rows = plain.incidence.board_images[rng.integers(plain.incidence.n_saves, size=READ)]
    work = {"snapshot": lambda row: plain.rank(row, 20), "live": lambda row: live.rank(row, 20)}
    live: pinjoin.Workspace = overlay.newest
    for one in work.values():
        one(int(rows[0]))
    found: dict[str, Any] = {"no changes": in_turns(work, rows)}
    saver = Saver(plain, 2)
    overlay.apply([Entry(1, "", "", tuple(saver.save() for _ in range(1_000)))], 1)
    live = overlay.newest
    found["1,000 saves"] = in_turns(work, rows)
    return found


def apply_part(overlay: Overlay, saver: Saver) -> dict[str, Any]:
    """Many saves, as when a server starts: a fifth of them of new images."""
    changes: list[Change] = [saver.save() for _ in range(APPLIED)]
    start = time.perf_counter()
    overlay.apply([Entry(2, "", "", tuple(changes))], 2)
    took = time.perf_counter() - start
    versions = np.empty(50)
    for i in range(len(versions)):
        start = time.perf_counter()
        overlay.apply([Entry(i + 3, "", "", (saver.save(0),))], i + 3)
        versions[i] = time.perf_counter() - start
    return {"seconds": round(took, 2), "us_per_save": round(took / APPLIED * 1e6, 1),
            "one_save": percentiles(versions)}  # fmt: skip


def seen_part(ws: LiveWorkspace, store: Store, saver: Saver) -> dict[str, Any]:
    """From handing in a save of a new image to finding it beside another of its board."""
    receipt, seen, shown = np.empty((3, SEEN))
    board = Submission(f"bench:{id(saver)}", (Board("bench", "Bench"),))
    ws.apply_now(store.submit(board).result().sequence)
    for i in range(SEEN):
        save = saver.save(new=1.0)
        one = Save(f"{save.pin_id}-b", "bench", save.image, save.title, created_at=1_700_000_000)
        start = time.perf_counter()
        got = store.submit(Submission(f"bench:{id(saver)}:{i}", (one,))).result()
        receipt[i] = time.perf_counter() - start
        ws.apply_now(got.sequence)
        seen[i] = time.perf_counter() - start
        row = ws.find(one.pin_id)
        assert len(ws.now.graph.images_of(ws.now.graph.boards_of(row)[0])) == i + 1
        ws.related(one.pin_id, 20, explain=False)
        shown[i] = time.perf_counter() - start
        time.sleep(0.03)
    times = {"durable": receipt, "visible": seen, "answered": shown}
    return {name: percentiles(took) for name, took in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--saves", type=int, default=3_200_000)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "pinjoin-bench"
    )
    given = parser.parse_args()
    path = make(given.folder, CatalogueShape(given.images, given.saves))
    snapshot = pinjoin.open(path, verify="none").snapshot
    overlay = Overlay(path, snapshot, 0, None)
    found: dict[str, Any] = {"images": given.images, "saves": given.saves}
    found["read"] = read_part(path, overlay)
    found["apply 10,000 saves"] = apply_part(overlay, Saver(overlay.newest, 3))
    overlay.close()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with open_store(Path(folder) / "live.db") as store, open_live(path, store) as ws:
            found["open_ms"] = round((time.perf_counter() - start) * 1e3, 1)
            ws.related(ws.describe([0])[0]["pin_id"], 20)
            found["seen"] = seen_part(ws, store, Saver(ws, 4))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
