"""Random walks: how well they complete boards, sampled and exact, and how long they take.

    python benchmarks/walk.py [--data DIR] [--parts quality,speed] [--shape small|large] [--json F]

Quality, on catalogues in DIR (`movies`, `ikea`: a pins.csv each) and on a made-up sparse one of
50,000 images with 2.7 boards each, where walks need more steps. For each of `--seeds` seeds: half
of the boards of four images or more, drawn at random, are test boards. From each, in row order, one
image is hidden, drawn from those that keep at least two boards once it is (else "on no board" would
give it away); boards without such an image are left out. The query is another image of the board,
drawn at random. All hidings are done before anything is computed. Only images that still have two
boards or more compete, the query does not. nDCG@100 = 1 / log2(rank + 1) of the hidden image, 0
past rank 100 or if it is not found; ties by popularity. Means over queries (1,000 of a split at
most), then seeds; ± is the standard error over seeds of the difference to the count.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import candidates
import numpy as np
import probe
from synthetic import CatalogueShape, catalogue

from pinjoin.candidates.cooccurrence import Cooccurrence, CooccurrenceConfig
from pinjoin.candidates.walk import RandomWalk, WalkConfig
from pinjoin.core.incidence import Incidence, group_pairs

EVERYTHING = 1 << 62
STEPS = (1_000, 4_000, 10_000, 40_000)
SPARSE = CatalogueShape(images=50_000, saves=150_000, images_per_topic=300, max_board=300)
ASKED = 1_000  # queries of one split, at most


@dataclass(frozen=True)
class Completion:
    """One split: the catalogue without what is hidden, and who is asked for what."""

    incidence: Incidence
    queries: np.ndarray
    hidden: np.ndarray

    def score(self, top: Callable[[int], np.ndarray]) -> tuple[float, float]:
        """(nDCG@100, ms per query) of a ranking of all images."""
        competes = self.incidence.degrees >= 2
        top(int(self.queries[0]))  # compiled now
        gains, took = [], 0.0
        for query, hidden in zip(self.queries, self.hidden, strict=True):
            start = time.perf_counter()
            rows = top(int(query))
            took += time.perf_counter() - start
            place = np.flatnonzero(rows[competes[rows]][:100] == hidden)
            gains.append(1 / math.log2(place[0] + 2) if len(place) else 0.0)
        return float(np.mean(gains)), took / len(gains) * 1e3


def read_catalogue(folder: Path) -> Incidence:
    """Boards and images of a pins.csv, rows by popularity."""
    boards: dict[str, int] = {}
    images: dict[str, int] = {}
    pairs = []
    with (folder / "pins.csv").open(newline="", encoding="utf-8") as file:
        for pin in csv.DictReader(file):
            if pin["board_id"]:
                board = boards.setdefault(pin["board_id"], len(boards))
                pairs.append((board, images.setdefault(pin["image"], len(images))))
    board, image = np.array(pairs, np.uint32).T
    grouped = group_pairs(board, image, len(boards), len(images))
    return grouped.incidence(np.lexsort((sorted_ranks(list(images)), -grouped.degrees)))


def sorted_ranks(names: list[str]) -> np.ndarray:
    ranks = np.empty(len(names), np.int64)
    ranks[sorted(range(len(names)), key=lambda i: names[i].encode())] = np.arange(len(names))
    return ranks


def hide(whole: Incidence, seed: int) -> Completion:
    rng = np.random.default_rng(seed)
    large = np.flatnonzero(whole.sizes >= 4)
    degrees = whole.degrees.copy()
    keep = np.ones(whole.n_saves, bool)
    queries, hidden = [], []
    for board in np.sort(rng.permutation(large)[: len(large) // 2]):
        images = whole.images_of(board)
        able = np.flatnonzero(degrees[images] >= 3)
        if len(able):
            place = int(rng.choice(able))
            degrees[images[place]] -= 1
            keep[whole.board_indptr[board] + place] = False
            hidden.append(int(images[place]))
            queries.append(int(rng.choice(np.delete(images, place))))
    board = np.repeat(np.arange(whole.n_boards), whole.sizes)[keep]
    left = Incidence.from_pairs(board, whole.board_images[keep], whole.n_boards, whole.n_images)
    some = np.sort(rng.permutation(len(queries))[:ASKED])
    return Completion(left, np.array(queries)[some], np.array(hidden)[some])


def contestants(left: Incidence) -> dict[str, Callable[[int], np.ndarray]]:
    n = left.n_images

    def counted(score: str) -> Callable[[int], np.ndarray]:
        counter = Cooccurrence(left, CooccurrenceConfig(score))
        return lambda query: counter.top(query, n).indices.copy()

    def walked(**settings: Any) -> Callable[[int], np.ndarray]:
        walk = RandomWalk(left, WalkConfig(**settings))
        return lambda query: walk.top(query, n).rows

    return {
        "count": counted("count"),
        "Adamic–Adar": counted("adamic_adar"),
        "cosine": counted("cosine"),
        "walk, exact": walked(exact_saves=EVERYTHING),
        **{f"walk, {steps:,} steps": walked(steps=steps, exact_saves=0) for steps in STEPS},
        "walk, default": walked(),
        "walk, early stopping": walked(exact_saves=0, enough_images=100),
    }


def quality_part(name: str, whole: Incidence, seeds: int) -> dict[str, Any]:
    found: dict[str, list[tuple[float, float]]] = {}
    asked = []
    for seed in range(seeds):
        split = hide(whole, seed)
        asked.append(len(split.queries))
        for how, top in contestants(split.incidence).items():
            found.setdefault(how, []).append(split.score(top))
    print(f"\n{name}: {statistics.mean(asked):.0f} queries, {seeds} seeds; nDCG@100, ms")
    base = np.array([score for score, _ in found["count"]])
    rows: dict[str, Any] = {"queries": asked}
    for how, runs in found.items():
        scores, times = np.array(runs).T
        error = float((scores - base).std(ddof=1) / math.sqrt(seeds)) if seeds > 1 else math.nan
        rows[how] = {"ndcg": scores.tolist(), "ms": float(times.mean())}
        print(
            f"  {how:<24}{scores.mean():8.4f} ± {error:.4f}  (seed 0: {scores[0]:.4f})"
            f"{times.mean():9.3f} ms",
            flush=True,
        )
    return rows


def speed_part(name: str, queries: int = 400) -> dict[str, Any]:
    """Default sampling of one query; also beside the cache lines that its steps read at random."""
    whole = Incidence.from_matrix(candidates.catalogue(name))
    rng = np.random.default_rng(0)
    line_ns = 1e9 / probe.row_reads_per_s(64)
    rows: dict[str, Any] = {"images": whole.n_images, "saves": whole.n_saves, "line_ns": line_ns}
    print(f"\n{name}: {whole.n_images:,} images, {whole.n_saves:,} saves; ms per query (p50 ≤ 0.4)")
    asked = {
        "any image": rng.choice(np.flatnonzero(whole.degrees), queries),
        "by traffic": whole.board_images[rng.integers(whole.n_saves, size=queries)],
    }
    for steps in STEPS:
        walk = RandomWalk(whole, WalkConfig(steps=steps))
        walk.top(0)
        for what, chosen in asked.items():
            times = []
            for query in chosen:
                start = time.perf_counter()
                taken = walk.top(int(query)).steps
                times.append(time.perf_counter() - start)
            p50, p99 = np.percentile(times, [50, 99]) * 1e3
            per_step = p50 * 1e6 / max(taken, 1)
            rows[f"{steps} {what}"] = {"p50_ms": p50, "p99_ms": p99, "ns_per_step": per_step}
            print(
                f"  {steps:>6,} steps, {what:<12} p50 {p50:6.3f}  p99 {p99:6.3f}  "
                f"{per_step:5.1f} ns a step ({per_step / line_ns:.1f} × a random cache line)",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = os.environ.get("PINJOIN_DATA", Path(__file__).parents[1] / "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--parts", default="quality,speed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shape", choices=list(candidates.synthetic.SHAPES), default="large")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": probe.machine()}
    for name in ("movies", "ikea") if "quality" in options.parts else ():
        if (options.data / name).is_dir():
            figures[name] = quality_part(name, read_catalogue(options.data / name), options.seeds)
        else:
            print(f"no {name} in {options.data}: left out")
    if "quality" in options.parts:
        sparse = Incidence.from_matrix(catalogue(SPARSE))
        figures["sparse"] = quality_part("sparse", sparse, options.seeds)
    if "speed" in options.parts:
        figures[options.shape] = speed_part(options.shape)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
