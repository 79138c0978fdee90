"""LambdaMART: boosted trees over the same features (extra `gbdt`), behind the models' interface."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from pinjoin.core.errors import ConfigError, InputError, check
from pinjoin.ranking.model import About, Floats, Matrix, Schema, split_schema


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise ConfigError(
            "LambdaMART needs LightGBM, which is not installed: pip install 'pinjoin[gbdt]'."
        ) from error
    return lightgbm


@dataclass(frozen=True)
class LambdaMartConfig:
    """How the trees grow."""

    trees: int = 200
    leaves: int = 15
    learning_rate: float = 0.05
    min_leaf: int = 50  # documents
    l2: float = 1.0
    seed: int = 0
    threads: int = 0  # 0: as many as LightGBM finds

    def __post_init__(self) -> None:
        lowest = {"trees": 1, "leaves": 2, "min_leaf": 1, "l2": 0, "seed": 0, "threads": 0}
        for name, least in lowest.items():
            given = getattr(self, name)
            check(given >= least, name, "LambdaMartConfig", f"{least} or more", given)
        rate = self.learning_rate
        check(0 < rate <= 1, "learning_rate", "LambdaMartConfig", "above 0, at most 1", rate)


@dataclass(frozen=True)
class TreeModel:
    """score = Σ trees − `base` + Σ linear × feature.

    base: the trees' expectation in training, so that what the features add (SHAP values) sums to
    the score, as in a linear model. linear: (features,) weights of what trees were not grown on.
    """

    kind: ClassVar[str] = "lambdamart"
    about: About
    features: tuple[str, ...]
    trees: tuple[str, ...]  # LightGBM's own text, by line
    base: float
    definitions: tuple[str, ...] = ()
    linear: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.features)
        object.__setattr__(self, "definitions", self.definitions or ("",) * n)
        object.__setattr__(self, "linear", self.linear or (0.0,) * n)
        good = len(self.linear) == n and bool(np.isfinite(self.linear).all())
        check(good, "linear", "TreeModel", f"{n} finite numbers, one per feature", self.linear)

    @cached_property
    def _booster(self) -> Any:
        lightgbm = _lightgbm()
        try:
            return lightgbm.Booster(model_str="\n".join(self.trees))
        except lightgbm.basic.LightGBMError as error:
            raise InputError(
                f"The trees of the model {self.about.name!r} cannot be read: {error}. Train again."
            ) from error

    def score(self, X: Matrix) -> Floats:  # noqa: N803
        """See `Model.score`."""
        X = self._matrix(X)  # noqa: N806
        # One thread: requests are answered side by side.
        scores: Floats = self._booster.predict(X, raw_score=True, num_threads=1) - self.base
        if any(self.linear):
            scores += X @ self.linear
        return scores

    def contributions(self, X: Matrix) -> Floats:  # noqa: N803
        """SHAP values and linear parts, (documents, features)."""
        X = self._matrix(X)  # noqa: N806
        parts: Floats = self._booster.predict(X, pred_contrib=True, num_threads=1)[:, :-1]
        parts += X * self.linear
        return parts

    def numbers(self) -> dict[str, Any]:
        """Feature names, and the trees as LightGBM writes them."""
        columns = zip(self.features, self.definitions, self.linear, strict=True)
        features = [
            {"name": n} | ({"definition": d} if d else {}) | ({"linear": w} if w else {})
            for n, d, w in columns
        ]
        return {"features": features, "base": self.base, "trees": list(self.trees)}

    def _matrix(self, X: Matrix) -> Matrix:  # noqa: N803
        X = np.asarray(X)  # noqa: N806
        if X.ndim != 2 or X.shape[1] != len(self.features):
            raise InputError(
                f"The features must be (documents, {len(self.features)}), as in training. Got an "
                f"array of shape {X.shape}."
            )
        return X


def fit_lambdamart(
    better: Matrix,
    worse: Matrix,
    schema: Schema,
    about: About,
    config: LambdaMartConfig | None = None,
) -> TreeModel:
    """Learn from triplets as `RankSVM.fit` does: each is a list of two."""
    better, worse = np.asarray(better), np.asarray(worse)
    if better.ndim != 2 or better.shape != worse.shape or not better.size:
        raise InputError(
            "better and worse must be arrays of one shape (triplets, features), with a triplet "
            f"and a feature at least. Got {better.shape} and {worse.shape}."
        )
    X = np.stack([better, worse], axis=1).reshape(-1, better.shape[1])  # noqa: N806
    relevance = np.tile(np.array([1, 0]), len(better))
    return fit_lists(X, relevance, np.full(len(better), 2), schema, about, config)


def fit_lists(
    X: Matrix,  # noqa: N803
    relevance: Any,
    sizes: Any,
    schema: Schema,
    about: About,
    config: LambdaMartConfig | None = None,
) -> TreeModel:
    """Learn from lists: X (documents, features), relevance int (documents,) from 0, higher is
    better, and the size of each query's list, in the order of the documents.

    The same input gives the same trees. Raises ConfigError without LightGBM, InputError for
    shapes that do not fit.
    """
    lightgbm = _lightgbm()
    config = config or LambdaMartConfig()
    names, definitions = split_schema(schema)
    X, relevance, sizes = np.asarray(X), np.asarray(relevance), np.asarray(sizes)  # noqa: N806
    if X.ndim != 2 or X.shape != (len(relevance), len(names)) or sizes.sum() != len(X):
        raise InputError(
            f"The features must be (documents, {len(names)}), with one relevance each, and the "
            f"lists' sizes must add up to them. Got {X.shape}, {len(relevance)} and {sizes.sum()}."
        )
    params = {
        "objective": "lambdarank",
        "num_leaves": config.leaves,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.min_leaf,
        "lambda_l2": config.l2,
        "label_gain": [2**i - 1 for i in range(int(relevance.max(initial=1)) + 1)],
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": config.threads,
        "verbose": -1,
    }
    data = lightgbm.Dataset(X, relevance, group=sizes, params={"verbose": -1})
    booster = lightgbm.train(params, data, num_boost_round=config.trees)
    base = float(booster.predict(X[:1], pred_contrib=True)[0, -1])
    settings = {**{k: v for k, v in vars(config).items() if k != "threads"}, **about.config}
    trees = tuple(booster.model_to_string().split("\n"))
    return TreeModel(replace(about, config=settings), names, trees, base, definitions)
