"""What is compared: rankers of one catalogue from which some saves are hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pinjoin.core.errors import ConfigError, PinjoinError
from pinjoin.core.incidence import Incidence, group_pairs
from pinjoin.core.progress import Advance, Progress, silent
from pinjoin.core.types import NO_ROW, UInt32s
from pinjoin.data.splits import Held, hide, reduced
from pinjoin.features.pairs import PairConfig
from pinjoin.recommender import Workspace
from pinjoin.training.catalogue import Catalogue
from pinjoin.training.from_boards import learnable
from pinjoin.training.hidden_mates import Examples, hidden_mates

Rows = npt.NDArray[np.integer[Any]]


class Scorer(Protocol):
    """Ranks the images of a catalogue for one query of it. note: what the table says of it."""

    note: str

    def rank(self, query: int, k: int) -> UInt32s:
        """Up to k eligible rows of the workspace, best first, each once, never the query."""
        ...


class NotRun(PinjoinError):  # noqa: N818 - nothing went wrong
    """A scorer cannot work on this catalogue or in this environment; the message says why."""


@dataclass(frozen=True)
class Split:
    """A workspace without the saves that are hidden. Rows are the workspace's.

    outer: the split whose rest this one hides from; None: it hides from the whole workspace.
    progress: of what a scorer prepares. A scorer looks at what is left only.
    """

    workspace: Workspace
    held: Held
    seed: int = 0
    outer: Split | None = None
    progress: Progress = silent

    @property
    def whole(self) -> Incidence:
        """What `held` hides from."""
        return (self.workspace if self.outer is None else self.outer).incidence

    @cached_property
    def incidence(self) -> Incidence:
        """What is left."""
        return reduced(self.whole, self.held)

    @cached_property
    def rebuilt(self) -> Rebuilt:
        """What is left, numbered as a build of it would."""
        by_signature = np.asarray(pc.sort_indices(self.workspace.signatures()))
        return Rebuilt.of(self.incidence, by_signature)

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is left, as a ranker sees it that learns from boards."""
        if self.outer is not None:
            return self.outer.catalogue.without(self.held)
        pairs = learnable(PairConfig(), self.workspace.incidence)
        return Catalogue.of(self.workspace, pairs).without(self.held)

    @cached_property
    def examples(self) -> Examples:
        """What the boards that are left teach, as a build would learn it."""
        return hidden_mates(self.catalogue, progress=self.progress)

    def inner(self, most: int) -> Split:
        """A split of what is left, to choose settings on."""
        rng = np.random.default_rng([self.seed, 1])
        held = hide(self.incidence, rng, most=most)
        return Split(self.workspace, held, self.seed, self, self.progress)


Factory = Callable[[Split], Scorer]
"""Makes a scorer from what is left of a catalogue. Raises NotRun if it cannot."""


@dataclass(frozen=True)
class Rebuilt:
    """A catalogue whose rows are by its own popularity.

    A workspace's rows are by the popularity of the whole, hidden saves included: of two images on
    equally many of the boards that are left, the one that lost a save comes first. Whatever breaks
    ties by row then knows what is wanted: on a sparse catalogue a list by popularity alone found a
    quarter more. old: (images,) uint32, the workspace's row of each new row; new: the other way.
    """

    incidence: Incidence
    old: UInt32s
    new: UInt32s

    @classmethod
    def of(cls, left: Incidence, by_name: Rows) -> Rebuilt:
        """by_name: (images,) all rows, in the order that breaks ties."""
        old = by_name[np.argsort(-left.degrees[by_name], kind="stable")].astype(np.uint32)
        new = np.empty_like(old)
        new[old] = np.arange(len(old), dtype=np.uint32)
        boards = np.repeat(np.arange(left.n_boards, dtype=np.uint32), left.sizes)
        grouped = group_pairs(boards, left.board_images, left.n_boards, left.n_images)
        return cls(grouped.incidence(old), old, new)


class OnRebuilt:
    """A scorer by a function that ranks rebuilt rows: (query, k) → rows, best first.

    It is asked for all it can rank, and of these the eligible count; one that gives only eligible
    rows (`only_eligible`) is asked for what is needed.
    """

    def __init__(
        self, split: Split, best: Callable[[int, int], Rows], *, only_eligible: bool = False
    ) -> None:
        self.note = ""
        self._rebuilt, self._best, self._only_eligible = split.rebuilt, best, only_eligible
        self._eligible = split.held.eligible[split.rebuilt.old]

    def rank(self, query: int, k: int) -> UInt32s:
        asked = int(self._rebuilt.new[query])
        rows = self._best(asked, k + 1 if self._only_eligible else len(self._eligible))
        fit = rows[self._eligible[rows] & (rows != asked)]
        found: UInt32s = self._rebuilt.old[fit[:k]]
        return found


def rank_all(
    name: str, scorer: Scorer, held: Held, depth: int, advance: Advance = lambda n: None
) -> UInt32s:
    """(queries, depth) uint32: the scorer's list for each query of `held`, filled up with NO_ROW.

    Raises ConfigError, with the scorer's name, for a list that is too long.
    """
    lists = np.full((len(held), depth), NO_ROW, np.uint32)
    for i, query in enumerate(held.queries.tolist()):
        rows = scorer.rank(query, depth)
        if len(rows) > depth:
            _refuse(name, query, f"{len(rows)} rows where {depth} were asked for")
        lists[i, : len(rows)] = rows
        advance(1)
    return lists


def check_lists(name: str, lists: UInt32s, held: Held) -> None:
    """Raise a ConfigError, with the scorer's name, for a list with what must not be in it."""
    listed = lists != NO_ROW
    allowed = np.append(held.eligible, False)[np.minimum(lists, len(held.eligible))]
    ordered = np.sort(lists, axis=1)
    faults = {
        "images that are not eligible": listed & ~allowed,
        "the query itself": lists == held.queries[:, None],
        "an image twice": (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_ROW),
    }
    for what, found in faults.items():
        if found.any():
            _refuse(name, int(held.queries[np.argmax(found.any(axis=1))]), what)


def _refuse(name: str, query: int, given: str) -> None:
    raise ConfigError(
        "A scorer must rank eligible images only, each once, without the query, and no more than "
        f"asked for. {name} gave {given} for row {query}. Filter by `held.eligible` before the cut."
    )
