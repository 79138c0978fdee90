"""Candidates by co-occurrence: all pairs, live queries, export and build, beside the peers.

    python benchmarks/candidates.py [--shape small|large|both] [--parts pairs,live,…]

Every figure is a ratio within this run: the peers and the machine's probe work on the same input,
in turns, and medians are compared. Equality with sparse_dot_topn is checked on every row.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import probe
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse
import synthetic

from pinjoin.candidates.cooccurrence import Cooccurrence, cooccurrence
from pinjoin.core.incidence import Incidence

K = 1_000
THREADS = len(os.sched_getaffinity(0))
CACHE = Path(os.environ.get("PINJOIN_BENCH_CACHE", tempfile.gettempdir())) / "pinjoin-bench"


def catalogue(name: str) -> scipy.sparse.csr_array:
    """The synthetic catalogue, made once and kept between runs."""
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"{name}-{synthetic.VERSION}.npz"
    if not path.exists():
        print(f"making the {name} catalogue …", flush=True)
        made = synthetic.catalogue(synthetic.SHAPES[name])
        np.savez(path, indptr=made.indptr, indices=made.indices, shape=made.shape)
    kept = np.load(path)
    data = np.ones(len(kept["indices"]), np.int32)
    return scipy.sparse.csr_array(
        (data, kept["indices"], kept["indptr"]), shape=tuple(kept["shape"])
    )


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


class Task:
    """The queries [first, last) of one catalogue: what every contestant answers."""

    def __init__(self, matrix: scipy.sparse.csr_array, chunks: list[tuple[int, int]]) -> None:
        self.matrix = scipy.sparse.csr_matrix(matrix)
        self.by_image = scipy.sparse.csr_matrix(matrix.T)
        self.chunks = chunks
        self.incidence = Incidence.from_matrix(matrix)
        sizes = self.incidence.sizes
        per_entry = sizes[self.incidence.image_boards]
        total = np.concatenate([[0], np.cumsum(per_entry)])
        per_query = np.diff(total[self.incidence.image_indptr])
        self.pairs = int(sum(per_query[a:b].sum() for a, b in chunks))

    def queries(self, a: int, b: int) -> scipy.sparse.csr_matrix:
        return self.by_image[a:b]


def spread(n: int, queries: int, chunk: int) -> list[tuple[int, int]]:
    """Chunks of rows from popular to rare, evenly."""
    starts = np.linspace(0, n - chunk, max(1, queries // chunk)).astype(int)
    return [(int(a), int(a) + chunk) for a in starts]


def run_ours(task: Task, threads: int) -> Iterator[Any]:
    counter = Cooccurrence(task.incidence)
    for a, b in task.chunks:
        yield counter.all(K, first=a, last=b, threads=threads)


def run_sparse_dot_topn(task: Task, threads: int) -> Iterator[Any]:
    import sparse_dot_topn

    boards = task.matrix.astype(np.float32)
    for a, b in task.chunks:
        queries = task.queries(a, b).astype(np.float32)
        yield sparse_dot_topn.sp_matmul_topn(queries, boards, top_n=K + 1, n_threads=threads)


def run_scipy(task: Task, threads: int) -> Iterator[Any]:
    for a, b in task.chunks:
        yield top_of_each((task.queries(a, b) @ task.matrix).tocsr())


def run_mkl(task: Task, threads: int) -> Iterator[Any]:
    library = next(Path(sys.prefix, "lib").glob("libmkl_rt.so*"), None)
    os.environ.setdefault("MKL_RT", str(library))  # where pip puts it
    import sparse_dot_mkl

    boards = task.matrix.astype(np.float32)
    for a, b in task.chunks:
        queries = task.queries(a, b).astype(np.float32)
        yield top_of_each(sparse_dot_mkl.dot_product_mkl(queries, boards))


def run_sar(task: Task, threads: int) -> Iterator[Any]:
    """SAR computes the whole item × item product with SciPy and thresholds it; top-k comes when
    it recommends. Here the product and the threshold alone."""
    for a, b in task.chunks:
        product = (task.queries(a, b) @ task.matrix).tocsr()
        yield product.multiply(product >= 1)


def run_polars(task: Task, threads: int) -> Iterator[Any]:
    import polars as pl

    coo = task.matrix.tocoo()
    saves = pl.DataFrame({"board": coo.row.astype(np.int32), "image": coo.col.astype(np.int32)})
    for a, b in task.chunks:
        asked = saves.filter(pl.col("image").is_between(a, b - 1)).rename({"image": "query"})
        yield (
            asked.lazy()
            .join(saves.lazy(), on="board")
            .filter(pl.col("query") != pl.col("image"))
            .group_by("query", "image")
            .len()
            .sort(["query", "len", "image"], descending=[False, True, False])
            .group_by("query", maintain_order=True)
            .head(K)
            .collect()
        )


def run_duckdb(task: Task, threads: int) -> Iterator[Any]:
    import duckdb

    coo = task.matrix.tocoo()
    saves = pa.table({"board": coo.row.astype(np.int32), "image": coo.col.astype(np.int32)})
    connection = duckdb.connect(config={"threads": threads})
    connection.register("saves_arrow", saves)
    connection.execute("CREATE TABLE saves AS SELECT * FROM saves_arrow")
    for a, b in task.chunks:
        yield connection.execute(
            f"""SELECT query, image, n FROM (
                SELECT a.image AS query, b.image AS image, count(*) AS n FROM saves a
                JOIN saves b USING (board) WHERE a.image BETWEEN {a} AND {b - 1}
                AND a.image <> b.image GROUP BY 1, 2)
            QUALIFY row_number() OVER (PARTITION BY query ORDER BY n DESC, image) <= {K}"""
        ).to_arrow_table()


def top_of_each(product: scipy.sparse.csr_matrix) -> list[Any]:
    """What a user of a plain product does for the top-k: argpartition, row by row."""
    found = []
    for row in range(product.shape[0]):
        here = slice(product.indptr[row], product.indptr[row + 1])
        counts = product.data[here]
        best = np.argpartition(-counts, K)[:K] if len(counts) > K else np.arange(len(counts))
        found.append((product.indices[here][best], counts[best]))
    return found


def check_equal(ours: Any, theirs: scipy.sparse.csr_matrix, first: int) -> None:
    """Same counts at every rank; same rows above the cut. Which of a tie's rows a peer keeps is
    its own affair, and it counts the query itself, which we leave out."""
    rows, counts = ours.indices, ours.counts
    for query in range(theirs.shape[0]):
        mine = slice(ours.indptr[query], ours.indptr[query + 1])
        peer = slice(theirs.indptr[query], theirs.indptr[query + 1])
        ids, numbers = theirs.indices[peer], theirs.data[peer].astype(np.int64)
        other = ids != first + query
        ids, numbers = ids[other], numbers[other]
        ranked = np.sort(numbers)[::-1][:K]
        assert np.array_equal(ranked, counts[mine]), (first + query, "counts")
        if len(ranked):
            above = ranked[-1] if len(ranked) == K else 0
            mine_above = rows[mine][counts[mine] > above]
            assert np.array_equal(np.sort(mine_above), np.sort(ids[numbers > above])), (
                first + query, "rows",
            )  # fmt: skip


def stream(counter: Cooccurrence, first: int, last: int) -> None:
    """The block interface, as the export uses it: memory of a few MB, reused."""
    for _ in counter.blocks(K, first=first, last=last, threads=THREADS):
        pass


def pairs_part(name: str, repeats: int) -> dict[str, Any]:
    """All pairs at K = 1,000 against sparse_dot_topn and against the probe, same threads."""
    matrix = catalogue(name)
    n = matrix.shape[1]
    # Every query of the small catalogue; an even 5 % of the large one's, where a full run of the
    # peer takes minutes. Chunks, so that both reuse memory instead of timing the machine's faults.
    chunks = spread(n, n if name == "small" else n // 20, 10_000)
    task = Task(matrix, chunks)
    increments = probe.increment_ns(n)
    gb_per_s = probe.stream_gb_per_s()
    for _ in run_ours(Task(matrix, spread(n, 100, 100)), THREADS):
        pass  # compiled now
    ours, theirs = [], []
    for _ in range(repeats):
        mine = peer = 0.0
        a, b = run_ours(task, THREADS), run_sparse_dot_topn(task, THREADS)
        for first, _ in chunks:
            took, found = seconds(a.__next__)
            mine += took
            took, other = seconds(b.__next__)
            peer += took
            if not ours:
                check_equal(found, other, first)
            del found, other
        ours.append(mine)
        theirs.append(peer)
        gc.collect()
    counter = Cooccurrence(task.incidence)
    streamed = statistics.median(
        seconds(lambda: [stream(counter, *chunk) for chunk in chunks])[0] for _ in range(repeats)
    )
    mine, peer = statistics.median(ours), statistics.median(theirs)
    floor = task.pairs * (increments + 4 / gb_per_s) * 1e-9 / THREADS
    row = {
        "pairs": task.pairs,
        "ours_s": mine,
        "ours_M_pairs_per_s": task.pairs / mine / 1e6,
        "streamed_s": streamed,
        "streamed_ns_per_pair_thread": streamed * THREADS / task.pairs * 1e9,
        "sparse_dot_topn_s": peer,
        "times_faster": peer / mine,
        "probe_s": floor,
        "streamed_times_probe": streamed / floor,
    }
    print_row(f"all pairs, {name}, K = {K:,}, {THREADS} threads (bound: ≥ 8×, ≤ 2.5× probe)", row)
    return row


PEERS = {
    "sparse_dot_topn": run_sparse_dot_topn,
    "SciPy + top-k": run_scipy,
    "MKL + top-k": run_mkl,
    "SAR (product only)": run_sar,
    "Polars self-join": run_polars,
    "DuckDB self-join": run_duckdb,
}


def peers_part(name: str) -> dict[str, Any]:
    """Every peer on the same 4,000 queries."""
    matrix = catalogue(name)
    task = Task(matrix, spread(matrix.shape[1], 4_000, 1_000))
    row = {}
    mine = min(seconds(lambda: list(run_ours(task, THREADS)))[0] for _ in range(5))
    row["pinjoin"] = mine
    for peer, run in PEERS.items():
        try:
            took, _ = seconds(lambda run=run: [None for _ in run(task, THREADS)])
        except Exception as error:  # a peer that fails must not hide the others
            print(f"  {peer}: {type(error).__name__}: {str(error)[:100]}", flush=True)
            continue
        row[peer] = took
        print(f"  {peer:<22}{took:8.2f} s   {took / mine:7.1f} × ours", flush=True)
    whole = Incidence.from_matrix(catalogue("small")) if name == "small" else None
    if whole is not None:
        from implicit.nearest_neighbours import all_pairs_knn

        small = scipy.sparse.csr_matrix(catalogue("small").astype(np.float64))
        small.indices, small.indptr = small.indices.astype("i4"), small.indptr.astype("i4")
        took, _ = seconds(lambda: all_pairs_knn(small, K, THREADS))
        own, _ = seconds(lambda: cooccurrence(whole, K, threads=THREADS))
        row |= {"implicit, all": took, "pinjoin, all": own}
        print(f"  implicit, whole catalogue {took:.2f} s, {took / own:.1f} × ours ({own:.2f} s)")
    return row


def live_part(name: str, queries: int = 4_000) -> dict[str, Any]:
    """Exact top 10,000 of single queries, drawn as traffic comes: by how often they are saved."""
    incidence = Incidence.from_matrix(catalogue(name))
    counter = Cooccurrence(incidence)
    rng = np.random.default_rng(1)
    asked = incidence.board_images[rng.integers(incidence.n_saves, size=queries)]
    counter.top(int(asked[0]), 10_000)
    took = np.empty(queries)
    pairs = counter.pairs[asked]
    for i, query in enumerate(asked):
        start = time.perf_counter()
        counter.top(int(query), 10_000)
        took[i] = time.perf_counter() - start
    row = {
        "p50_ms": float(np.percentile(took, 50) * 1e3),
        "p99_ms": float(np.percentile(took, 99) * 1e3),
        "max_ms": float(took.max() * 1e3),
        "ns_per_increment": float(took.sum() / pairs.sum() * 1e9),
        "pairs_p50": float(np.percentile(pairs, 50)),
        "pairs_p99": float(np.percentile(pairs, 99)),
        "probe_ns_per_increment": probe.increment_ns(incidence.n_images),
    }
    print_row(f"live top 10,000, {name} (bound: p50 ≤ 0.1 ms, p99 ≤ 5 ms)", row)
    return row


EXPORT = """
import resource, sys, time
sys.path.insert(0, {here!r})
import candidates
from pathlib import Path
from pinjoin.candidates.export import export_candidates
from pinjoin.core.incidence import Incidence
incidence = Incidence.from_matrix(candidates.catalogue({name!r}))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
rows = export_candidates(incidence, Path({file!r}), 10_000)
print(rows, time.perf_counter() - start, before,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def export_part(name: str) -> dict[str, Any]:
    """All candidates at K = 10,000 to Parquet in a process of its own, for its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "candidates.parquet")
        code = EXPORT.format(here=str(Path(__file__).parent), name=name, file=file)
        out = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
        rows, took, before, peak = map(float, out.stdout.split())
        size = Path(file).stat().st_size
    row = {
        "candidates": rows,
        "s": took,
        "peak_GB": peak * 1024 / 1e9,
        "peak_before_GB": before * 1024 / 1e9,
        "file_GB": size / 1e9,
    }
    print_row(f"export K = 10,000, {name} (bound: peak < 4 GB)", row)
    return row


def build_part(name: str) -> dict[str, Any]:
    """`build` from Parquet to snapshot beside Polars reading, deduplicating and sorting."""
    matrix = catalogue(name).tocoo()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        pins, boards = Path(folder) / "pins.parquet", Path(folder) / "boards.parquet"
        order = np.random.default_rng(0).permutation(matrix.nnz)  # saves come in no order
        board = pc.binary_join_element_wise("board-", text(matrix.row[order]), "")
        image = pc.binary_join_element_wise(
            "https://images.example/photos/", text(matrix.col[order]), ".jpg", ""
        )
        pin_id = pc.binary_join_element_wise("pin-", text(np.arange(matrix.nnz)), "")
        pq.write_table(pa.table({"pin_id": pin_id, "board_id": board, "image": image}), pins)
        ids = pc.binary_join_element_wise("board-", text(np.arange(matrix.shape[0])), "")
        pq.write_table(pa.table({"board_id": ids, "title": ids}), boards)
        del order, board, image, pin_id, ids, matrix
        gc.collect()
        polars, ours = [], []
        for turn in range(2):
            polars.append(run_child(POLARS.format(pins=str(pins))))
            ours.append(
                run_child(BUILD.format(pins=str(pins), boards=str(boards), ws=f"{folder}/ws{turn}"))
            )
    row = {
        "build_s": statistics.median(t for t, _ in ours),
        "build_peak_GB": max(m for _, m in ours),
        "polars_s": statistics.median(t for t, _ in polars),
        "polars_peak_GB": max(m for _, m in polars),
    }
    row["times_polars"] = row["build_s"] / row["polars_s"]
    print_row(f"build from Parquet, {name} (bound: ≤ 3× Polars)", row)
    return row


def text(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


POLARS = """
import polars as pl, resource, time
start = time.perf_counter()
frame = (pl.scan_parquet({pins!r}).select("board_id", "image").unique()
         .sort("board_id", "image").collect())
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
BUILD = """
import pinjoin, resource, time
start = time.perf_counter()
pinjoin.build({ws!r}, pinjoin.open_source("pins", {pins!r}),
              pinjoin.open_source("boards", {boards!r}))
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def run_child(code: str) -> tuple[float, float]:
    out = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout
    took, peak = map(float, out.split())
    return took, peak * 1024 / 1e9


def print_row(title: str, row: dict[str, Any]) -> None:
    print(f"\n{title}")
    for key, value in row.items():
        print(
            f"  {key:<28}{value:>16,.3f}"
            if isinstance(value, float)
            else f"  {key:<28}{value:>16,}"
        )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=["small", "large", "both"], default="both")
    parser.add_argument("--parts", default="pairs,peers,live,export,build")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    parts = options.parts.split(",")
    figures: dict[str, Any] = {"machine": probe.machine(), "threads": THREADS}
    for name in ("small", "large") if options.shape == "both" else (options.shape,):
        here = figures[name] = {}
        if "pairs" in parts:
            here["pairs"] = pairs_part(name, options.repeats)
        if "peers" in parts:
            print(f"\npeers on the same 4,000 queries, {name}, K = {K:,}")
            here["peers"] = peers_part(name)
        if "live" in parts:
            here["live"] = live_part(name)
        if "export" in parts and name == "large":
            here["export"] = export_part(name)
        if "build" in parts and name == "large":
            here["build"] = build_part(name)
    figures["peak_GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
