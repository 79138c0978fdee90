"""RankSVM: the minimum other solvers find; the laws of ranking; errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.svm import LinearSVC

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.ranking import ranksvm
from pinjoin.ranking.ranksvm import RankSVM

Matrix = npt.NDArray[Any]


def triplets(n: int, features: int = 6, seed: int = 0, noise: float = 1.0) -> tuple[Matrix, Matrix]:
    """Triplets of a planted ranker, with features of many scales and means, some dependent."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n, features))
    wrong = (a - b) @ rng.normal(size=features) + noise * rng.normal(size=n) < 0
    better, worse = np.where(wrong[:, None], b, a), np.where(wrong[:, None], a, b)
    scales, means = 10.0 ** rng.uniform(-4, 4, features), rng.normal(size=features) * 3
    better, worse = (better + means) * scales, (worse + means) * scales
    better[:, -1], worse[:, -1] = 2 * better[:, 0], 2 * worse[:, 0]
    return better, worse


def objective(w: Matrix, better: Matrix, worse: Matrix, C: float) -> float:  # noqa: N803
    """The rule, as it is written: over standardised features, of the weights for those."""
    scale = np.concatenate([better, worse]).std(axis=0)
    d = (better - worse) / np.where(scale > 0, scale, 1)
    return float(w @ w / 2 + C * (np.maximum(0, 1 - d @ w) ** 2).sum())


@pytest.mark.parametrize("C", [1e-4, 0.1, 1.0, 100.0])
def test_liblinear_finds_no_lower_minimum(C: float) -> None:  # noqa: N803
    better, worse = triplets(3000)
    model = RankSVM(C).fit(better, worse)
    d = (better - worse) / model.scale_
    y = np.where(np.arange(len(d)) % 2, 1, -1)  # liblinear wants two classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = LinearSVC(
            C=C, loss="squared_hinge", dual=False, fit_intercept=False, tol=1e-10, max_iter=5000
        ).fit(d * y[:, None], y)
    theirs = objective(peer.coef_[0], better, worse, C)
    ours = objective(model.coef_ * model.scale_, better, worse, C)
    assert model.objective_ == pytest.approx(ours, rel=1e-9)
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_a_general_minimiser_finds_no_lower_minimum() -> None:
    better, worse = triplets(500, seed=3)
    model = RankSVM(2.0).fit(better, worse)
    found = minimize(
        objective, np.zeros(6), (better, worse, 2.0), "L-BFGS-B", options={"ftol": 1e-14}
    )
    assert model.objective_ == pytest.approx(found.fun, rel=1e-5)
    assert model.objective_ <= found.fun * (1 + 1e-9)


def test_a_large_problem_begins_with_a_sample_and_ends_in_the_same_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    better, worse = triplets(20_000, seed=5)
    whole = RankSVM().fit(better, worse)
    monkeypatch.setattr(ranksvm, "_SAMPLE", 1000)
    sampled = RankSVM().fit(better, worse)
    assert sampled.objective_ == pytest.approx(whole.objective_, rel=1e-8)
    # The two features that say the same share their weight in one way only.
    np.testing.assert_allclose(
        sampled.coef_ * sampled.scale_, whole.coef_ * whole.scale_, atol=1e-4
    )


def test_float32_is_as_good() -> None:
    better, worse = triplets(5000, seed=6)
    double = RankSVM().fit(better, worse)
    single = RankSVM().fit(better.astype(np.float32), worse.astype(np.float32))
    assert single.objective_ == pytest.approx(double.objective_, rel=1e-5)


# Laws


@given(st.integers(0, 10_000), st.sampled_from([0.01, 1.0, 30.0]))
@settings(max_examples=30)
def test_swapping_flips_every_preference(seed: int, C: float) -> None:  # noqa: N803
    better, worse = triplets(40, seed=seed)
    forth, back = RankSVM(C).fit(better, worse), RankSVM(C).fit(worse, better)
    np.testing.assert_allclose(forth.coef_ * forth.scale_, -back.coef_ * back.scale_, atol=1e-6)


