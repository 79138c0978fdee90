"""A catalogue as a ranker sees it: graph, content, candidates; also with some saves left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pinjoin.candidates.content import Content, ContentNeighbours
from pinjoin.candidates.cooccurrence import Cooccurrence
from pinjoin.candidates.nearest import TextNeighbours
from pinjoin.candidates.retrieval import Part, Retrieval, Retrieved
from pinjoin.candidates.walk import RandomWalk
from pinjoin.core.incidence import Incidence
from pinjoin.core.types import Float32s, Int64s, UInt32s
from pinjoin.data.splits import Held, hidden_saves, reduced
from pinjoin.features import factors, quality, topics
from pinjoin.features.pairs import PairConfig, PairFeatures
from pinjoin.features.text import NO_TERM, Annotations
from pinjoin.ranker import describe
from pinjoin.recommender import Workspace
from pinjoin.results import TEXT, VISUAL
from pinjoin.training.left_out import Described, describe_without, pins_of_saves

Bools = npt.NDArray[np.bool_]
Change = tuple[UInt32s, Described]
"""Rows, and their content."""

FACTORS = "factors.similarity"

MOST_RELEARNED = 1_000_000
"""Saves of a catalogue whose topics and co-save factors are learned anew without those left out,
at most: it takes some seconds. The topics of larger ones hardly depend on single pins; factors do,
and rankers of larger ones do not know them."""


@dataclass(frozen=True)
class Catalogue:
    """left_out: (pins of the table,) bool, the pins that are taken not to be there. changes: what
    their images' content is instead, the latest last. relearned: topic vectors of all images.

    Rows are the workspace's. They are numbered by its whole popularity, which tells of saves left
    out: nothing that a ranker learns from may depend on the number of a row.
    """

    workspace: Workspace
    incidence: Incidence
    features: PairFeatures
    left_out: Bools
    changes: tuple[Change, ...] = ()
    relearned: npt.NDArray[np.float16] | None = None

    @classmethod
    def of(cls, workspace: Workspace, config: PairConfig | None = None) -> Catalogue:
        """All of a workspace, described by the features of a configuration."""
        pins = np.zeros(workspace.snapshot.table("pins").num_rows, np.bool_)
        return cls(workspace, workspace.incidence, workspace.pair_features(config), pins)

    def without(self, held: Held) -> Catalogue:
        """As if these saves had not been: no count, word, topic, category, popularity or co-save
        factor tells of them. In catalogues of more than `MOST_RELEARNED` saves factors do."""
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
        features, changes = self.features.with_packed(packed), (*self.changes, (rows, known))
        left = Catalogue(whole, graph, features, left_out, changes)
        return left._learned_anew() if graph.n_saves <= MOST_RELEARNED else left

    def _learned_anew(self) -> Catalogue:
        packed, vectors = self.features.packed, None
        if packed.layout.topics:
            vectors = topics.build(self.annotations).vectors
            packed = packed.with_dense("topics", vectors)
        if FACTORS in self.features.schema:
            packed = packed.with_dense("factors", factors.build(self.incidence).vectors)
        return replace(self, features=self.features.with_packed(packed), relearned=vectors)

    def candidates(self, query: int, eligible: Bools | None = None) -> Retrieved:
        """What there is to rank for a query row."""
        return self._retrieval.find(query, eligible=eligible, alike=lambda k: self.alike(query, k))

    def describe(self, query: int, found: Retrieved, places: Int64s) -> Float32s:
        """(places, features) float32, in the order of the schema: the features of some of the
        candidates, as they are among all of them."""
        return describe(self.features, query, found, places)

    def alike(self, query: int, k: int) -> Part:
        """The k rows most alike in content, and the source of each."""
        rows, _, looks = self._neighbours.search(self.content_of(query), k)
        return rows, np.where(looks, VISUAL, TEXT).astype(np.uint8)

    def content_of(self, row: int) -> Content:
        """Words, topics and picture of one image."""
        ids, weights = self.annotations.ids[row], self.annotations.weights[row]
        words = ids != NO_TERM
        code = self.workspace.content_of(row).code
        return Content(code, ids[words], weights[words], self.topic_vectors[row])

    @cached_property
    def annotations(self) -> Annotations:
        """What people say of each image."""
        whole = self.workspace.annotations
        if not self.changes:
            return whole
        ids, weights = np.array(whole.ids), np.array(whole.weights)
        for rows, known in self.changes:
            ids[rows], weights[rows] = known.annotations.ids, known.annotations.weights
        return replace(whole, ids=ids, weights=weights)

    @cached_property
    def topic_vectors(self) -> npt.NDArray[np.float16]:
        """(images, topics): what each image's annotations are about."""
        if self.relearned is not None:
            return self.relearned
        vectors = self.workspace.topics.vectors
        if self.changes:
            vectors = np.array(vectors)
        for rows, known in self.changes:
            vectors[rows] = known.topics.vectors
        return vectors

    @cached_property
    def _neighbours(self) -> ContentNeighbours:
        if not self.changes:
            return self.workspace.neighbours
        said = self.annotations
        text = TextNeighbours(said.ids, said.weights, len(said.terms))
        return self.workspace.neighbours.with_text(text, said.ids, said.weights, self.topic_vectors)

    @cached_property
    def _retrieval(self) -> Retrieval:
        graph, name = self.incidence, self.workspace.snapshot.name
        return Retrieval(Cooccurrence(graph), RandomWalk(graph, snapshot=name))
