"""All features of 10,000 candidates, scores and the best 100, as for one request, on one core.

    python benchmarks/pairs.py FOLDER [--images 1000000] [--saves 16000000] [--json FILE]

The workspace of `synthetic_workspace.py` is made in FOLDER unless it is there (some minutes). A
request has a query and 10,000 candidates drawn at random, others in every turn, so that their rows
are not in cache; what boards and walks say of them is made up. In turns, medians, by the clock and
by processor time, which others on the machine change less:

- reading as many of the same packed rows at random (`probe.py`), and nothing else;
- NumPy as a user would write it: one array a part of images, vectorised, float32;
- what scores a ready matrix, made before: LightGBM (100 trees of 31 leaves), ONNX Runtime (a
  linear model, and a network with 64 hidden units).

Before that, pinjoin's matrix and NumPy's are compared: every feature of every candidate within 1e-4
(absolute, or of the larger one), scores within 1e-3, and 99 of the 100 best the same, as a tie may
fall either way in float32. NumPy reads what the packed rows hold, as floats: quantising is no part
of the comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import probe
from candidates import print_row
from synthetic import CatalogueShape
from synthetic_workspace import make
from threadpoolctl import threadpool_limits

import pinjoin
from pinjoin.features import row_layout
from pinjoin.features.pair_schema import VISITS_SCALE
from pinjoin.features.pairs import PairFeatures, Signals
from pinjoin.features.row_layout import Fields

CANDIDATES, BEST = 10_000, 100
Matrix = np.ndarray


class OneArrayEach:
    """The features of `PairFeatures`, in its order, from one array a part."""

    def __init__(self, features: PairFeatures, n_terms: int) -> None:
        packed = features.packed
        fields = Fields(packed.data, packed.layout)
        self._names, self._n_boards = list(features.schema), features.n_boards
        self._n_bits, self._n_crossed = packed.layout.n_bits, features.categories[:32]
        header = fields.header
        self._bits = fields.part("bits", np.uint64).copy()
        self._present = [(fields.flags & flag > 0) for flag in (1, 2, 4)]
        self._boards = header[:, row_layout.BOARDS].copy()
        self._quality = fields.part("quality", np.float32).copy()
        self._quality_names = [name for name, _ in packed.layout.quality]

        def weights(part: str, kind: Any, scale: int) -> np.ndarray:
            return fields.part(part, kind).astype(np.float32) * header[:, scale, None]

        self._topics = weights("topics", np.int8, row_layout.TOPIC_SCALE)
        self._factors = weights("factors", np.int8, row_layout.FACTOR_SCALE)
        self._shares = fields.categories[1].astype(np.float32)
        ids = ("class_ids", np.uint16), ("term_ids", np.uint32), ("category_ids", np.uint16)
        values = (
            weights("class_values", np.int8, row_layout.CLASS_SCALE),
            weights("term_weights", np.uint8, row_layout.TERM_SCALE),
            weights("shares", np.uint8, row_layout.CATEGORY_SCALE),
        )
        self._sparse = []
        for part, value, n in zip(ids, values, (1_000, n_terms, 65_535), strict=True):
            known = np.minimum(fields.part(*part), np.uint32(n))  # n: none
            self._sparse.append((known, value, np.zeros(n + 1, np.float32)))

    def matrix(self, query: int, rows: np.ndarray, signals: Signals) -> Matrix:
        """(rows, features) float32."""
        different = np.bitwise_count(self._bits[rows] ^ self._bits[query]).sum(1)
        seen, said, sorted_ = (there[rows] & there[query] for there in self._present)
        fc6 = (1 - different / np.float32(self._n_bits)) * seen
        fc8, terms, categories = (self._cosine(query, rows, *part) for part in self._sparse)
        own, other = self._boards[query], self._boards[rows]
        roots = np.sqrt(np.maximum(other, 1))
        count, walk = signals.counts.astype(np.float32), signals.walk
        rare, direct = signals.adamic_adar, signals.resource_allocation / max(own, 1)
        per_count = np.maximum(own * other, 1) / self._n_boards
        columns: dict[str, Any] = {
            "visual.fc6_similarity": fc6,
            "visual.fc8_similarity": fc8,
            "visual.present": seen,
            "text.annotation_similarity": terms,
            "text.topic_similarity": self._topics[rows] @ self._topics[query],
            "text.present": said,
            "category.similarity": categories,
            "category.present": sorted_,
            "cooccurrence.count": count,
            "cooccurrence.log_count": np.log1p(count),
            "cooccurrence.cosine": count / (roots * np.sqrt(max(own, 1))),
            "cooccurrence.jaccard": count / np.maximum(own + other - count, 1),
            "cooccurrence.share": count / max(own, 1),
            "cooccurrence.relative": count / max(count.max(), 1e-30),
            "cooccurrence.log_lift": np.where(
                count > 0, np.log(np.maximum(count, 1) / per_count), 0
            ),
            "walk.visits": walk,
            "walk.log": np.log1p(walk * VISITS_SCALE),
            "walk.relative": walk / max(walk.max(), 1e-30),
            "walk.direct_log": np.log1p(direct * VISITS_SCALE),
            "walk.indirect_log": np.log1p(np.maximum(walk - direct, 0) * VISITS_SCALE),
            "walk.per_root": walk / roots,
            "adamic_adar.sum": rare,
            "adamic_adar.log": np.log1p(rare),
            "adamic_adar.relative": rare / max(rare.max(), 1e-30),
            "resource_allocation.sum": signals.resource_allocation,
            "factors.similarity": self._factors[rows] @ self._factors[query],
            "navboost.log_ratio": signals.navboost,
        }
        columns |= dict(zip(self._quality_names, self._quality[rows].T, strict=True))
        for number, name in enumerate(self._n_crossed):
            columns[f"cross.{name}"] = self._share(query, number) * fc6
        out = np.empty((len(rows), len(self._names)), np.float32)
        for place, name in enumerate(self._names):
            out[:, place] = columns[name]
        return out

    def top(
        self, query: int, rows: np.ndarray, signals: Signals, weights: Any, means: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places and scores of the best."""
        scores = self.matrix(query, rows, signals) @ weights - means @ weights
        best = np.argpartition(-scores, BEST)[:BEST]
        best = best[np.argsort(-scores[best])]
        return best, scores[best]

    @staticmethod
    def _cosine(
        query: int, rows: np.ndarray, ids: np.ndarray, values: np.ndarray, table: np.ndarray
    ) -> np.ndarray:
        table[ids[query]] = values[query]
        table[-1] = 0
        found: np.ndarray = (table[ids[rows]] * values[rows]).sum(1)
        table[ids[query]] = 0
        return found

    def _share(self, query: int, number: int) -> float:
        here = self._sparse[2][0][query] == number
        return float(self._shares[query][here].sum())


