"""A ranker before anyone has clicked: learned from the catalogue's own boards.

One image of many boards at once is hidden, everything is computed on what is left, and the ranker
learns to put the hidden board-mate above random candidates of the same query. Saves are hidden
anew, each time others, until there are queries enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError, check
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Float32s
from pinjoin.data.splits import hide
from pinjoin.features.pairs import PairConfig
from pinjoin.ranker import feature_config
from pinjoin.ranking.model import About, LinearModel, from_ranksvm
from pinjoin.ranking.ranksvm import RankSVM
from pinjoin.recommender import Workspace
from pinjoin.training.catalogue import Catalogue

_LEAST = 30  # queries: fewer teach nothing

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""C × triplets that cross-validation chooses from: the same doubt whatever the catalogue's size."""

NOT_LEARNED = ("factors.similarity", "navboost.log_ratio")
"""Features that hidden saves cannot teach: factors are learned with them, and nobody clicked."""


@dataclass(frozen=True)
class BoardTraining:
    """How much is hidden and looked at."""

    queries: int = 3_000  # hidden board-mates learned from, at most
    rounds: int = 4  # times that saves are hidden, at most
    share: float = 0.5  # of the boards of four images or more that hide one, a time
    negatives: int = 40  # random candidates a query, to stand below the hidden one
    best: int = 20  # and of those most visited by walks, to choose C by
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
    of_rest: npt.NDArray[np.bool_]
    rest: int

    def ndcg(self, weights: npt.NDArray[np.float64]) -> float:
        """nDCG@100 of the hidden one, its place estimated from the random ones above it."""
        scores = self.random @ weights
        sample = scores[1:][self.of_rest]
        above = float(np.mean(sample >= scores[0])) if len(sample) else 0.0
        place = float(np.sum(self.best @ weights >= scores[0])) + above * self.rest
        return 1 / np.log2(place + 2) if place < 100 else 0.0


def train_from_boards(
    workspace: Workspace,
    config: BoardTraining | None = None,
    pairs: PairConfig | None = None,
    *,
    name: str = "boards",
    progress: Progress = silent,
) -> LinearModel:
    """Learn to rank a catalogue from its own boards; how strictly, by cross-validation.

    pairs: the features; those that hidden saves cannot teach are left out. Deterministic. Raises
    InputError where shared boards are too few to learn from.
    """
    pairs = pairs or PairConfig()
    catalogue = Catalogue.of(workspace)
    known = catalogue.features.schema
    left_out = [name for name in (*pairs.without, *NOT_LEARNED) if name in known]
    catalogue = Catalogue.of(workspace, replace(pairs, without=left_out))
    return train_on(catalogue, config, name=name, progress=progress)


def train_on(
    catalogue: Catalogue,
    config: BoardTraining | None = None,
    *,
    name: str = "boards",
    progress: Progress = silent,
) -> LinearModel:
    """As `train_from_boards`, of a catalogue from which saves may be left out already."""
    config = config or BoardTraining()
    examples = _examples(catalogue, config, progress)
    if len(examples) < _LEAST:
        raise InputError(
            f"Only {len(examples)} saves can be hidden to learn from ({_LEAST} are the least): of "
            "images on three boards or more, on boards of four images or more. Collect more "
            "boards, or train from logs (`pinjoin train WORKSPACE --events FILE`). Until then "
            "the number of shared boards ranks."
        )
    found = {strength: _validated(examples, strength, config.folds) for strength in STRENGTHS}
    best = max(STRENGTHS, key=lambda strength: found[strength])
    metrics = {"queries": len(examples), "ndcg_100": found[best]}
    settings = {**asdict(config), **feature_config(catalogue.features.config)}
    about = About.now(name, "boards", _hash(examples), metrics, settings)
    return from_ranksvm(_fit(examples, best), catalogue.features.schema, about)


def _examples(catalogue: Catalogue, config: BoardTraining, progress: Progress) -> list[Example]:
    rng = np.random.default_rng(config.seed)
    found: list[Example] = []
    with progress("learning from boards", config.queries) as advance:
        for _ in range(config.rounds):
            missing = config.queries - len(found)
            if missing <= 0:
                break
            held = hide(catalogue.incidence, rng, config.share, most=missing)
            before = catalogue.without(held)
            for query, hidden in zip(held.queries, held.hidden, strict=True):
                example = _example(before, int(query), int(hidden), held.eligible, config, rng)
                found += [example] if example is not None else []
                advance(1)
    return found


def _example(
    catalogue: Catalogue,
    query: int,
    hidden: int,
    eligible: npt.NDArray[np.bool_],
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


def _fit(examples: Sequence[Example], strength: float) -> RankSVM:
    better = np.concatenate([e.random[[0] * (len(e.random) - 1)] for e in examples])
    worse = np.concatenate([e.random[1:] for e in examples])
    return RankSVM(C=strength / len(better)).fit(better, worse)


def _validated(examples: Sequence[Example], strength: float, folds: int) -> float:
    """Mean nDCG@100 of queries that were not learned from."""
    gains = []
    for fold in range(folds):
        svm = _fit([e for i, e in enumerate(examples) if i % folds != fold], strength)
        gains += [e.ndcg(svm.coef_) for e in examples[fold::folds]]
    return float(np.mean(gains))


def _hash(examples: Sequence[Example]) -> str:
    """SHA-256 (hex) of what was learned from."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.random.tobytes())
    return digest.hexdigest()
