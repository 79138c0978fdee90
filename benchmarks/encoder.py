"""How well and how fast an encoder sees: precision@10 by class, and pictures per second.

    python benchmarks/encoder.py [ENCODER] [--json FILE] [--card FILE] [--speed-only]

Quality: every picture of a test set is a query against all others of that set (leave one out);
precision@10 is the share of its ten nearest that have its class, averaged over pictures; ties
go to the lower row. Sets, read from $PINJOIN_DATA: `clothing` test by class, and `ikea`
products by type, of types with at least 15 products. A type is the description up to its first
";" or ",", so that "Rug, flatwoven" is a rug; `ikea, finer types` cuts at ";" only.

Speed: `embed` (read, decode, compute, binarise, sparsify) beside the runtime alone on tensors
made ready before, in alternating rounds, medians reported. `CPU ms` is processor time a picture:
it tells the same when other work slows the clock.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pinjoin.data.images import decode
from pinjoin.features.embedding import embed
from pinjoin.features.visual import DEFAULT_ENCODER, Encoder, load_encoder

DATA = Path(os.environ.get("PINJOIN_DATA", Path(__file__).parents[2] / "shared" / "data"))
Rows = np.ndarray


def clothing() -> tuple[list[Path], Rows]:
    paths = sorted((DATA / "clothing" / "test").glob("*/*"))
    return paths, np.array([path.parent.name for path in paths])


def ikea(cut: str) -> tuple[list[Path], Rows]:
    kinds: dict[str, str] = {}
    with (DATA / "ikea" / "pins.csv").open(newline="") as file:
        for pin in csv.DictReader(file):
            kinds.setdefault(pin["image"], re.split(cut, pin["description"])[0].strip().lower())
    many = {kind for kind, count in Counter(kinds.values()).items() if count >= 15}
    names = sorted(name for name, kind in kinds.items() if kind in many)
    return [DATA / "ikea" / name for name in names], np.array([kinds[name] for name in names])


def precision_at_10(similarity: Rows, classes: Rows) -> float:
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :10]
    return float((classes[nearest] == classes[:, None]).mean())


def cosine(vectors: Rows) -> Rows:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit @ unit.T


def hamming_similarity(packed: Rows, bits: int) -> Rows:
    signs = np.unpackbits(packed, axis=1, bitorder="little")[:, :bits].astype(np.float32) * 2 - 1
    return (1 + signs @ signs.T / bits) / 2


def dense(ids: Rows, values: Rows, classes: int) -> Rows:
    out = np.zeros((len(ids), classes), dtype=np.float32)
    np.put_along_axis(out, ids.astype(np.int64), values.astype(np.float32), axis=1)
    return out


def histograms(paths: list[Path]) -> Rows:
    """8 × 8 × 8 colours, square roots of their shares."""
    rows = []
    for path in paths:
        cube = (decode(path, 64, fit="squash") >> 5).astype(np.int64)
        code = cube[..., 0] * 64 + cube[..., 1] * 8 + cube[..., 2]
        rows.append(np.sqrt(np.bincount(code.ravel(), minlength=512) / code.size))
    return np.array(rows)


def quality(encoder: Encoder, paths: list[Path], classes: Rows) -> dict[str, float]:
    parts = [encoder.encode(paths[start : start + 16]) for start in range(0, len(paths), 16)]
    fc6 = np.concatenate([part[0] for part in parts])
    bits = encoder.bits
    codes = encoder.binarise(fc6)
    found = {
        "fc6 cosine": cosine(fc6),
        f"fc6 bits, {bits:,}": hamming_similarity(codes, bits),
    }
    if bits > 1024:
        found["fc6 bits, first 1,024"] = hamming_similarity(codes, 1024)
    fc8 = encoder.card.fc8
    if fc8 is not None:
        ids, values = encoder.sparsify(np.concatenate([part[1] for part in parts]))
        found[f"fc8, {fc8.keep} sparse"] = cosine(dense(ids, values, fc8.classes))
    found["colour histogram"] = cosine(histograms(paths))
    found["random"] = np.random.default_rng(0).random((len(paths), len(paths)))
    return {name: round(precision_at_10(s, classes), 3) for name, s in found.items()}


def speed(encoder: Encoder, paths: list[Path], rounds: int, batch: int = 8) -> dict[str, float]:
    tensors = np.stack([encoder.tensor(path) for path in paths])
    workers = len(os.sched_getaffinity(0))
    single = encoder.single_threaded()
    starts = range(0, len(paths), batch)

    def all_cores_a_call() -> None:
        for start in starts:
            encoder.run(tensors[start : start + batch])

    def one_core_a_call() -> None:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda start: single.run(tensors[start : start + batch]), starts))

    ways: dict[str, Callable[[], object]] = {
        "runtime alone, all cores a call": all_cores_a_call,
        "runtime alone, one core a call": one_core_a_call,
        "embed": lambda: embed(paths, encoder),
    }
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            way()
            rate = len(paths) / (time.perf_counter() - clock)
            seen[name].append((rate, 1000 * (time.process_time() - processor) / len(paths)))
    rates = {name: np.array(values) for name, values in seen.items()}
    best = np.maximum(*(rates[name][:, 0] for name in list(ways)[:2]))
    out = {f"{name}: images/s": round(float(np.median(v[:, 0])), 1) for name, v in rates.items()}
    out |= {f"{name}: CPU ms": round(float(np.median(v[:, 1])), 2) for name, v in rates.items()}
    out["embed / runtime alone, by clock"] = round(float(np.median(rates["embed"][:, 0] / best)), 3)
    cpu = [np.median(rates[name][:, 1]) for name in ways]
    out["embed / runtime alone, by CPU time"] = round(float(min(cpu[:2]) / cpu[2]), 3)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("encoder", nargs="?", default=DEFAULT_ENCODER)
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--card", type=Path, help="write the quality into this card")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--speed-only", action="store_true")
    options = parser.parse_args()
    encoder = load_encoder(options.encoder)
    sets = {"clothing": clothing(), "ikea": ikea("[;,]"), "ikea, finer types": ikea(";")}
    table = {}
    if not options.speed_only:
        table = {name: quality(encoder, *pictures) for name, pictures in sets.items()}
        kinds = list(table["clothing"])
        print(f"{'precision@10':24}", *(f"{name:>18}" for name in table))
        for kind in kinds:
            print(f"{kind:24}", *(f"{row[kind]:18.3f}" for row in table.values()))
    rates = speed(encoder, sets["ikea"][0][:256], options.rounds)
    for name, value in rates.items():
        print(f"{name:48} {value}")
    protocol = (
        "precision@10, leave one out, within clothing test (372 photos, 10 classes), ikea "
        "(products of types with 15 or more, type = description up to ; or ,) and the same with "
        "finer types (up to ;); the learned directions saw clothing train only"
    )
    if options.card:
        card = json.loads(options.card.read_text("utf-8"))
        card["quality"] = {"protocol": protocol, **table}
        options.card.write_text(json.dumps(card, ensure_ascii=False, indent=2) + "\n", "utf-8")
    if options.json:
        machine = {"cores": len(os.sched_getaffinity(0)), "machine": platform.machine()}
        content = {"encoder": encoder.card.name, "protocol": protocol, **machine}
        content |= {"quality": table, "speed": rates}
        options.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
