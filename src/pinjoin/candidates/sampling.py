"""Sampling for cost (§IV.A): bounded boards, bounded queries, the same in every engine."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from pinjoin.core.incidence import Incidence, Lists
from pinjoin.core.types import UInt32s

_log = logging.getLogger(__name__)


def sample_boards(
    incidence: Incidence, most: int, quality: npt.NDArray[np.floating] | None = None
) -> Incidence:
    """Boards above `most` images keep their best: highest quality (images,) or, without one, on
    most boards; ties by row. The paper samples "based on the quality/popularity of the images"."""
    sizes = incidence.sizes
    large = np.flatnonzero(sizes > most)
    if not len(large):
        return incidence
    rank = incidence.degrees if quality is None else quality
    keep = np.ones(incidence.n_saves, bool)
    for board in large:
        first, last = incidence.board_indptr[board : board + 2]
        images = incidence.board_images[first:last]
        best = np.argsort(-rank[images], kind="stable")[:most]
        keep[first:last] = False
        keep[first + best] = True
    indptr = np.zeros(incidence.n_boards + 1, np.int64)
    np.cumsum(np.minimum(sizes, most), out=indptr[1:])
    _log.info(
        "kept the best %d images of %d larger boards: %d of %d saves",
        most, len(large), indptr[-1], incidence.n_saves,
    )  # fmt: skip
    return Incidence.from_boards(indptr, incidence.board_images[keep], incidence.n_images)


def sample_query_boards(incidence: Incidence, most: int, seed: int) -> Lists:
    """Boards by image, where an image on more than `most` boards asks only a sample of them:
    those with the smallest splitmix64 hash of (seed, image row, board row)."""
    degrees = incidence.degrees
    large = np.flatnonzero(degrees > most)
    if not len(large):
        return incidence.by_image
    keep = np.ones(incidence.n_saves, bool)
    for image in large:
        first, last = incidence.image_indptr[image : image + 2]
        hashes = hash_pairs(seed, int(image), incidence.image_boards[first:last])
        keep[first:last] = False
        keep[first + np.argsort(hashes, kind="stable")[:most]] = True
    indptr = np.zeros(incidence.n_images + 1, np.int64)
    np.cumsum(np.minimum(degrees, most), out=indptr[1:])
    _log.info("sampled %d boards of each of %d images that are on more", most, len(large))
    return Lists(indptr, incidence.by_image.step, incidence.image_boards[keep])


def hash_pairs(seed: int, image: int, boards: UInt32s) -> npt.NDArray[np.uint64]:
    """splitmix64 (Steele, Lea & Flood, 2014) of (image << 32 | board) + seed, (boards,) uint64."""
    with np.errstate(over="ignore"):
        x = (np.uint64(image) << np.uint64(32)) | boards.astype(np.uint64)
        x += np.uint64((seed * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
        x += np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
