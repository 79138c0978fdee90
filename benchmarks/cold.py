"""Items nobody saved: 200 products lose all their boards; do their neighbours make sense?

    python benchmarks/cold.py [--data DIR] [--html FILE]

precision@10 by product type (`ikea`) and by first genre (`movies`): of the ten neighbours of each
cold item, how many are of its kind; neighbours are all other images, whole catalogue, of the
product types with at least 15 members. Chance, text alone and pictures alone on the same queries;
the chain is what `related` gives. Also: does every PinJoin get 50 results?
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import pinjoin
from pinjoin.candidates.nearest import ExactHamming, TextNeighbours
from pinjoin.features.text import NO_TERM
from pinjoin.report import write_report

COLD = 200
LEAST = 15  # members of a kind


def kinds(data: Path, name: str) -> dict[str, str]:
    """The kind of each image: the type of a product, the first genre of a film."""
    found = {}
    with (data / name / "pins.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            words = row["description"]
            kind = words.split(";")[0].split(",")[0] if name == "ikea" else words.split(",")[0]
            found[row["image"]] = kind.strip().lower()
    return found


def build_cold(data: Path, name: str, folder: Path, kind: dict[str, str]) -> list[str]:
    """Build the catalogue without the boards of 200 seeded items of common kinds."""
    common = {k for k, n in Counter(kind.values()).items() if n >= LEAST}
    able = sorted(image for image, k in kind.items() if k in common)
    cold = list(np.random.default_rng(0).choice(able, min(COLD, len(able)), replace=False))
    with (data / name / "pins.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    for row in rows:
        if row["image"] in cold:
            row["board_id"] = ""
    with (folder / "pins.csv").open("w", newline="") as target:
        writer = csv.DictWriter(target, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    pinjoin.build(
        folder / "ws",
        pinjoin.open_source("pins", str(folder / "pins.csv")),
        pinjoin.open_source("boards", str(data / name / "boards.csv")),
        images=data / name / "images",
        base=data / name,
    )
    return [str(image) for image in cold]


def measure(data: Path, name: str, folder: Path, html: Path | None) -> None:
    kind = kinds(data, name)
    cold = build_cold(data, name, folder, kind)
    ws = pinjoin.open(folder / "ws")
    image = [one["image"] for one in ws.describe(range(ws.n_images))]
    kind_of = np.array([kind[name] for name in image])
    assert ws.pictures is not None
    hamming = ExactHamming(ws.pictures.bits)
    said = ws.annotations
    words = TextNeighbours(said.ids, said.weights, len(said.terms))
    scores: dict[str, list[float]] = {"chance": [], "text": [], "pictures": [], "related": []}
    sources: Counter[str] = Counter()
    for query in cold:
        row = ws.find(query)
        same = kind_of == kind_of[row]
        assert not len(ws.incidence.boards_of(row))
        of_it = said.ids[row] != NO_TERM
        by_text, _ = words.search(said.ids[row][of_it], said.weights[row][of_it], 10, exclude=[row])
        by_sight, _ = hamming.search(ws.pictures.bits[row], 10, exclude=[row])
        results = ws.related(query, 10, explain=False)
        sources.update(one.source for one in results)
        rows = [ws.find(one.signature) for one in results]
        scores["chance"].append((same.sum() - 1) / (len(same) - 1))
        scores["text"].append(same[by_text].sum() / 10)
        scores["pictures"].append(same[by_sight].sum() / 10)
        scores["related"].append(same[rows].sum() / 10)
    print(f"\n{name}: precision@10 of {len(cold)} items on no board, by kind")
    for what, values in scores.items():
        resampled = np.random.default_rng(1).choice(values, (2_000, len(values))).mean(axis=1)
        low, high = np.percentile(resampled, [2.5, 97.5])
        print(f"  {what:<10}{np.mean(values):>8.3f}   [{low:.3f}, {high:.3f}]")
    print(f"  from: {dict(sources)}")
    every = [len(ws.related(s, 50, explain=False)) for s in ws.signatures().to_pylist()]
    print(f"  results for n = 50: {min(every)} to {max(every)} over all {len(every)} PinJoins")
    if html:
        page = html.with_name(f"{html.stem}-{name}{html.suffix}")
        write_report(ws, page, queries=cold[:6])
        print(f"  contact sheet: {page}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("PINJOIN_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--html", type=Path, help="also write contact sheets")
    options = parser.parse_args()
    for name in ("ikea", "movies"):
        with tempfile.TemporaryDirectory() as folder:
            measure(options.data.resolve(), name, Path(folder), options.html)


if __name__ == "__main__":
    main()
