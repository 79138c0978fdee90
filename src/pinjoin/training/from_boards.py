"""A ranker before anyone has clicked: learned from the catalogue's own boards.

How strictly, and on which groups of features, is chosen by how well board-mates are ranked that
were not learned from.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pinjoin.core.errors import InputError
from pinjoin.core.incidence import Incidence
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Int64s
from pinjoin.features.pairs import PairConfig
from pinjoin.ranker import feature_config
from pinjoin.ranking.model import About, LinearModel, from_ranksvm
from pinjoin.ranking.ranksvm import RankSVM
from pinjoin.recommender import Workspace
from pinjoin.training.catalogue import FACTORS, MOST_RELEARNED, Catalogue
from pinjoin.training.hidden_mates import BoardTraining, Examples, Floats, hidden_mates

__all__ = ["BoardTraining", "train_from_boards", "train_on"]

_LEAST = 30  # queries: fewer teach nothing

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""C × triplets that cross-validation chooses from: the same doubt whatever the catalogue's size."""

UNBOUNDED = (
    "cooccurrence.count", "walk.visits", "walk.per_root", "adamic_adar.sum",
    "resource_allocation.sum",
)  # fmt: skip
"""Features of which one may be a thousand times the others: it would outweigh all else. Their
logarithms and shares say the same: without them no ranking was found to be worse."""

NOT_LEARNED = (*UNBOUNDED, "navboost.log_ratio")
"""Features that boards do not teach; nobody clicked yet."""

KEPT = ("visual", "text")
"""Groups that are never left out: they are what is known of images on few boards, and such images
are never hidden."""


def train_from_boards(
    workspace: Workspace,
    config: BoardTraining | None = None,
    pairs: PairConfig | None = None,
    *,
    name: str = "boards",
    progress: Progress = silent,
) -> LinearModel:
    """Learn to rank a catalogue from its own boards; how strictly, by cross-validation.

    pairs: the features; those that boards cannot teach are left out. Deterministic. Raises
    InputError where shared boards are too few to learn from.
    """
    pairs = learnable(pairs or PairConfig(), workspace.incidence)
    return train_on(Catalogue.of(workspace, pairs), config, name=name, progress=progress)


def train_on(
    catalogue: Catalogue,
    config: BoardTraining | None = None,
    *,
    name: str = "boards",
    progress: Progress = silent,
) -> LinearModel:
    """As `train_from_boards`, of a catalogue from which saves may be left out already."""
    config = config or BoardTraining()
    return learn(hidden_mates(catalogue, config, progress), config, name, progress)


def learnable(pairs: PairConfig, incidence: Incidence) -> PairConfig:
    """Without the features that boards cannot teach, or not quickly."""
    large = [FACTORS] if incidence.n_saves > MOST_RELEARNED else []
    return replace(pairs, without=tuple(dict.fromkeys([*pairs.without, *NOT_LEARNED, *large])))


def learn(
    examples: Examples, config: BoardTraining, name: str = "boards", progress: Progress = silent
) -> LinearModel:
    """The model that examples teach."""
    if len(examples) < _LEAST:
        raise InputError(
            f"Only {len(examples)} saves can be hidden to learn from ({_LEAST} are the least): of "
            "images on three boards or more, on boards of four images or more. Collect more "
            "boards, or train from logs (`pinjoin train WORKSPACE --events FILE`). Until then "
            "the number of shared boards ranks."
        )
    choice, gains = choose(examples, config.folds, progress)
    metrics = {"queries": len(examples), "ndcg_100": float(gains.mean())}
    chosen = examples.features.configured(choice.pairs)
    settings = {**asdict(config), **feature_config(chosen.config)}
    about = About.now(name, "boards", examples.hash(), metrics, settings)
    svm = _fit(examples, examples.columns(choice.pairs), choice.strength)
    return from_ranksvm(svm, chosen.schema, about)


@dataclass(frozen=True)
class Choice:
    """What cross-validation decides."""

    strength: float  # C × triplets
    pairs: PairConfig


def choose(examples: Examples, folds: int, progress: Progress = silent) -> tuple[Choice, Floats]:
    """The best settings, and nDCG@100 of each example by models that did not learn from it.

    The strength that does best with all features; then a group of features is left out, the one
    without which it does best, as long as that is better by more than two standard errors.
    """
    everything = examples.features.config
    with progress("choosing settings", None) as advance:

        def tried(choice: Choice) -> tuple[Choice, Floats]:
            gains = _validated(examples, choice, folds)
            advance(1)
            return choice, gains

        found = [tried(Choice(strength, everything)) for strength in STRENGTHS]
        best = max(found, key=lambda one: float(one[1].mean()))
        while fewer := _narrower(examples, best[0].pairs):
            next_best = max(
                (tried(replace(best[0], pairs=pairs)) for pairs in fewer),
                key=lambda one: float(one[1].mean()),
            )
            better = next_best[1] - best[1]
            if better.mean() <= 2 * better.std() / np.sqrt(len(better)):
                break
            best = next_best
    return best


def _narrower(examples: Examples, pairs: PairConfig) -> list[PairConfig]:
    """Each without one of the groups that may go."""
    gone = [group for group in pairs.groups if group not in KEPT]
    fewer = [replace(pairs, groups=tuple(g for g in pairs.groups if g != group)) for group in gone]
    before = len(examples.columns(pairs))
    return [one for one in fewer if 0 < len(examples.columns(one)) < before]


def _validated(examples: Examples, choice: Choice, folds: int) -> Floats:
    """(examples,) nDCG@100 of each, learned from other folds."""
    gains = np.empty(len(examples))
    columns = examples.columns(choice.pairs)
    weights = np.zeros(len(examples.features.schema))
    for fold in range(folds):
        svm = _fit(examples, columns, choice.strength, examples.query % folds != fold)
        weights[columns] = svm.coef_
        for i in range(fold, len(examples), folds):
            gains[i] = examples.each[i].ndcg(weights)
    return gains


def _fit(examples: Examples, columns: Int64s, strength: float, some: Any = slice(None)) -> RankSVM:
    """some: which triplets."""
    better, worse = examples.better[some][:, columns], examples.worse[some][:, columns]
    return RankSVM(C=strength / len(better)).fit(better, worse)
