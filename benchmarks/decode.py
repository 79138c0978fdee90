"""Decoding and shrinking JPEGs for an encoder, beside JPEG libraries used directly.

    python benchmarks/decode.py [--rounds 7] [--json FILE]

Ours reads a file, tells its format, checks it, decodes at a fraction where that is enough, turns it
upright, cuts its middle out and shrinks that to 240 × 240, as the shipped encoder asks. The peers
decode the same bytes by their library's own means to shrink early, cut and shrink with the same
filter (Pillow's), and check nothing; OpenCV shrinks by its own, a box, which is cheaper and gives
other pixels. `small` are product pictures as they are (PINJOIN_DATA), `large` the same blown up to
3,000 × 2,250 pixels, as phones take them. One thread, alternating rounds, medians; by the clock,
and by processor time, which others on the machine change less.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import probe
from PIL import Image

from pinjoin.data.images import decode

DATA = Path(os.environ.get("PINJOIN_DATA", Path(__file__).parents[1] / "../shared/data"))
SIDE, CROP = 240, 0.9375
ENOUGH = round(SIDE / CROP)  # of the shorter side
Peer = Callable[[bytes], Any]


def pillow(data: bytes) -> Any:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        image.draft("RGB", (ENOUGH, ENOUGH))
        return np.asarray(_fitted(image.convert("RGB")))


def simplejpeg(data: bytes) -> Any:
    from simplejpeg import decode_jpeg

    pixels = decode_jpeg(data, min_height=ENOUGH, min_width=ENOUGH)
    return np.asarray(_fitted(Image.fromarray(pixels)))


def opencv(data: bytes) -> Any:
    import cv2

    cv2.setNumThreads(1)
    width, height = Image.open(io.BytesIO(data)).size  # the header: cv2 tells no size beforehand
    by = next((n for n in (8, 4, 2) if min(width, height) >= n * ENOUGH), 1)
    flag = cv2.IMREAD_COLOR if by == 1 else getattr(cv2, f"IMREAD_REDUCED_COLOR_{by}")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    height, width = image.shape[:2]
    side = round(min(height, width) * CROP)
    top, left = (height - side) // 2, (width - side) // 2
    image = image[top : top + side, left : left + side]
    return cv2.cvtColor(
        cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB
    )


def _fitted(image: Image.Image) -> Image.Image:
    side = min(image.size) * CROP
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def large(paths: list[Path], folder: Path) -> list[Path]:
    found = []
    for path in paths:
        with Image.open(path) as image:
            wide = image.convert("RGB").resize((3_000, 2_250), Image.Resampling.BICUBIC)
        found.append(folder / path.name)
        wide.save(found[-1], "JPEG", quality=88)
    return found


def rates(paths: list[Path], rounds: int) -> dict[str, Any]:
    """Pictures per second of each way, by the clock and per second of a core."""
    peers: dict[str, Peer] = {"Pillow": pillow, "simplejpeg": simplejpeg, "OpenCV": opencv}
    works: dict[str, Callable[[Path], Any]] = {
        "pinjoin": lambda path: decode(path, SIDE, crop=CROP, resample="bilinear"),
        **{name: lambda path, way=way: way(path.read_bytes()) for name, way in peers.items()},
    }
    for path in paths[:20]:  # what they see is the same picture
        ours = works["pinjoin"](path).astype(float)
        for name in peers:
            assert np.abs(works[name](path) - ours).mean() < 6, (name, path)
    clock: dict[str, list[float]] = {name: [] for name in works}
    used: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start, before = time.perf_counter(), time.process_time()
            for path in paths:
                work(path)
            used[name].append((time.process_time() - before) / len(paths))
            clock[name].append((time.perf_counter() - start) / len(paths))
    best = min(statistics.median(used[name]) for name in peers)
    row: dict[str, Any] = {}
    for name in works:
        row[f"{name}: pictures/s"] = 1 / statistics.median(clock[name])
        row[f"{name}: per second of a core"] = 1 / statistics.median(used[name])
    row["share of the best peer (≥ 0.8)"] = best / statistics.median(used["pinjoin"])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": probe.machine()}
    small = sorted((DATA / "ikea" / "images").glob("*.jpg"))[:400]
    with tempfile.TemporaryDirectory() as folder:
        for name, paths in {"small": small, "large": large(small[:60], Path(folder))}.items():
            figures[name] = rates(paths, options.rounds)
            print(f"\n{name}: {len(paths)} pictures")
            for what, value in figures[name].items():
                print(f"  {what:<40}{value:>10,.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
