"""Other people's item-to-item models: `implicit`'s, and EASE in closed form."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np

from pinjoin.core.incidence import Incidence
from pinjoin.experiments.scorers import Factory, NotRun, OnRebuilt, Rows, Scorer, Split
from pinjoin.experiments.tuning import tuned

EASE_IMAGES = 5_000
"""EASE inverts an images × images matrix: some 10 s at this size."""

_KEPT = 100_000_000  # neighbours of all images together that implicit may hold: 1.2 GB


def ease(ridge: float) -> Factory:
    """Embarrassingly shallow autoencoder (Steck, 2019), for a history of one image.

    Scores are row q of B = I − P · diag(P)⁻¹ with P = (AᵀA + λI)⁻¹, A boards × images.
    """

    def make(split: Split) -> Scorer:
        graph = split.rebuilt.incidence
        n = graph.n_images
        if n > EASE_IMAGES:
            raise NotRun(f"it inverts a matrix of {n:,} × {n:,} (at most {EASE_IMAGES:,})")
        matrix = _matrix(graph, np.float64)
        inverse = np.linalg.inv((matrix.T @ matrix).toarray() + ridge * np.eye(n))
        scores = -inverse / np.diag(inverse)
        return OnRebuilt(split, lambda query, k: np.argsort(-scores[query], kind="stable"))

    return make


def implicit_neighbours(model: str, **settings: float) -> Factory:
    """A model of `implicit.nearest_neighbours`."""

    def make(split: Split) -> Scorer:
        from implicit import nearest_neighbours

        n = split.incidence.n_images
        keep = min(n, _KEPT // max(n, 1))
        if keep < 100:
            raise NotRun(f"it would hold the neighbours of all {n:,} images at once")
        fitted = _fit(lambda: getattr(nearest_neighbours, model)(K=keep, **settings), split)

        return OnRebuilt(split, lambda query, k: fitted.similar_items(query, keep)[0])

    return _with_implicit(make)


def implicit_als(factors: int, alpha: float, regularization: float) -> Factory:
    """Alternating least squares (Hu, Koren & Volinsky, 2008): cosine of the images' factors."""

    def make(split: Split) -> Scorer:
        from implicit.als import AlternatingLeastSquares

        fitted = _fit(
            lambda: AlternatingLeastSquares(
                factors, regularization, alpha, random_state=split.seed
            ),
            split,
        )
        eligible = np.flatnonzero(split.held.eligible[split.rebuilt.old])

        def best(query: int, k: int) -> Rows:
            rows: Rows = fitted.similar_items(query, min(k, len(eligible)), items=eligible)[0]
            return rows

        return OnRebuilt(split, best, only_eligible=True)

    return _with_implicit(make)


def _with_implicit(make: Factory) -> Factory:
    def checked(split: Split) -> Scorer:
        try:
            import implicit  # noqa: F401
        except ImportError:
            raise NotRun("it needs implicit: pip install 'pinjoin[evaluate]'") from None
        return make(split)

    return checked


def _fit(make: Callable[[], Any], split: Split) -> Any:
    from threadpoolctl import threadpool_limits

    # It starts threads of its own, and warns of those that BLAS would start in each of them.
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make()
        model.fit(_matrix(split.rebuilt.incidence, np.float32), show_progress=False)
    return model


def _matrix(graph: Incidence, kind: Any) -> Any:
    """Boards × images CSR of ones."""
    import scipy.sparse

    ones = np.ones(graph.n_saves, kind)
    shape = (graph.n_boards, graph.n_images)
    return scipy.sparse.csr_matrix((ones, graph.board_images, graph.board_indptr), shape=shape)


PEERS: Mapping[str, Factory] = {
    "implicit cosine": implicit_neighbours("CosineRecommender"),
    "implicit BM25": tuned(
        {
            f"K1 = {k1}, B = {b}": implicit_neighbours("BM25Recommender", K1=k1, B=b)
            for k1, b in ((1.2, 0.75), (100, 0.8))
        }
    ),
    "implicit ALS": tuned(
        {
            f"{factors} factors, α = {alpha}, λ = {ridge}": implicit_als(factors, alpha, ridge)
            for factors, alpha, ridge in product((64, 16), (1, 40), (0.01, 10))
        }
    ),
    "EASE": tuned({f"λ = {ridge}": ease(ridge) for ridge in (300, 30, 3000)}),
}
"""By their names in the table."""
