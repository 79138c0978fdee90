"""Filters over a snapshot and what is live: only images whose pins have changed are asked again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pinjoin.core.types import Int64s
from pinjoin.data.attributes import COUNTS
from pinjoin.filters import Filter, Filters, Mask, Teller

if TYPE_CHECKING:
    from pinjoin.live.version import Version

_KEPT = 64  # filters whose answers are kept
_NOTHING = 0, np.empty(0, np.int64), np.empty(0, np.bool_)


class FilterAnswers:
    """What filters say of the images that were touched since the snapshot. Thread-safe.

    touched: the rows of images whose pins changed, in the order they did, again each time; it
    only grows.
    """

    def __init__(self, touched: Sequence[int]) -> None:
        self._touched = touched
        self._kept: dict[str, tuple[int, Int64s, Mask]] = {}  # up to where, rows, answers

    def of(self, version: Version, text: str) -> tuple[Int64s, Mask]:
        """Rows of the images touched up to a version, and perhaps later, and their answers."""
        before, rows, answers = self._kept.get(text, _NOTHING)
        if before < version.n_touched:
            new = np.unique(np.array(self._touched[before : version.n_touched], np.int64))
            old = ~np.isin(rows, new)
            rows = np.concatenate([rows[old], new])
            answers = np.concatenate([answers[old], tell(version, text, new.tolist())])
            if len(self._kept) >= _KEPT and text not in self._kept:
                self._kept.pop(next(iter(self._kept)), None)
            self._kept[text] = version.n_touched, rows, answers
        return rows, answers


class LiveFilters(Filters):
    """As `Filters`, of one version."""

    def __init__(self, version: Version, stored: Filters, answers: FilterAnswers) -> None:
        def mask(text: str) -> Mask:
            whole = np.zeros(version.n_images, np.bool_)
            before = stored.mask(text)
            whole[: len(before)] = before
            rows, told = answers.of(version, text)
            known = rows < len(whole)
            whole[rows[known]] = told[known]
            whole.flags.writeable = False
            return whole

        self._masks = lru_cache(_KEPT)(mask)


def tell(version: Version, text: str, rows: Sequence[int]) -> Mask:
    """(rows,) whether a pin of each image satisfies a filter. Raises FilterError."""
    wanted = Filter.parse(text)
    teller = Teller(version, wanted)
    names = [name for name in wanted.columns if name not in COUNTS]
    pins = [version.pins_of(row, names or ["pin_id"]) for row in rows]
    each = np.repeat(np.arange(len(rows)), [len(some) for some in pins])
    values: dict[str, Any] = {
        name: pa.array([one[name] for one in chain(*pins)], teller.types[name]) for name in names
    }
    counts = {"boards": version.popularity(np.array(rows, np.uint32)), "pins": list(map(len, pins))}
    for name in set(wanted.columns) - set(names):
        values[name] = pa.array(np.asarray(counts[name], np.float64)[each])
    found = np.zeros(len(rows), np.bool_)
    found[each[teller.holds(values, len(each))]] = True
    return found
