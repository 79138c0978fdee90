"""Group `collaborative`: who is saved with whom, learned as a short vector of each image.

The boards × images incidence, both sides divided by the square root of their degrees, is
factorised (truncated SVD): images whose boards resemble each other get vectors that point the same
way even if they never met on one (the idea of Pin2Vec, Liu et al., WWW 2017, by spectral means).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check
from pinjoin.core.incidence import Incidence
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Float32s
from pinjoin.snapshot.reader import Snapshot
from pinjoin.snapshot.writer import SnapshotWriter

_BLOCK = 1 << 16  # images at a time


@dataclass(frozen=True)
class FactorConfig:
    """How vectors are learned."""

    factors: int = 64  # at most: a small catalogue has fewer
    max_saves: int = 2_000_000  # learned from: of larger catalogues, a seeded sample of the boards
    seed: int = 0

    def __post_init__(self) -> None:
        check(1 <= self.factors <= 256, "factors", "FactorConfig", "from 1 to 256", self.factors)
        check(self.max_saves >= 1, "max_saves", "FactorConfig", "1 or more", self.max_saves)


@dataclass(frozen=True)
class Factors:
    """vectors: (images, factors) float16, rows of Euclidean length 1, all 0 for images of no board
    that was learned from. Two images' similarity is their inner product, from −1 to 1."""

    vectors: npt.NDArray[np.float16]
    config: FactorConfig

    def save(self, writer: SnapshotWriter) -> None:
        """Store under names that begin with `factors`."""
        writer.save_array("factors.vectors", self.vectors)
        writer.save_json("factors", {"config": asdict(self.config)})

    @classmethod
    def open(cls, snapshot: Snapshot) -> Factors:
        """Those of a snapshot, mapped."""
        config = FactorConfig(**snapshot.json("factors")["config"])
        return cls(snapshot.array("factors.vectors"), config)


def build(
    incidence: Incidence, config: FactorConfig | None = None, *, progress: Progress = silent
) -> Factors:
    """Learn the vectors of all images. Seeded: same in, same out."""
    from sklearn.utils.extmath import randomized_svd

    config = config or FactorConfig()
    matrix = _normalised(incidence, _sample(incidence, config))
    n = min(config.factors, *matrix.shape)
    vectors = np.zeros((incidence.n_images, n if matrix.nnz else 0), np.float16)
    if vectors.size:
        with progress("learning who is saved with whom", len(vectors)) as advance:
            _, values, right = randomized_svd(matrix, n, n_iter=4, random_state=config.seed)
            for first in range(0, len(vectors), _BLOCK):
                block = right[:, first : first + _BLOCK].T * values
                vectors[first : first + len(block)] = _unit(block)
                advance(len(block))
    return Factors(vectors, config)


def _sample(incidence: Incidence, config: FactorConfig) -> npt.NDArray[np.int64]:
    """Boards that can relate something; in large catalogues a random part of them."""
    boards = np.flatnonzero(incidence.sizes >= 2)
    saves = int(incidence.sizes[boards].sum())
    if saves <= config.max_saves:
        return boards
    order = np.random.default_rng(config.seed).permutation(boards)
    kept = order[np.cumsum(incidence.sizes[order]) <= config.max_saves]
    return np.sort(kept)


def _normalised(incidence: Incidence, boards: npt.NDArray[np.int64]) -> Any:
    """(boards, images) CSR float32 with entries 1 / √(board's size × image's degree)."""
    import scipy.sparse

    sizes = incidence.sizes[boards]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    starts = np.repeat(incidence.board_indptr[boards] - indptr[:-1], sizes)
    images = incidence.board_images[starts + np.arange(indptr[-1])].astype(np.int64)
    degrees = np.bincount(images, minlength=incidence.n_images)
    entries = 1 / np.sqrt(np.repeat(sizes, sizes) * degrees[images])
    shape = (len(boards), incidence.n_images)
    return scipy.sparse.csr_array((entries.astype(np.float32), images, indptr), shape=shape)


def _unit(vectors: npt.NDArray[Any]) -> Float32s:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 1e-6, lengths, np.inf), np.float32)
