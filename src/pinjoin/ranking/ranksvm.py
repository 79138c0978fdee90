"""RankSVM: the weights under which the better of two documents scores higher (§IV.B, Joachims).

    w minimises ½‖w‖² + C Σ max(0, 1 − w·(Φ(q, d+) − Φ(q, d−)))²

over features standardised on the training data; the scaling is folded into w afterwards. The
objective is piecewise quadratic with as many unknowns as features, so Newton's method on it
(Chapelle and Keerthi, "Efficient algorithms for ranking with SVMs", 2010) ends after a handful
of passes over the triplets. `benchmarks/ranksvm.py` compares it with liblinear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError, check
from pinjoin.core.progress import Progress, silent

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.floating[Any]]

_SAMPLE = 200_000  # triplets: enough to know the curvature of any number of them
_STEPS = 100
_TOLERANCE = 1e-10  # what another step is expected to gain, of the objective


class RankSVM:
    """A linear ranker learned from pairs of (better, worse) documents.

    After `fit`: `coef_` float64 (features,), for features as they are given; `mean_` and
    `scale_` (features,), what the features were standardised by; `objective_`, the minimum
    reached, and `n_iter_`, the passes over all triplets it took.

    >>> better, worse = np.array([[2.0, 1.0], [3.0, 0.0]]), np.array([[1.0, 1.0], [1.0, 0.0]])
    >>> model = RankSVM(C=1.0).fit(better, worse)
    >>> model.score(better, worse), bool(model.coef_[0] > 0), float(model.coef_[1])
    (1.0, True, 0.0)
    """

    coef_: Floats
    mean_: Floats
    scale_: Floats
    objective_: float
    n_iter_: int

    def __init__(self, C: float = 1.0) -> None:  # noqa: N803 — what everybody calls it
        """C: what a triplet in the wrong order costs beside large weights; above 0."""
        check(C > 0 and np.isfinite(C), "C", "RankSVM", "a number above 0", C)
        self.C = C

    def fit(self, better: Matrix, worse: Matrix, progress: Progress = silent) -> RankSVM:
        """Learn from triplets: row i of `better` should score above row i of `worse`.

        Both are (triplets, features), finite. Computed and kept (as one array of differences)
        in float32 if both are, else in float64. A feature that never varies gets the weight 0.

        Raises InputError for shapes that differ, no triplet, or a value that is not finite.
        """
        better, worse = _checked(better, worse)
        self.mean_, self.scale_ = _moments(better, worse)
        rows = _standardised(better, worse, self.scale_)
        w = np.zeros(rows.shape[1])
        sample = rows
        if len(rows) > _SAMPLE:  # begin where a sample of the triplets ends
            sample = rows[_spread(len(rows), _SAMPLE)]
            start = _Problem(sample, sample, self.C * len(rows) / len(sample))
            w, _, _ = start.minimise(w, silent)
        w, self.objective_, self.n_iter_ = _Problem(rows, sample, self.C).minimise(w, progress)
        self.coef_ = w / self.scale_
        return self

    def decision_function(self, X: Matrix) -> Floats:  # noqa: N803
        """The score of each document: X (documents, features) → float64 (documents,)."""
        if not hasattr(self, "coef_"):
            raise InputError("This RankSVM has no weights yet: call fit(better, worse) first.")
        X = np.asarray(X)  # noqa: N806
        if X.ndim != 2 or X.shape[1] != len(self.coef_):
            raise InputError(
                f"X must be (documents, {len(self.coef_)} features), as in training. Got an "
                f"array of shape {X.shape}."
            )
        scores: Floats = X @ self.coef_
        return scores

    def score(self, better: Matrix, worse: Matrix) -> float:
        """The share of triplets in order: better above worse; a tie is not in order."""
        better, worse = _checked(better, worse)
        return float(np.mean(self.decision_function(better) > self.decision_function(worse)))


def _checked(better: Matrix, worse: Matrix) -> tuple[Matrix, Matrix]:
    better, worse = np.asarray(better), np.asarray(worse)
    if better.ndim != 2 or better.shape != worse.shape or not better.size:
        raise InputError(
            "better and worse must be arrays of one shape (triplets, features), with a triplet "
            f"and a feature at least. Got {better.shape} and {worse.shape}."
        )
    kind = np.float32 if better.dtype == worse.dtype == np.float32 else np.float64
    return np.ascontiguousarray(better, kind), np.ascontiguousarray(worse, kind)


def _moments(better: Matrix, worse: Matrix) -> tuple[Floats, Floats]:
    """(mean, standard deviation or 1) of each feature over all documents of the triplets."""
    from pinjoin.ranking._ranksvm_kernel import add_moments

    pivot = better[0].astype(np.float64)  # sums of what is far from 0 would lose their digits
    sums, squares = np.zeros((2, len(pivot)))
    for values in (better, worse):
        add_moments(values, pivot, sums, squares)
    if not np.isfinite(squares).all():
        raise _not_finite(better, worse)
    away = sums / (2 * len(better))
    variance = squares / (2 * len(better)) - away**2
    # Rounding leaves a constant feature some variance in its last digits.
    varies = variance > 1e-12 * np.maximum(away**2, np.finfo(np.float64).tiny)
    return pivot + away, np.where(varies, np.sqrt(np.where(varies, variance, 1.0)), 1.0)


def _not_finite(better: Matrix, worse: Matrix) -> InputError:
    for name, values in (("better", better), ("worse", worse)):
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, column = bad[0]
            return InputError(
                f"{name} has {values[row, column]} in row {row}, feature {column}; features must "
                "be finite. A missing value is 0, with an indicator feature that says so."
            )
    return InputError("Features are too large to be squared: scale them down.")


def _standardised(better: Matrix, worse: Matrix, scale: Floats) -> Matrix:
    """The differences (triplets, features) in units of the scale."""
    from pinjoin.ranking._ranksvm_kernel import standardise

    rows = np.empty_like(better)
    standardise(better, worse, 1 / scale, rows)
    return rows


def _spread(n: int, size: int) -> npt.NDArray[np.int64]:
    """Up to `size` of n rows, ascending; drawn, as every k-th could all be of one kind."""
    return np.unique(np.random.default_rng(0).integers(0, n, size))


class _Problem:
    """½‖w‖² + C Σ max(0, 1 − w·row)² over rows (triplets, features); curvature from a sample."""

    def __init__(self, rows: Matrix, sample: Matrix, C: float) -> None:  # noqa: N803
        self._rows, self._C = rows, C
        # In float32 the curvature along features that say the same would be noise.
        self._sample = sample.astype(np.float64, copy=False)

    def minimise(self, w: Floats, progress: Progress) -> tuple[Floats, float, int]:
        """Newton's method with line search from w: (minimiser, minimum, steps)."""
        from pinjoin.ranking._ranksvm_kernel import pull

        pulled = np.empty_like(w)
        margins = self._margins(w)
        with progress("fitting RankSVM", None) as advance:
            steps = 0
            while True:
                steps += 1
                lost = pull(self._rows, margins, pulled)
                value = float(w @ w) / 2 + self._C * lost
                gradient = w - 2 * self._C * pulled
                move = np.asarray(np.linalg.solve(self._curvature(w), -gradient), np.float64)
                if -(gradient @ move) / 2 <= _TOLERANCE * value or steps == _STEPS:
                    return w, value, steps
                moved = self._margins(move)
                t = self._how_far(w, move, margins, moved)
                w, margins = w + t * move, margins + t * moved
                advance(len(self._rows))

    def _margins(self, w: Floats) -> Floats:
        """w·row of each row, float64 (triplets,)."""
        # OpenBLAS now and then flags numbers that lie beside the rows; ours are finite.
        with np.errstate(invalid="ignore"):
            found: Floats = (self._rows @ w.astype(self._rows.dtype)).astype(np.float64)
        return found

    def _curvature(self, w: Floats) -> Floats:
        """The Hessian (features, features), the sample standing for all rows."""
        sample = self._sample
        active = sample[sample @ w < 1]
        hessian: Floats = active.T @ active
        hessian *= 2 * self._C * len(self._rows) / len(sample)
        hessian[np.diag_indices(len(w))] += 1
        return hessian

    def _how_far(self, w: Floats, move: Floats, margins: Floats, moved: Floats) -> float:
        """The minimum along `move`: Newton's method in one dimension, kept within bounds."""
        from pinjoin.ranking._ranksvm_kernel import along

        t, low, high = 1.0, 0.0, np.inf
        for _ in range(_STEPS):
            slope, bend = along(margins, moved, t)
            rise = float((w + t * move) @ move) - 2 * self._C * slope
            low, high = (t, high) if rise < 0 else (low, t)
            before, t = t, t - rise / (float(move @ move) + 2 * self._C * bend)
            if not low <= t <= high:
                t = (low + high) / 2
            if abs(t - before) <= 1e-6 * t:
                break
        return t
