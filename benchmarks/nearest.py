"""Content neighbours: Hamming distances at random and in a scan, indexes, sparse cosine.

    python benchmarks/nearest.py [--bits 1024,4096] [--codes 1000000] [--parts random,scan,...]

Codes are hyperplane bits of clustered Gaussian vectors: 20,000 centres from N(0, I_64), the r-th
drawn in proportion to r^-½, plus N(0, 0.6² I_64); bits are the signs of random projections. So a
query has near neighbours, as pictures have, and most codes are as far from it as chance puts them.
Everything is measured in turns beside the machine's own reading of the same bytes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import candidates
import numpy as np
import probe

from pinjoin.candidates.approximate import ApproximateHamming, StoredGraph
from pinjoin.candidates.nearest import ExactHamming, TextNeighbours

K = 100


def codes(n: int, bits: int, seed: int = 0) -> np.ndarray:
    """(n, bits / 8) uint8; made once and kept between runs."""
    path = candidates.CACHE / f"codes-{n}-{bits}-{seed}.npy"
    if not path.exists():
        candidates.CACHE.mkdir(exist_ok=True)
        rng = np.random.default_rng(seed)
        centres = rng.standard_normal((20_000, 64), np.float32)
        planes = rng.standard_normal((64, bits), np.float32)
        share = np.arange(1, 20_001) ** -0.5
        made = np.empty((n, bits // 8), np.uint8)
        for first in range(0, n, 20_000):
            size = min(20_000, n - first)
            chosen = rng.choice(20_000, size, p=share / share.sum())
            noise = rng.standard_normal((size, 64), np.float32) * np.float32(0.6)
            signs = (centres[chosen] + noise) @ planes > 0
            made[first : first + size] = np.packbits(signs, axis=1, bitorder="little")
        np.save(path, made)
    return np.load(path)


def in_turns(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each, run one after the other so that noise hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(took) for name, took in times.items()}


def random_part(base: np.ndarray, reads: int = 10_000) -> dict[str, float]:
    """Distances to rows at random, beside merely reading such rows."""
    index = ExactHamming(base)
    words = base.view(np.uint64)
    rng = np.random.default_rng(0)

    def fresh() -> np.ndarray:  # rows that no earlier turn has brought into cache
        return rng.integers(len(base), size=reads)

    orders = [fresh().astype(np.uint64) for _ in range(40)]
    lists = [fresh().astype(np.uint32) for _ in range(40)]
    took = in_turns(
        {
            "read": lambda: probe._read_rows(words, orders.pop()),
            "distances": lambda: index.distances(base[0], lists.pop()),
        },
        repeats=30,
    )
    return {
        "read_ms": took["read"] * 1e3,
        "distances_ms": took["distances"] * 1e3,
        "GB_per_s": reads * base.shape[1] / took["distances"] / 1e9,
        "times_reading (≤ 1.3)": took["distances"] / took["read"],
    }


def scan_part(base: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    """One query against all codes, beside streaming them and beside faiss, one thread each."""
    import faiss

    words = base.reshape(-1).view(np.uint64)
    alone, together = ExactHamming(base, threads=1), ExactHamming(base)
    flat = faiss.IndexBinaryFlat(base.shape[1] * 8)
    flat.add(base)
    faiss.omp_set_num_threads(1)
    one, ten = queries[:1], queries[:10]
    took = in_turns(
        {
            "stream": lambda: probe._sum(words),
            "scan": lambda: alone.search(one[0], K),
            "k10000": lambda: alone.search(one[0], 10_000),
            "threads": lambda: together.search(one[0], K),
            "faiss": lambda: flat.search(one, K),
            "faiss_batch": lambda: flat.search(ten, K),
        },
        repeats=9,
    )
    theirs = flat.search(ten, K)[0]
    assert all(np.array_equal(alone.search(q, K)[1], d) for q, d in zip(ten, theirs, strict=True))
    return {
        "stream_ms": took["stream"] * 1e3,
        "scan_ms": took["scan"] * 1e3,
        "scan_k_10,000_ms": took["k10000"] * 1e3,
        "scan_all_threads_ms": took["threads"] * 1e3,
        "faiss_flat_ms": took["faiss"] * 1e3,
        "faiss_flat_ms_in_batches_of_10": took["faiss_batch"] * 1e2,
        "times_stream (≤ 1.3)": took["scan"] / took["stream"],
        "times_faster_than_faiss": took["faiss"] / took["scan"],
    }


def text_part(n: int = 1_000_000, n_terms: int = 200_000, width: int = 32) -> dict[str, float]:
    """Images of 32 terms, drawn in proportion to rank^-0.8; queries are images."""
    rng = np.random.default_rng(0)
    share = np.cumsum(np.arange(1, n_terms + 1) ** -0.8)
    ids = np.searchsorted(share / share[-1], rng.random((n, width))).astype(np.uint32)
    ids.sort(axis=1)
    ids[:, 1:][ids[:, 1:] == ids[:, :-1]] = 0xFFFFFFFF  # said twice: once
    weights = rng.random((n, width), np.float32) * (ids < n_terms)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    start = time.perf_counter()
    index = TextNeighbours(ids, weights, n_terms)
    built = time.perf_counter() - start
    asked = rng.integers(n, size=50)
    index.search(ids[0], weights[0], K)
    times = []
    for query in asked:
        start = time.perf_counter()
        index.search(ids[query], weights[query], K, exclude=[int(query)])
        times.append(time.perf_counter() - start)
    terms = [ids[query][ids[query] < n_terms] for query in asked]
    postings = float(np.median([np.diff(index.indptr)[term].sum() for term in terms]))
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return {
        "build_s": built,
        "p50_ms": p50,
        "p99_ms": p99,
        "postings_read": postings,
        "ns_per_posting": p50 * 1e6 / postings,
        "increment_ns (uint16 counters)": probe.increment_ns(n),
    }


def recall(found: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """By distance: of codes equally far, any is right."""
    return float(np.mean([np.mean(d <= t[-1]) for d, t in zip(found, truth, strict=True)]))


def sketch_part(base: np.ndarray, queries: np.ndarray) -> dict[str, Any]:
    """Sketches first: recall and time per query beside the exact scan, one thread each."""
    from pinjoin.candidates.sketched import SketchedHamming, sketches_of

    start = time.perf_counter()
    sketches = sketches_of(base)
    row: dict[str, Any] = {"build_s": time.perf_counter() - start}
    exact, index = ExactHamming(base, threads=1), SketchedHamming(base, sketches, threads=1)
    for k in (K, 1_000):
        truth = [exact.search(query, k)[1] for query in queries]
        row[f"recall@{k}"] = recall([index.search(query, k)[1] for query in queries], truth)
        turns, others = iter(list(queries) * 2), iter(list(queries) * 2)
        took = in_turns(
            {
                "sketched": lambda turns=turns, k=k: index.search(next(turns), k),
                "scan": lambda others=others, k=k: exact.search(next(others), k),
            },
            repeats=50,
        )
        row |= {f"k={k}_ms": took["sketched"] * 1e3, f"k={k}_scan_ms": took["scan"] * 1e3}
    return row


def kept_graph(base: np.ndarray) -> tuple[StoredGraph, float | None]:
    """The graph of these codes and the seconds it took to build; None: it was kept by another run,
    as it takes a quarter of an hour for a million."""
    path = candidates.CACHE / f"graph-{len(base)}-{base.shape[1] * 8}.npy"
    if path.exists():
        return StoredGraph(np.load(path), np.arange(len(base), dtype=np.uint32)), None
    start = time.perf_counter()
    graph = ApproximateHamming.build(base).stored()
    seconds = time.perf_counter() - start
    np.save(path, graph.bytes)
    return graph, seconds


def index_part(base: np.ndarray, queries: np.ndarray) -> dict[str, Any]:
    """The graph we keep: recall of the nearest 100 and time per query, beside the exact scan; and
    what it takes to hand it on to a catalogue of which one in a hundred is new."""
    from pinjoin.candidates.growing import GrowingHamming

    exact = ExactHamming(base, threads=1)
    truth = [exact.search(query, K)[1] for query in queries]
    with tempfile.TemporaryDirectory(dir=candidates.CACHE) as folder:
        file = Path(folder) / "graph.npy"
        old = len(base) - len(base) // 100
        earlier, seconds = kept_graph(base[:old])
        row: dict[str, Any] = {} if seconds is None else {"build_s": seconds}
        start = time.perf_counter()
        stored = ApproximateHamming.build(base, earlier=earlier).stored()
        np.save(file, stored.bytes)
        row["hand_on_s"] = time.perf_counter() - start
        row["file_MB"] = file.stat().st_size / 1e6
        row["codes_MB"] = base.nbytes / 1e6
        start = time.perf_counter()
        mapped = StoredGraph(np.load(file, mmap_mode="r"), stored.rows)
        index = ApproximateHamming.open(mapped, base)
        row["open_ms"] = (time.perf_counter() - start) * 1e3
        found = [index.search(query, K)[1] for query in queries]
        row["recall@100 (≥ 0.95)"] = recall(found, truth)
        turns = iter(list(queries) * 20)
        took = in_turns(
            {
                "index": lambda: index.search(next(turns), K),
                "scan": lambda: exact.search(queries[0], K),
            },
            repeats=50,
        )
        start = time.perf_counter()
        GrowingHamming(index, queries[:1])
        row["add_one_ms"] = (time.perf_counter() - start) * 1e3
    row |= {"search_ms": took["index"] * 1e3, "searches_per_s": 1 / took["index"]}
    row |= {"scan_ms": took["scan"] * 1e3, "times_scan (≤ 0.1)": took["index"] / took["scan"]}
    return row


def peers_part(base: np.ndarray, queries: np.ndarray) -> dict[str, Any]:
    """What else could be kept: faiss' binary indexes, at the settings that reach the recall."""
    import faiss

    exact = ExactHamming(base, threads=1)
    truth = np.array([exact.search(query, K)[1][-1] for query in queries])[:, None]
    bits = base.shape[1] * 8
    lists = max(16, len(base) // 1000)
    coarse = faiss.IndexBinaryFlat(bits)
    ivf = faiss.IndexBinaryIVF(coarse, bits, lists)
    ivf.cp.niter, ivf.cp.max_points_per_centroid = 5, 50
    graph = faiss.IndexBinaryHNSW(bits, 16)
    graph.hnsw.efConstruction = 128
    multi = faiss.IndexBinaryMultiHash(bits, 16, 24)
    efforts = {
        "IVF": (ivf, "nprobe", [max(1, lists // part) for part in (64, 32, 16, 8)]),
        "HNSW": (graph, "hnsw.efSearch", [200, 300, 500, 800]),
        "multi-hash": (multi, "nflip", [0, 1]),
    }
    rows: dict[str, Any] = {}
    for name, (index, knob, values) in efforts.items():
        faiss.omp_set_num_threads(candidates.THREADS)
        start = time.perf_counter()
        index.train(base[: lists * 50])
        index.add(base)
        built = time.perf_counter() - start
        faiss.omp_set_num_threads(1)
        for value in values:
            holder = index.hnsw if "." in knob else index
            setattr(holder, knob.split(".")[-1], value)
            start = time.perf_counter()
            found = np.concatenate([index.search(query[None], K)[0] for query in queries])
            took = (time.perf_counter() - start) / len(queries)
            recall = float(((found <= truth) & (found >= 0)).sum(1).clip(max=K).mean() / K)
            rows[f"faiss {name}, {knob} {value}"] = {
                "build_s": built,
                "recall": recall,
                "ms": took * 1e3,
            }
            print(
                f"  faiss {name}, {knob} {value}: recall {recall:.3f}, {took * 1e3:.2f} ms, "
                f"built in {built:.0f} s",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="random,scan,sketch,index,text", help="also: peers")
    parser.add_argument("--bits", default="1024,4096")
    parser.add_argument("--codes", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": probe.machine()}
    parts: dict[str, Callable[[np.ndarray, np.ndarray], dict[str, Any]]] = {
        "random": lambda base, queries: random_part(base),
        "scan": scan_part,
        "sketch": sketch_part,
        "index": index_part,
        "peers": peers_part,
    }
    for bits in map(int, options.bits.split(",")):
        made = codes(options.codes + 200, bits)
        base, queries = made[:-200], made[-200:]
        for name in (name for name in parts if name in options.parts.split(",")):
            row = parts[name](base, queries)
            figures[f"{name}, {bits} bits"] = row
            if name != "peers":
                candidates.print_row(f"{name}, {len(base):,} codes of {bits:,} bits", row)
    if "text" in options.parts.split(","):
        figures["text"] = text_part()
        candidates.print_row("text, 1,000,000 images of up to 32 terms", figures["text"])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
