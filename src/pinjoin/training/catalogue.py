"""A catalogue as a ranker sees it: graph, content, candidates; also with some saves left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from pinjoin.candidates.cooccurrence import Cooccurrence
from pinjoin.candidates.retrieval import Retrieval, Retrieved
from pinjoin.candidates.walk import RandomWalk
from pinjoin.core.incidence import Incidence
from pinjoin.core.types import Float32s, Int64s
from pinjoin.data.splits import Held, hidden_saves, reduced
from pinjoin.features import quality
from pinjoin.features.pairs import PairConfig, PairFeatures
from pinjoin.ranker import describe
from pinjoin.recommender import Workspace
from pinjoin.training.left_out import Described, describe_without, pins_of_saves

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Catalogue:
    """left_out: (pins of the table,) bool, the pins that are taken not to be there.

    Rows are the workspace's. They are numbered by its whole popularity, which tells of saves left
    out: nothing that a ranker learns from may depend on the number of a row.
    """

    workspace: Workspace
    incidence: Incidence
    features: PairFeatures
    left_out: Bools

    @classmethod
    def of(cls, workspace: Workspace, config: PairConfig | None = None) -> Catalogue:
        """All of a workspace, described by the features of a configuration."""
        pins = np.zeros(workspace.snapshot.table("pins").num_rows, np.bool_)
        return cls(workspace, workspace.incidence, workspace.pair_features(config), pins)

    def without(self, held: Held) -> Catalogue:
        """As if these saves had not been: no count, word, topic, category or popularity tells of
        them. Learned factors do: keep them from what is trained on this."""
        whole = self.workspace
        graph = reduced(self.incidence, held)
        boards, images = hidden_saves(self.incidence, held)
        left_out = self.left_out | pins_of_saves(whole, boards, images)
        rows = np.unique(images)
        content = Described(whole.annotations, whole.topics, whole.categories)
        known = describe_without(whole, content, rows, left_out, graph)
        saves = quality.of_rows(quality.Saves.open(whole.snapshot), rows, left_out)
        packed = self.features.packed.redescribed(
            rows, known.annotations, known.topics, known.categories, saves
        )
        return Catalogue(whole, graph, self.features.with_packed(packed), left_out)

    def candidates(self, query: int, eligible: Bools | None = None) -> Retrieved:
        """What there is to rank for a query row."""
        return self._retrieval.find(
            query, eligible=eligible, alike=partial(self.workspace.alike, query)
        )

    def describe(self, query: int, found: Retrieved, places: Int64s) -> Float32s:
        """(places, features) float32, in the order of the schema: the features of some of the
        candidates, as they are among all of them."""
        return describe(self.features, query, found, places)

    @cached_property
    def _retrieval(self) -> Retrieval:
        graph, name = self.incidence, self.workspace.snapshot.name
        return Retrieval(Cooccurrence(graph), RandomWalk(graph, snapshot=name))
