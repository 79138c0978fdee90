"""Does training find what simulated people like? COEC beside clicks at face value.

    python benchmarks/simulated_log.py [--workspace PATH] [--seeds 5] [--requests 10000] [--json]

The people of `pinjoin.experiments.simulated_log` stand in front of the shipped catalogue (its
words, without pictures), or of a workspace. Four features are planted. Reported for several
strengths of position bias and several amounts of chance in what is shown, as the median and range
over seeds: the cosine of the learned weights with the planted ones, and the share of pairs of a
query's candidates that the model ranks as people like them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import pinjoin
from pinjoin.data.event_log import join_events, number_events
from pinjoin.experiments.simulated_log import Crowd, Simulation
from pinjoin.features.pairs import PairConfig
from pinjoin.ranking.triplets import TripletConfig
from pinjoin.recommender import Workspace, open_workspace
from pinjoin.training.from_logs import train_from_logs
from pinjoin.training.log_config import LogTraining

LIKES = {
    "text.annotation_similarity": 1.0,
    "category.similarity": -0.6,
    "quality.log_boards": 0.5,
    "factors.similarity": 0.8,
}
WORLDS = {
    "mild bias, places vary": (1.2, 0.3),
    "strong bias, places vary": (2.0, 0.3),
    "strong bias, places hardly vary": (2.0, 0.1),
}
WAYS = {
    "usual": LogTraining(),
    "usual, at face value": LogTraining(face_value=True),
    "no random triplets": LogTraining(
        triplets=TripletConfig(pairs=5, doubt=1.0, random_negatives=0)
    ),
    "no random triplets, at face value": LogTraining(
        face_value=True, triplets=TripletConfig(pairs=5, doubt=1.0, random_negatives=0)
    ),
    "one pair a query, no doubt": LogTraining(triplets=TripletConfig()),
}


def shipped(folder: Path) -> Workspace:
    """The shipped catalogue without pictures."""
    source = Path(str(files("pinjoin.data"))) / "demo"
    tables = (pinjoin.open_source(kind, str(source / f"{kind}.csv")) for kind in ("pins", "boards"))
    pinjoin.build(folder, *tables, encoder=None, train=False)
    return open_workspace(folder, model="count")


def measure(workspace: Workspace, world: str, way: str, seed: int, requests: int) -> list[float]:
    """[cosine, share of pairs in order]"""
    bias, chance = WORLDS[world]
    crowd = Crowd(LIKES, requests=requests, queries=120, bias=bias, chance=chance, seed=seed)
    simulation = Simulation(workspace, crowd)
    log = join_events(number_events(simulation.log().to_batches()))
    known = workspace.pair_features(PairConfig()).schema
    only = PairConfig(without=[name for name in known if name not in LIKES])
    model = train_from_logs(workspace, log, WAYS[way], only).model
    return [simulation.cosine(model), simulation.order_found(model)]  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        if options.workspace:
            workspace = open_workspace(options.workspace, model="count")
        else:
            workspace = shipped(Path(folder) / "ws")
        for world in WORLDS:
            for way in WAYS:
                found = np.array(
                    [
                        measure(workspace, world, way, seed, options.requests)
                        for seed in range(options.seeds)
                    ]
                )
                low, middle, high = np.quantile(found, [0, 0.5, 1], axis=0)
                names = ("cosine", "in_order")
                results.append(
                    {"world": world, "way": way}
                    | {n: [low[i], middle[i], high[i]] for i, n in enumerate(names)}
                )
                if not options.json:
                    columns = " ".join(
                        f"{n} {middle[i]:.3f} [{low[i]:.3f}, {high[i]:.3f}]"
                        for i, n in enumerate(names)
                    )
                    print(f"{world:32s} {way:34s} {columns}", flush=True)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
