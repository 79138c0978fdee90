"""A whole workspace of any size, with everything a ranker reads: boards, words, categories,
pictures. Only the pictures are not really looked at: their codes and classes are made by topic.

    python benchmarks/synthetic_workspace.py DIR [--images 1000000] [--saves 16000000]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from synthetic import CatalogueShape, catalogue

import pinjoin
from pinjoin import builder
from pinjoin.core.progress import reporter
from pinjoin.features.visual import DEFAULT_ENCODER, load_encoder

_WORDS_A_TOPIC, _WORDS_OF_ALL = 40, 5_000
_CATEGORIES = 32
_FLIPPED = 0.3  # of the bits of a topic's code, in one of its pictures
_CLASSES = 60  # that a topic's pictures look like


def topic_of(images: Any, shape: CatalogueShape) -> Any:
    """A topic per image: a word, a category and a look of its own, and not only of its boards."""
    n_topics = max(1, shape.images // shape.images_per_topic)
    return (np.asarray(images).astype(np.uint64) * 2654435761 >> np.uint64(7)) % np.uint64(n_topics)


def tables(shape: CatalogueShape, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """Pins and boards, as a build takes them."""
    rng = np.random.default_rng(seed)
    matrix = catalogue(shape, seed)
    boards = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    images = matrix.indices
    words = _sentences(topic_of(images, shape), rng)
    pins = pa.table(
        {
            "pin_id": _ids("p", np.arange(len(images))),
            "board_id": _ids("b", boards),
            "image": _ids("image-", images),
            "title": words,
        }
    )
    sorts = rng.integers(_CATEGORIES, size=matrix.shape[0])
    about = pa.table(
        {
            "board_id": _ids("b", np.arange(matrix.shape[0])),
            "title": _ids("board ", np.arange(matrix.shape[0])),
            "category": _ids("category ", sorts),
        }
    )
    return pins, about


def _ids(prefix: str, numbers: Any) -> pa.Array:
    text = pa.array(np.asarray(numbers, np.int64)).cast(pa.string())
    return pc.binary_join_element_wise(prefix, text, "")


def _sentences(topics: Any, rng: np.random.Generator) -> pa.Array:
    """Four words each: three of the topic's, one of all."""
    first = topics.astype(np.int64) * _WORDS_A_TOPIC + _WORDS_OF_ALL
    numbers = [first + rng.integers(_WORDS_A_TOPIC, size=len(topics)) for _ in range(3)]
    numbers.append(rng.integers(_WORDS_OF_ALL, size=len(topics)))
    return pc.binary_join_element_wise(*(_ids("word", one) for one in numbers), " ")


def see(shape: CatalogueShape, seed: int = 0) -> Any:
    """Stands for the builder's step that looks at pictures."""
    encoder = load_encoder(DEFAULT_ENCODER)

    def save(writer: Any, *_: Any) -> int:
        rng = np.random.default_rng([seed, 1])
        names = writer.so_far().table("images")["image"].to_pylist()
        topics = topic_of([int(name.removeprefix("image-")) for name in names], shape)
        n, width = len(names), -(-encoder.bits // 64) * 8
        codes = rng.integers(256, size=(int(topics.max()) + 1, width), dtype=np.uint8)
        looks = rng.random((len(codes), 1_000)).argsort(axis=1)[:, :_CLASSES].astype(np.uint16)
        bits = writer.create_array("visual.bits", np.uint8, (n, width))
        keep = encoder.card.fc8.keep
        ids = writer.create_array("visual.ids", np.uint16, (n, keep))
        values = writer.create_array("visual.values", np.float16, (n, keep))
        for first in range(0, n, 50_000):
            here = topics[first : first + 50_000].astype(np.int64)
            flips = np.packbits(rng.random((len(here), width * 8), np.float32) < _FLIPPED, axis=1)
            bits[first : first + len(here)] = codes[here] ^ flips
            order = rng.permuted(np.tile(np.arange(_CLASSES), (len(here), 1)), axis=1)[:, :keep]
            ids[first : first + len(here)] = np.take_along_axis(looks[here], order, axis=1)
            weights = np.sort(rng.random((len(here), keep), np.float32), axis=1)[:, ::-1]
            values[first : first + len(here)] = weights
        writer.save_array("visual.present", np.ones(n, np.uint8))
        about = {"encoder": DEFAULT_ENCODER, "digest": encoder.digest, "bits": encoder.bits}
        writer.save_json("visual", about | {"labels": encoder.labels})
        return n

    return save


def make(folder: Path, shape: CatalogueShape, seed: int = 0) -> Path:
    """The workspace in a folder; made unless it is there."""
    workspace = folder / f"workspace-{shape.images}-{shape.saves}-{seed}"
    if (workspace / "current").exists():
        return workspace
    workspace.mkdir(parents=True, exist_ok=True)
    for name, table in zip(("pins", "boards"), tables(shape, seed), strict=True):
        pq.write_table(table, workspace / f"{name}.parquet")
        del table
    pins, boards = (
        pinjoin.open_source(name, str(workspace / f"{name}.parquet")) for name in ("pins", "boards")
    )
    with mock.patch.object(builder, "_see", see(shape, seed)):
        pinjoin.build(workspace, pins, boards, encoder=None, progress=reporter())
    return workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--saves", type=int, default=16_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start = time.perf_counter()
    print(make(given.folder, CatalogueShape(given.images, given.saves), given.seed))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
