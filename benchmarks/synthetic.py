"""Synthetic catalogues with the shape of real curation: power-law popularity, topics, board sizes.

Every image has one topic and a popularity weight rank^-`popularity_exponent`; every board has a
topic and a power-law size, takes `on_topic` of its images from that topic and the rest from
everywhere, by popularity. Rows come out as in a workspace: most saved first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse

VERSION = 2  # of what `catalogue` makes; names the cached copies


@dataclass(frozen=True)
class CatalogueShape:
    """What `catalogue` makes. The two of the benchmarks are SMALL and LARGE."""

    images: int
    saves: int
    images_per_topic: int = 2_000
    max_board: int = 500
    board_exponent: float = 1.6  # share of boards of size s falls as s^-exponent
    popularity_exponent: float = 0.6
    on_topic: float = 0.8


SMALL = CatalogueShape(images=200_000, saves=3_500_000)
LARGE = CatalogueShape(images=2_000_000, saves=33_000_000)
SHAPES = {"small": SMALL, "large": LARGE}


def catalogue(shape: CatalogueShape, seed: int = 0) -> scipy.sparse.csr_array:
    """Boards × images, binary (int32 ones), column order = most saved first."""
    rng = np.random.default_rng(seed)
    sizes = _board_sizes(shape, rng)
    images = _draw_images(shape, sizes, rng)
    boards = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    pairs = np.unique(boards * shape.images + images)  # a board holds an image once
    boards, images = pairs // shape.images, pairs % shape.images
    saves = np.bincount(images, minlength=shape.images)
    row_of = np.empty(shape.images, np.int64)
    row_of[np.argsort(-saves, kind="stable")] = np.arange(shape.images)
    order = np.argsort(boards * shape.images + row_of[images])
    indptr = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(np.bincount(boards, minlength=len(sizes)), out=indptr[1:])
    indices = row_of[images][order].astype(np.int32)
    data = np.ones(len(indices), np.int32)
    return scipy.sparse.csr_array((data, indices, indptr), shape=(len(sizes), shape.images))


def _board_sizes(shape: CatalogueShape, rng: np.random.Generator) -> np.ndarray:
    support = np.arange(2, shape.max_board + 1)
    weights = support**-shape.board_exponent
    mean = float(support @ weights / weights.sum())
    n = int(shape.saves * 1.1 / mean)
    sizes = rng.choice(support, size=n, p=weights / weights.sum())
    enough = int(np.searchsorted(np.cumsum(sizes), shape.saves * 1.08)) + 1  # repeats fall out
    return sizes[:enough]


def _draw_images(shape: CatalogueShape, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n_topics = max(1, shape.images // shape.images_per_topic)
    # Image i belongs to topic i * n_topics // images; popularity is shuffled over topics.
    weights = rng.permutation(np.arange(1, shape.images + 1) ** -shape.popularity_exponent)
    cumulative = np.concatenate([[0.0], np.cumsum(weights)])
    edges = (np.arange(n_topics + 1) * shape.images) // n_topics
    topic = np.repeat(rng.integers(n_topics, size=len(sizes)), sizes)
    total = len(topic)
    inside = rng.random(total) < shape.on_topic
    low = np.where(inside, cumulative[edges[topic]], 0.0)
    high = np.where(inside, cumulative[edges[topic + 1]], cumulative[-1])
    drawn = np.searchsorted(cumulative, low + rng.random(total) * (high - low), side="right") - 1
    return np.minimum(drawn, shape.images - 1)
