"""What is measured of ranked lists when one image is wanted of each.

With one wanted image everything follows from its place, in one line each. General libraries ask for
the lists as dictionaries of strings (ir-measures: 1.2 s for 900 lists of 1,000; ranx beside that
for 700 MB and 2.4 s of import) or as dense scores (scikit-learn), and know neither coverage nor
popularity. The tests compare with ir-measures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check
from pinjoin.core.types import NO_ROW, Int64s, UInt32s

Floats = npt.NDArray[np.float64]


def places(lists: UInt32s, wanted: UInt32s) -> Int64s:
    """(queries,) int64: at which place of its list each wanted row stands, from 1; 0 = nowhere.

    lists: (queries, depth) uint32, best first, each row once, filled up with NO_ROW.

    >>> places(np.array([[7, 8, 9], [7, 8, 9]], np.uint32), np.array([9, 1], np.uint32)).tolist()
    [3, 0]
    """
    if not lists.shape[1]:
        return np.zeros(len(lists), np.int64)
    found = lists == wanted[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


def recall(place: Int64s, k: int) -> Floats:
    """Whether the wanted image is among the first k: 1 or 0, (queries,). As is the hit rate.

    >>> recall(np.array([1, 10, 11, 0]), k=10).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    check(k >= 1, "k", "recall", "a number ≥ 1", k)
    return ((place >= 1) & (place <= k)).astype(np.float64)


def reciprocal_rank(place: Int64s) -> Floats:
    """1 / place, 0 if nowhere, (queries,); its mean is the MRR.

    >>> reciprocal_rank(np.array([1, 4, 0])).tolist()  # 1 / 1, 1 / 4, none
    [1.0, 0.25, 0.0]
    """
    return np.divide(1.0, place, out=np.zeros(len(place)), where=place > 0)


def ndcg(place: Int64s, k: int) -> Floats:
    """1 / log2(place + 1) if among the first k, else 0, (queries,).

    The normalised discounted cumulative gain (Järvelin & Kekäläinen, 2002): the ideal list has
    the one wanted image first, a gain of 1 / log2(2) = 1.

    >>> ndcg(np.array([1, 3, 7, 0]), k=5).tolist()  # 1 / log2(2), 1 / log2(4), beyond 5, none
    [1.0, 0.5, 0.0, 0.0]
    """
    gain: Floats = np.divide(1.0, np.log2(place + 1.0), out=np.zeros(len(place)), where=place > 0)
    return gain * recall(place, k)


def in_order(place: Int64s, listed: Int64s, others: Int64s) -> Floats:
    """Share of the triplets (query, wanted image, another one) that are in order, (queries,).

    listed: (queries,) how long each list is; others: (queries,) how many could have been listed
    beside the wanted image. What is not listed comes after what is, all at one place; a tie counts
    half. The area under the ROC curve; 1 where there are no others.

    >>> place, listed = np.array([1, 3, 0, 0]), np.array([4, 4, 4, 0])
    >>> in_order(place, listed, np.full(4, 10)).tolist()  # 10, 8, 6 ties, 10 ties of 10
    [1.0, 0.8, 0.3, 0.5]
    """
    after = np.where(place > 0, others - (place - 1), (others - listed) / 2)
    return np.divide(after, others, out=np.ones(len(place)), where=others > 0)


def coverage(lists: UInt32s, eligible: npt.NDArray[np.bool_]) -> float:
    """Share of the eligible images that are in any of the lists; 0 where none is eligible.

    >>> lists = np.array([[0, 1], [1, NO_ROW]], np.uint32)
    >>> coverage(lists, np.array([True, True, True, False]))  # rows 0 and 1, of 3
    0.6666666666666666
    """
    listed = _exposures(lists, eligible)
    return float(np.count_nonzero(listed) / max(len(listed), 1))


def gini(lists: UInt32s, eligible: npt.NDArray[np.bool_]) -> float:
    """How unevenly the lists share their places among the eligible images: 0 = all as often, up to
    1 = all to one; 0 where nothing is listed.

    >>> lists = np.array([[0, 1], [0, 2], [0, 1]], np.uint32)
    >>> gini(lists, np.ones(4, bool))  # 0, 1, 2, 3 times: (−3·0 − 1·1 + 1·2 + 3·3) / (4 · 6)
    0.4166666666666667
    """
    times = np.sort(_exposures(lists, eligible))
    n, total = len(times), int(times.sum())
    return float(np.dot(2 * np.arange(1, n + 1) - n - 1, times) / (n * total)) if total else 0.0


def popularity(lists: UInt32s, degrees: Int64s, eligible: npt.NDArray[np.bool_]) -> float | None:
    """Mean popularity percentile of what is listed, among the eligible: 0.5 = as the catalogue,
    towards 1 = only the most popular; None where nothing is listed.

    degrees: (images,) boards that hold each. The percentile of an image is the share of eligible
    images on fewer boards, equals (itself among them) counted half.

    >>> degrees = np.array([9, 4, 4, 1])
    >>> popularity(np.array([[0, 1]], np.uint32), degrees, np.ones(4, bool))
    0.6875
    >>> ((3 + 1 / 2) / 4 + (1 + 2 / 2) / 4) / 2  # the same
    0.6875
    """
    times = _exposures(lists, eligible)
    _, equal, counts = np.unique(degrees[eligible], return_inverse=True, return_counts=True)
    percentiles = (np.cumsum(counts) - counts / 2) / max(len(times), 1)
    total = int(times.sum())
    return float(np.dot(times, percentiles[equal]) / total) if total else None


def _exposures(lists: UInt32s, eligible: npt.NDArray[np.bool_]) -> Int64s:
    """How often each eligible image is listed."""
    return np.bincount(lists[lists != NO_ROW], minlength=len(eligible))[eligible]
