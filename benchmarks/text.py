"""Annotating a catalogue from its pins' texts, beside scikit-learn's vectorisers.

    python benchmarks/text.py [--texts 200000] [--rounds 3] [--json FILE]

The texts are all different: sentences of real product descriptions where the folder of real data
is there (PINJOIN_DATA), else of made-up words, joined anew for each text; one in five is German,
Russian, Japanese, Arabic or full of emoji. We do the whole build: words, 1–3-grams, how many
images have each, weights, the best 32. scikit-learn stops at the counts of n-grams.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pinjoin.features import text

DATA = Path(os.environ.get("PINJOIN_DATA", Path(__file__).parents[1] / "../shared/data"))
OTHERS = {
    "German": "schöne große Möbel für kleine Räume Küche Tisch Stühle weiß grün und mit über süße "
    "Straße Holz Regal Lampe gemütlich modern Wohnzimmer Schlafzimmer Idee selber bauen",
    "Russian": "красивый деревянный стол для маленькой кухни белый цвет ручная работа диван и "
    "кресло в гостиной идеи для дома своими руками спальня шкаф лампа новый год",
    "Japanese": "北欧風の リビングに合う 木製テーブル 白い椅子 ソファ 収納アイデア かわいい 部屋 "
    "キッチン 小さな 寝室 照明 手作り 本棚 観葉植物",
    "Arabic": "طاولة خشبية بيضاء للمطبخ الصغير أفكار ديكور غرفة المعيشة كرسي مريح "
    "مصباح حديث رف كتب",
    "emoji": "🪑 🛋️ cozy corner ❤️ plants 🌿 👩‍🍳 kitchen 🏠 love this ✨ Café décor 👍🏽 DIY 🔨",
}


def sentences(rng: np.random.Generator) -> list[str]:
    """Real sentences, or made-up ones of words as frequent as words are."""
    pins = DATA / "ikea" / "pins.csv"
    if pins.is_file():
        with pins.open(encoding="utf-8", newline="") as file:
            rows = [f"{row['title']}; {row['description']}" for row in csv.DictReader(file)]
        parts = {part.strip() for row in rows for part in row.replace(". ", "; ").split(";")}
        return sorted(part for part in parts if part)
    syllables = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(rng.choice(syllables, rng.integers(1, 5))) for _ in range(20_000)]
    ranks = np.minimum(rng.zipf(1.3, (5_000, 9)), len(words)) - 1
    return [" ".join(words[rank] for rank in row) for row in ranks]


def make_texts(n: int, seed: int = 0) -> list[str]:
    """n different texts of some 120 characters."""
    rng = np.random.default_rng(seed)
    known = sentences(rng)
    others = [words.split() for words in OTHERS.values()]
    found: dict[str, None] = {}
    while len(found) < n:
        if rng.random() < 0.2:
            words = others[rng.integers(len(others))]
            found[" ".join(rng.choice(words, rng.integers(8, 20)))] = None
        else:
            picked = rng.integers(len(known), size=rng.integers(2, 6))
            found["; ".join(known[i] for i in picked)] = None
    return list(found)


def contestants() -> dict[str, Callable[[list[str]], Any]]:
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer

    return {
        "pinjoin": text.of_texts,
        "CountVectorizer": lambda texts: CountVectorizer(ngram_range=(1, 3)).fit_transform(texts),
        "HashingVectorizer": lambda texts: HashingVectorizer(ngram_range=(1, 3)).transform(texts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    texts = make_texts(options.texts)
    characters = sum(map(len, texts)) / len(texts)
    print(f"{len(texts):,} different texts of {characters:.0f} characters", flush=True)
    text.of_texts(texts[:1000])  # compiles
    spent: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}  # of the processor, which others on the machine cost less
    for _ in range(options.rounds):
        for name, work in contestants().items():
            # The slow ones get fewer: what they do is linear, and it is their rate that counts.
            given = texts if name == "pinjoin" else texts[: len(texts) // 5]
            gc.collect()
            start, before = time.perf_counter(), time.process_time()
            work(given)
            used.setdefault(name, []).append((time.process_time() - before) / len(given))
            spent.setdefault(name, []).append((time.perf_counter() - start) / len(given))
    rates = {name: 1 / statistics.median(each) for name, each in spent.items()}
    busy = {name: 1 / statistics.median(each) for name, each in used.items()}
    for name, rate in rates.items():
        ratio = rates["pinjoin"] / rate
        print(f"{name:>20}: {rate:>9,.0f} texts/s, {busy[name]:>9,.0f} per second of a core, "
              f"pinjoin {ratio:.1f}×")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak:,.0f} MiB")
    if options.json:
        record = {"texts": len(texts), "characters": characters, "per_second": rates}
        record["per_core_second"] = busy
        options.json.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
