"""Models of each kind, learned from triplets, and how well they do on queries they never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.ranking.lambdamart import LambdaMartConfig, fit_lambdamart
from pinjoin.ranking.model import About, Model, from_ranksvm
from pinjoin.ranking.ranksvm import RankSVM
from pinjoin.training.described import Pairs
from pinjoin.training.from_boards import STRENGTHS
from pinjoin.training.log_config import Kind

Folds = npt.NDArray[np.integer[Any]]

_MANY = 100_000  # triplets
_FOLD = About.now("fold", "logs", "")


@dataclass(frozen=True)
class Learner:
    """Learns one kind of model on features of a schema.

    C: of RankSVM; None: strength / triplets, which `validated` chooses of STRENGTHS.
    """

    kind: Kind
    schema: Mapping[str, str]
    C: float | None = None
    strength: float = STRENGTHS[0]
    seed: int = 0

    def fit(self, pairs: Pairs, about: About) -> Model:
        """Learn from features (triplets, features). ConfigError where LightGBM is missing."""
        if self.kind == "lambdamart":
            # Threads that wait for each other cost more than they bring where there is little.
            threads = 0 if len(pairs) >= _MANY else 1
            config = LambdaMartConfig(seed=self.seed, threads=threads)
            return fit_lambdamart(pairs.better, pairs.worse, self.schema, about, config)
        svm = RankSVM(self.C or self.strength / len(pairs)).fit(pairs.better, pairs.worse)
        return from_ranksvm(svm, self.schema, about)

    def validated(self, pairs: Pairs, folds: Folds, n: int) -> tuple[Learner, list[Model]]:
        """The learner under which most triplets are in order of queries that were not learned
        from, and its models: each of all folds but one.

        folds: (triplets,) the fold of each, that of its query; n: how many there are.
        """
        chosen = self.kind == "ranksvm" and self.C is None
        found = []
        for strength in STRENGTHS if chosen else (self.strength,):
            learner = replace(self, strength=strength)
            models = [learner.fit(pairs.where(folds != fold), _FOLD) for fold in range(n)]
            found.append((out_of_fold(models, pairs, folds).in_order(), learner, models))
        _, learner, models = max(found, key=lambda one: one[0])
        return learner, models


def out_of_fold(models: Sequence[Model], pairs: Pairs, folds: Folds) -> Pairs:
    """Scores (triplets,) of features (triplets, features), each by the model of its fold."""
    scores = Pairs(*np.empty((2, len(pairs))))
    for fold, model in enumerate(models):
        here = folds == fold
        if here.any():
            scores.better[here] = model.score(pairs.better[here])
            scores.worse[here] = model.score(pairs.worse[here])
    return scores
