"""What is learned from a log, and from how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from pinjoin.core.errors import check
from pinjoin.ranking.coec import ENGAGEMENT
from pinjoin.ranking.navboost import NavboostConfig
from pinjoin.ranking.triplets import TripletConfig

LEAST = 30
"""Queries, or triplets of one use: fewer teach nothing."""

Kind = Literal["ranksvm", "lambdamart"]


@dataclass(frozen=True)
class LogTraining:
    """How `train_from_logs` learns."""

    model: Kind = "ranksvm"
    C: float | None = None  # of RankSVM; None: by cross-validation
    actions: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(ENGAGEMENT, 1.0))
    face_value: bool = False  # whether clicks count alike wherever they were: to compare with
    triplets: TripletConfig = field(default_factory=lambda: TripletConfig(pairs=5, doubt=1.0))
    queries: int = 20_000  # learned from, at most
    requests: int = 3_000  # that teach what is known of the person, at most
    alpha: float = 1.0  # of Navboost: how many imagined actions, as expected
    earlier: float = 0.8  # of the requests: what Navboost knows while it is tuned on the others
    folds: int = 3  # of cross-validation, by query
    seed: int = 0

    def __post_init__(self) -> None:
        def require(name: str, good: bool, allowed: str) -> None:
            check(good, name, "LogTraining", allowed, getattr(self, name))

        require("model", self.model in ("ranksvm", "lambdamart"), "ranksvm or lambdamart")
        require("C", self.C is None or 0 < self.C < np.inf, "None or a number above 0")
        require("queries", self.queries >= LEAST, f"{LEAST} or more")
        require("requests", self.requests >= 0, "0 or more")
        require("earlier", 0 < self.earlier < 1, "between 0 and 1")
        require("folds", self.folds >= 2, "2 or more")
        require("seed", self.seed >= 0, "0 or more")
        NavboostConfig(self.alpha, self.actions)

    @property
    def navboost(self) -> NavboostConfig:
        """That of what people did."""
        return NavboostConfig(self.alpha, self.actions)

    @property
    def later_triplets(self) -> TripletConfig:
        """Of the requests that Navboost is tuned on: engaged ones, of as much less evidence."""
        left, given = 1 - self.earlier, self.triplets
        return replace(
            given,
            min_query_impressions=max(1, round(left * given.min_query_impressions)),
            min_impressions=max(1, round(left * given.min_impressions)),
            random_negatives=0,
        )

    def plain(self) -> dict[str, Any]:
        """As plain data, for a model's config, but what is the model's own."""
        return {name: value for name, value in asdict(self).items() if name not in ("model", "C")}
