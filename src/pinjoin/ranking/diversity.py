"""Lists that are not ten times the same: re-ranking the best by what is above them already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check
from pinjoin.core.types import Int64s

Similarity: TypeAlias = npt.NDArray[np.floating[Any]] | Callable[[int], npt.NDArray[Any]]
"""Unit vectors (candidates, dimensions), whose dot products count; or a function of a candidate's
position that gives its similarity to all candidates (candidates,), 1 = the same."""


def mmr(
    scores: npt.NDArray[np.floating[Any]], similarity: Similarity, n: int, diversity: float = 0.3
) -> Int64s:
    """Positions of the n to show, in order, by maximal marginal relevance (Carbonell 1998).

    scores (candidates,), higher is better. Each next one has the highest
    (1 − diversity) × score − diversity × its similarity to the nearest one chosen, scores taken
    between 0 (the lowest given) and 1 (the highest); ties by position. `diversity` 0 keeps the
    order of the scores, 1 looks at similarity only (and begins with the best). Returns
    min(n, candidates) distinct positions, int64; a shorter list is the start of a longer one.

    >>> twins = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> mmr(np.array([3.0, 2.9, 2.0]), twins, 3, diversity=0.5).tolist()
    [0, 2, 1]
    """
    scores, similar_to = _checked("mmr", scores, similarity, n, diversity)
    spread = float(np.ptp(scores)) if len(scores) else 0.0
    relevance = (scores - scores.min(initial=np.inf)) / spread if spread else np.zeros(len(scores))
    nearest = np.zeros(len(scores))
    value = (1 - diversity) * relevance if diversity < 1 else relevance
    chosen = np.empty(min(n, len(scores)), np.int64)
    taken = np.zeros(len(scores), bool)
    for i in range(len(chosen)):
        best = int(np.argmax(np.where(taken, -np.inf, value)))
        chosen[i], taken[best] = best, True
        similar = np.asarray(similar_to(best), np.float64)
        nearest = similar if i == 0 else np.maximum(nearest, similar)
        value = (1 - diversity) * relevance - diversity * nearest
    return chosen


def dpp(
    scores: npt.NDArray[np.floating[Any]], similarity: Similarity, n: int, diversity: float = 0.3
) -> Int64s:
    """The same by a determinantal point process: the set of high scores that spans most.

    Greedy maximum of log det of L = diag(r) S diag(r) with r = exp(relevance × (1/diversity − 1)),
    relevance between 0 and 1 (Chen et al. 2018). Unlike `mmr`, what several chosen ones resemble
    together counts. Where everything left is spanned by what is chosen, the rest comes by score.
    """
    scores, similar_to = _checked("dpp", scores, similarity, n, diversity)
    order = np.argsort(-scores, kind="stable")
    if diversity == 0:
        return order[:n].astype(np.int64)
    spread = float(np.ptp(scores)) if len(scores) else 0.0
    relevance = (scores - scores.min(initial=np.inf)) / spread if spread else np.zeros(len(scores))
    bonus = 2 * relevance * (1 - diversity)  # all × diversity, which may be tiny
    length = min(n, len(scores))
    left = np.ones(len(scores))  # how much of each is not spanned yet
    basis = np.zeros((length, len(scores)))
    taken = np.zeros(len(scores), bool)
    chosen: list[int] = []
    for i in range(length):
        open_ = ~taken & (left > 1e-9)
        if not open_.any():
            chosen += [int(c) for c in order if not taken[c]][: length - i]
            break
        gain = np.where(open_, diversity * np.log(np.maximum(left, 1e-300)) + bonus, -np.inf)
        best = int(np.argmax(gain)) if i else int(order[0])
        chosen.append(best)
        taken[best] = True
        similar = np.asarray(similar_to(best), np.float64)
        basis[i] = (similar - basis[:i, best] @ basis[:i]) / np.sqrt(left[best])
        left = np.maximum(left - basis[i] ** 2, 0)
    return np.array(chosen, np.int64)


def _checked(
    caller: str, scores: Any, similarity: Similarity, n: int, diversity: float
) -> tuple[npt.NDArray[np.float64], Callable[[int], npt.NDArray[Any]]]:
    scores = np.asarray(scores, np.float64)
    check(n >= 0, "n", caller, "0 or more", n)
    check(0 <= diversity <= 1, "diversity", caller, "between 0 and 1", diversity)
    finite = scores.ndim == 1 and bool(np.isfinite(scores).all())
    check(finite, "scores", caller, "one finite number per candidate", scores)
    if callable(similarity):
        return scores, similarity
    vectors = np.asarray(similarity)
    shape = vectors.shape
    allowed = f"({len(scores)}, dimensions)"
    check(vectors.ndim == 2 and shape[0] == len(scores), "similarity", caller, allowed, shape)
    return scores, lambda i: vectors @ vectors[i]
