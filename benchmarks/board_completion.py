"""How well each ranker finds what is hidden from boards, over several splits.

    python benchmarks/board_completion.py WORKSPACE … [--seeds 5] [--most 5000] [--json FILE]

Every split is `pinjoin evaluate WORKSPACE --seed N`. Means over splits of nDCG@100, the standard
error of the difference to the best of `RIVALS`, and the ratio to it. A line a split on the way.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from pathlib import Path

import pinjoin
from pinjoin.experiments.asked import EvaluationConfig
from pinjoin.experiments.offline import METRICS, evaluate

RIVALS = (
    "count", "cosine", "Adamic–Adar", "RP3β", "LLR", "BM25",
    "implicit ALS", "implicit BM25", "EASE",
)  # fmt: skip


def of_workspace(path: str, seeds: int, most: int) -> dict[str, list[float]]:
    """nDCG@100 of each ranker, one a split."""
    opened = pinjoin.open(path, model="count")
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(seeds):
        start = time.perf_counter(), time.process_time()
        table = evaluate(opened, EvaluationConfig(seed=seed, most=most))
        for one in table.results:
            found[one.name].append(one.means[METRICS[0]].value)
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        print(f"{path} seed {seed}: {table.queries} queries, {wall:.0f} s ({cpu:.0f} s of CPU)")
    return found


def show(path: str, found: dict[str, list[float]]) -> None:
    means = {name: statistics.fmean(values) for name, values in found.items()}
    best = max((name for name in RIVALS if name in means), key=means.__getitem__)
    print(f"\n{path}: nDCG@100, beside {best}, the best of {', '.join(RIVALS)}")
    for name in sorted(means, key=lambda name: -means[name]):
        apart = [one - other for one, other in zip(found[name], found[best], strict=True)]
        error = statistics.stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
        ratio = means[name] / means[best]
        print(f"{name:24} {means[name]:.4f}  × {ratio:.3f}  ± {error:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workspaces", nargs="+")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most", type=int, default=5_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {p: of_workspace(p, options.seeds, options.most) for p in options.workspaces}
    for path, values in found.items():
        show(path, values)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