def test_one_triplet_is_learned_the_right_way_round() -> None:
    better, worse = np.array([[3.0, 1.0]]), np.array([[1.0, 2.0]])
    model = RankSVM().fit(better, worse)
    assert model.decision_function(better)[0] > model.decision_function(worse)[0]
    assert model.score(better, worse) == 1.0
    assert model.score(worse, better) == 0.0
    # d = (2, −1) / (1, 0.5) = (2, −2): w = t(1, −1) minimises t² + (1 − 4t)²: t = 8 / (2 + 32)
    np.testing.assert_allclose(model.coef_, np.array([8 / 34, -8 / 34]) / np.array([1, 0.5]))


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_units_and_zeros_of_features_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    better, worse = triplets(60, seed=seed)
    scale, shift = 10.0 ** rng.uniform(-3, 3, 6), rng.normal(size=6)
    shift = shift * better.std(axis=0) * scale
    before = RankSVM().fit(better, worse).decision_function(better)
    after = RankSVM().fit(better * scale + shift, worse * scale + shift)
    now = after.decision_function(better * scale + shift)
    np.testing.assert_allclose(now - now.mean(), before - before.mean(), atol=1e-6)


def test_more_of_the_same_triplets_is_a_larger_c() -> None:
    better, worse = triplets(50)
    twice = RankSVM(1.0).fit(np.tile(better, (2, 1)), np.tile(worse, (2, 1)))
    np.testing.assert_allclose(twice.coef_, RankSVM(2.0).fit(better, worse).coef_, rtol=1e-6)


def test_a_feature_that_never_varies_has_no_weight() -> None:
    better, worse = triplets(50)
    better[:, 2] = worse[:, 2] = 1e6 + 0.1
    model = RankSVM().fit(better, worse)
    assert model.coef_[2] == 0
    assert model.scale_[2] == 1


def test_means_and_scales_are_those_of_all_documents() -> None:
    better, worse = triplets(300)
    better[:, 1], worse[:, 1] = better[:, 1] + 1e9, worse[:, 1] + 1e9  # far from 0
    model = RankSVM().fit(better, worse)
    both = np.concatenate([better, worse])
    np.testing.assert_allclose(model.mean_, both.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.scale_, both.std(axis=0), rtol=1e-4)


def test_planted_weights_are_found() -> None:
    rng = np.random.default_rng(0)
    planted = rng.normal(size=8)
    a, b = rng.normal(size=(2, 5000, 8))
    swap = ((a - b) @ planted + rng.logistic(size=5000) < 0)[:, None]
    model = RankSVM().fit(np.where(swap, b, a), np.where(swap, a, b))
    w = model.coef_
    assert w @ planted / np.linalg.norm(w) / np.linalg.norm(planted) > 0.99


def test_the_callers_arrays_are_left_alone() -> None:
    better, worse = triplets(30)
    copies = better.copy(), worse.copy()
    better.flags.writeable = worse.flags.writeable = False
    RankSVM().fit(better, worse)
    assert (better == copies[0]).all()
    assert (worse == copies[1]).all()


def test_columns_in_any_memory_order_are_read() -> None:
    better, worse = triplets(30)
    wanted = RankSVM().fit(better, worse).coef_
    np.testing.assert_allclose(
        RankSVM().fit(np.asfortranarray(better), worse[::-1][::-1]).coef_, wanted
    )
    whole = RankSVM().fit(np.array([[3], [2]]), np.array([[1], [1]]))  # integers
    assert whole.coef_[0] > 0


# Errors


@pytest.mark.parametrize(
    ("better", "worse", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), r"Got \(2, 3\) and \(3, 3\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "a triplet and a feature at least"),
        (np.zeros(3), np.zeros(3), r"Got \(3,\) and \(3,\)"),
        (np.array([[1.0, np.nan]]), np.zeros((1, 2)), "better has nan in row 0, feature 1"),
        (np.zeros((1, 2)), np.array([[np.inf, 0]]), "worse has inf in row 0, feature 0"),
        (np.full((1, 2), 1e300), np.full((1, 2), -1e300), "too large to be squared"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    better: Matrix, worse: Matrix, message: str
) -> None:
    with np.errstate(all="ignore"), pytest.raises(InputError, match=message):
        RankSVM().fit(better, worse)


@pytest.mark.parametrize("C", [0, -1.0, np.inf, np.nan])
def test_c_is_above_0(C: float) -> None:  # noqa: N803
    with pytest.raises(ConfigError, match="C parameter of RankSVM must be a number above 0"):
        RankSVM(C)


def test_scoring_needs_weights_and_as_many_features() -> None:
    with pytest.raises(InputError, match=r"call fit\(better, worse\) first"):
        RankSVM().decision_function(np.zeros((1, 2)))
    model = RankSVM().fit(*triplets(10))
    with pytest.raises(InputError, match=r"\(documents, 6 features\).*shape \(1, 2\)"):
        model.decision_function(np.zeros((1, 2)))
