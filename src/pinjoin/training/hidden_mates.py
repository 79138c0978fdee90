"""What boards teach: hidden board-mates of a query, beside random candidates of the same query.

One image of many boards at once is hidden, everything is computed on what is left, and the hidden
image is described among the query's candidates. Saves are hidden anew, each time others, until
there are queries enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Float32s, Int64s
from pinjoin.data.splits import hide
from pinjoin.features.pairs import PairConfig, PairFeatures
from pinjoin.training.catalogue import Catalogue

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BoardTraining:
    """How much is hidden and looked at."""

    queries: int = 3_000  # hidden board-mates learned from, at most
    rounds: int = 4  # times that saves are hidden, at most
    share: float = 0.5  # of the boards of four images or more that hide one, a time
    negatives: int = 40  # random candidates a query, to stand below the hidden one
    best: int = 20  # and of those most visited by walks, to choose settings by
    folds: int = 3  # of cross-validation, by query
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("queries", "rounds", "negatives", "best"):
            value = getattr(self, name)
            check(value >= 1, name, "BoardTraining", "1 or more", value)
        check(0 < self.share <= 1, "share", "BoardTraining", "above 0, 1 at most", self.share)
        check(self.folds >= 2, "folds", "BoardTraining", "2 or more", self.folds)


@dataclass(frozen=True)
class Example:
    """Features of one query's candidates, (candidates, features) float32.

    random: the hidden board-mate, then random candidates; best: those that walks visit most.
    of_rest: which of the random ones are not among the best; rest: how many candidates are not.
    """

    random: Float32s
    best: Float32s
    of_rest: Bools
    rest: int

    def ndcg(self, weights: Floats) -> float:
        """nDCG@100 of the hidden one, its place estimated from the random ones above it."""
        scores = self.random @ weights
        sample = scores[1:][self.of_rest]
        above = float(np.mean(sample >= scores[0])) if len(sample) else 0.0
        place = float(np.sum(self.best @ weights >= scores[0])) + above * self.rest
        return 1 / np.log2(place + 2) if place < 100 else 0.0


@dataclass(frozen=True)
class Examples:
    """Examples of many queries, described by `features`."""

    features: PairFeatures
    each: Sequence[Example]

    def __len__(self) -> int:
        return len(self.each)

    @cached_property
    def better(self) -> Float32s:
        """(triplets, features): the hidden one, once for each of the random ones."""
        return np.concatenate([one.random[[0] * (len(one.random) - 1)] for one in self.each])

    @cached_property
    def worse(self) -> Float32s:
        """(triplets, features): the random ones."""
        return np.concatenate([one.random[1:] for one in self.each])

    @cached_property
    def query(self) -> Int64s:
        """(triplets,) the number of the example."""
        return np.repeat(np.arange(len(self)), [len(one.random) - 1 for one in self.each])

    def columns(self, config: PairConfig) -> Int64s:
        """Where the features of a narrower configuration are among these."""
        at = {name: place for place, name in enumerate(self.features.schema)}
        return np.array([at[name] for name in self.features.configured(config).schema], np.int64)

    def narrowed(self, config: PairConfig) -> Examples:
        """The same by the features of a narrower configuration."""
        kept = self.columns(config)
        each = [replace(e, random=e.random[:, kept], best=e.best[:, kept]) for e in self.each]
        return Examples(self.features.configured(config), each)

    def hash(self) -> str:
        """SHA-256 (hex) of what is learned from."""
        digest = hashlib.sha256()
        for one in self.each:
            digest.update(one.random.tobytes())
        return digest.hexdigest()


def hidden_mates(
    catalogue: Catalogue, config: BoardTraining | None = None, progress: Progress = silent
) -> Examples:
    """Examples from the boards of a catalogue. Deterministic."""
    config = config or BoardTraining()
    rng = np.random.default_rng(config.seed)
    found: list[Example] = []
    with progress("learning from boards", config.queries) as advance:
        for _ in range(config.rounds):
            missing = config.queries - len(found)
            if missing <= 0:
                break
            held = hide(catalogue.incidence, rng, config.share, most=missing)
            if not len(held):
                break
            before = catalogue.without(held)
            for query, hidden in zip(held.queries, held.hidden, strict=True):
                example = _example(before, int(query), int(hidden), held.eligible, config, rng)
                found += [example] if example is not None else []
                advance(1)
    return Examples(catalogue.features, found)


def _example(
    catalogue: Catalogue,
    query: int,
    hidden: int,
    eligible: Bools,
    config: BoardTraining,
    rng: np.random.Generator,
) -> Example | None:
    """None where the hidden image is not found at all, or nothing else is."""
    found = catalogue.candidates(query, eligible)
    others = np.flatnonzero(found.rows != hidden)
    if len(others) in (0, len(found)):
        return None
    at = np.flatnonzero(found.rows == hidden)
    by_walk = others[np.argsort(-found.signals.walk[others], kind="stable")]
    best, rest = by_walk[: config.best], by_walk[config.best :]
    random = rng.choice(others, min(config.negatives, len(others)), replace=False)
    rows = catalogue.describe(query, found, np.concatenate([at, random, best]))
    of_rest = np.isin(random, rest)
    return Example(rows[: 1 + len(random)], rows[1 + len(random) :], of_rest, len(rest))