class Requests:
    """Queries, candidates and what retrieval would say of them, drawn anew each time."""

    def __init__(self, n_images: int) -> None:
        self._rng, self._n = np.random.default_rng(0), n_images

    def rows(self) -> np.ndarray:
        return self._rng.choice(self._n, CANDIDATES, replace=False).astype(np.uint32)

    def draw(self) -> tuple[int, np.ndarray, Signals]:
        rng = self._rng
        counts = rng.geometric(0.3, CANDIDATES).astype(np.uint32) - 1
        of_boards = rng.random((2, CANDIDATES), np.float32) * counts
        walk = rng.exponential(1e-4, CANDIDATES).astype(np.float32)
        navboost = rng.normal(0, 0.3, CANDIDATES).astype(np.float32)
        return int(rng.integers(self._n)), self.rows(), Signals(counts, *of_boards, walk, navboost)


def compare(
    features: PairFeatures, peer: OneArrayEach, requests: Requests, weights: Any, means: Any
) -> dict[str, float]:
    """How far ours and NumPy's are apart, in ten requests; AssertionError if too far."""
    apart, scores, shared = 0.0, 0.0, BEST
    for _ in range(10):
        request = requests.draw()
        ours, theirs = features.matrix(*request), peer.matrix(*request)
        larger = np.maximum(np.maximum(np.abs(ours), np.abs(theirs)), 1)
        apart = max(apart, float((np.abs(ours - theirs) / larger).max()))
        best, found = features.top(*request, weights, means, BEST)
        other, expected = peer.top(*request, weights, means)
        scores = max(scores, float(np.abs(found - expected).max()))
        shared = min(shared, len(np.intersect1d(best, other)))
    assert apart <= 1e-4, f"a feature is {apart} apart"
    assert scores <= 1e-3, f"a score is {scores} apart"
    assert shared >= BEST - 1, f"only {shared} of the best {BEST} are the same"
    return {"features apart": apart, "scores apart": scores, "of the best 100 the same": shared}


