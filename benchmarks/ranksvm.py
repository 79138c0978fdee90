"""RankSVM beside liblinear (through scikit-learn): seconds, objective, memory.

    python benchmarks/ranksvm.py [--triplets 1000000 5000000] [--features 64] [--json]

Both minimise ½‖w‖² + C Σ max(0, 1 − w·d)² over the same standardised differences d. Each fit runs
in its own process, so that peak memory is its own; liblinear is asked for its primal solver
(trust-region Newton), the faster of its two here, at its usual and at a tight tolerance.
liblinear's seconds leave out making the differences, which its user does; ours have them in.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SOLVERS = ("pinjoin", "liblinear", "liblinear-tight")


def triplets(n: int, features: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 triplets of a planted ranker, a fifth in the wrong order; scales differ."""
    rng = np.random.default_rng(seed)
    better = rng.standard_normal((n, features), np.float32)
    worse = rng.standard_normal((n, features), np.float32)
    planted = rng.standard_normal(features).astype(np.float32)
    wrong = (better - worse) @ planted + 8 * rng.standard_normal(n, np.float32) < 0
    better[wrong], worse[wrong] = worse[wrong], better[wrong].copy()
    scales = (10.0 ** rng.uniform(-2, 2, features)).astype(np.float32)
    better *= scales
    worse *= scales
    return better, worse


def objective(w: np.ndarray, better: np.ndarray, worse: np.ndarray, scale: np.ndarray) -> float:
    """The rule, in float64, block by block; w is for standardised features; C = 1."""
    lost = 0.0
    for first in range(0, len(better), 100_000):
        rows = slice(first, first + 100_000)
        d = (better[rows].astype(np.float64) - worse[rows]) / scale
        lost += float((np.maximum(0, 1 - d @ w) ** 2).sum())
    return float(w @ w / 2 + lost)


def memory_gb(kind: str) -> float:
    """VmRSS, or VmHWM: the most since `forget_peak`. (ru_maxrss would hold the data's making.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(kind))) / 1e6


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def fit(solver: str, n: int, features: int) -> dict[str, Any]:
    """One solver's seconds, objective and peak memory above the triplets themselves."""
    from pinjoin.ranking.ranksvm import RankSVM, _moments

    RankSVM().fit(*triplets(100, features))  # compile
    better, worse = triplets(n, features)
    _, scale = _moments(better, worse)
    forget_peak()
    before = memory_gb("VmRSS")
    if solver == "pinjoin":
        start = time.perf_counter()
        model = RankSVM().fit(better, worse)
        seconds, w = time.perf_counter() - start, model.coef_ * model.scale_
    else:
        from sklearn.svm import LinearSVC

        y = np.where(np.arange(n) % 2, 1, -1)
        d = (better - worse) / scale * y[:, None]
        tolerance = 1e-4 if solver == "liblinear" else 1e-8
        peer = LinearSVC(dual=False, fit_intercept=False, tol=tolerance, max_iter=10_000)
        start = time.perf_counter()
        peer.fit(d, y)
        seconds, w = time.perf_counter() - start, peer.coef_[0]
    after = memory_gb("VmHWM")
    value = objective(w, better, worse, scale)
    return {"solver": solver, "triplets": n, "features": features, "seconds": seconds,
            "objective": value, "peak_gb_more": after - before}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--triplets", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(fit(options.one, options.triplets[0], options.features)))
        return
    results = []
    for n in options.triplets:
        for solver in SOLVERS:
            command = [sys.executable, __file__, "--one", solver, "--triplets", str(n),
                       "--features", str(options.features)]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout) | {"load": os.getloadavg()[0]})
            if not options.json:
                r = results[-1]
                ours = next(x for x in results if x["triplets"] == n)
                print(
                    f"{n:>10,} × {options.features} {solver:16s} {r['seconds']:7.2f} s "
                    f"({r['seconds'] / ours['seconds']:5.1f}×)  objective {r['objective']:.6f} "
                    f"({r['objective'] / ours['objective'] - 1:+.1e})  "
                    f"+{r['peak_gb_more']:.1f} GB  load {r['load']:.1f}",
                    flush=True,
                )
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