def scorers(matrix: Matrix, weights: Any) -> dict[str, Callable[[], Any]]:
    """What scores a ready matrix, on one thread."""
    import lightgbm
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng, n = np.random.default_rng(0), matrix.shape[1]
    liked = matrix @ weights + rng.normal(0, 0.1, len(matrix))
    chosen = {"num_leaves": 31, "num_threads": 1, "verbose": -1}
    trees = lightgbm.train(chosen, lightgbm.Dataset(matrix, liked), 100)

    def network(layers: list[np.ndarray]) -> Callable[[], Any]:
        nodes, values, name = [], [], "x"
        for place, layer in enumerate(layers):
            values.append(numpy_helper.from_array(layer.astype(np.float32), f"w{place}"))
            nodes.append(helper.make_node("MatMul", [name, f"w{place}"], [f"a{place}"]))
            name = f"a{place}"
            if place < len(layers) - 1:
                nodes.append(helper.make_node("Relu", [name], [f"r{place}"]))
                name = f"r{place}"
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, n])
        made = helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1])
        graph = helper.make_graph(nodes, "scorer", [given], [made], values)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return lambda: session.run(None, {"x": matrix})

    hidden = [rng.normal(size=(n, 64)), rng.normal(size=(64, 1))]
    return {
        "LightGBM alone": lambda: trees.predict(matrix, num_threads=1),
        "ONNX linear alone": network([np.asarray(weights)[:, None]]),
        "ONNX network alone": network(hidden),
    }


def in_turns(works: dict[str, Callable[[], Any]], repeats: int) -> tuple[Any, Any]:
    """Median ms of each by the clock, and by processor time, run one after the other."""
    spent = np.empty((repeats + 1, len(works), 2))
    for turn in spent:
        for place, work in enumerate(works.values()):
            clock, processor = time.perf_counter(), time.process_time()
            work()
            turn[place] = time.perf_counter() - clock, time.process_time() - processor
    medians = np.median(spent[1:], axis=0) * 1e3  # the first compiles
    return dict(zip(works, medians[:, 0], strict=True)), dict(
        zip(works, medians[:, 1], strict=True)
    )


def measure(workspace: pinjoin.Workspace, repeats: int) -> Mapping[str, Any]:
    features = workspace.pair_features()
    peer = OneArrayEach(features, len(workspace.annotations.terms))
    requests = Requests(workspace.n_images)
    known = features.matrix(*requests.draw())
    means, weights = known.mean(0), 1 / np.maximum(known.std(0), 1e-6)
    weights = np.where(known.std(0) > 0, weights, 0) * np.random.default_rng(1).normal(
        size=len(means)
    )
    row: dict[str, Any] = {
        "features": len(features.schema),
        "row_bytes": features.packed.layout.bytes,
    }
    row["beside NumPy"] = compare(features, peer, requests, weights, means)
    words = features.packed.data.view(np.uint64)
    turns = repeats + 1
    orders = [requests.rows().astype(np.uint64) for _ in range(turns)]
    ours, described, theirs = ([requests.draw() for _ in range(turns)] for _ in range(3))
    works: dict[str, Callable[[], Any]] = {
        "read": lambda: probe._read_rows(words, orders.pop()),
        "pinjoin": lambda: features.top(*ours.pop(), weights, means, BEST),
        "pinjoin, as a matrix": lambda: features.matrix(*described.pop()),
        "NumPy": lambda: peer.top(*theirs.pop(), weights, means),
        **scorers(known, weights),
    }
    clock, processor = in_turns(works, repeats)
    for name in works:
        row |= {f"{name} ms": clock[name], f"{name} CPU ms": processor[name]}
    row["times reading (≤ 2)"] = clock["pinjoin"] / clock["read"]
    row["… by CPU time"] = processor["pinjoin"] / processor["read"]
    for name in list(works)[3:]:
        row[f"{name} ÷ pinjoin"] = processor[name] / processor["pinjoin"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--saves", type=int, default=16_000_000)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    made = make(given.folder, CatalogueShape(given.images, given.saves))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    workspace = pinjoin.open(made)
    with threadpool_limits(1):
        row = measure(workspace, given.repeats)
    print("beside NumPy:", row["beside NumPy"])
    shown = {name: value for name, value in row.items() if name != "beside NumPy"}
    print_row(f"{CANDIDATES:,} candidates of {workspace.n_images:,} images, one core", shown)
    if given.json:
        figures = {"machine": probe.machine(), "pairs": row}
        given.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
