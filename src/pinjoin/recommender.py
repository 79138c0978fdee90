"""Related pins on one screen: find the query, retrieve candidates, describe them, say why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pinjoin.candidates.blend import Blended, blend
from pinjoin.candidates.content import Content, ContentNeighbours
from pinjoin.candidates.cooccurrence import Cooccurrence
from pinjoin.candidates.copies import HammingCopies
from pinjoin.candidates.nearest import INVERTED, ExactHamming, TextNeighbours
from pinjoin.candidates.walk import RandomWalk
from pinjoin.core.errors import InputError, UnknownIdError, check
from pinjoin.core.types import Float32s, Related, UInt32s
from pinjoin.features.category import Categories
from pinjoin.features.pictures import Pictures
from pinjoin.features.text import NO_TERM, Annotations
from pinjoin.features.topics import Topics
from pinjoin.lookup import Lookup
from pinjoin.snapshot.reader import open_snapshot

_BOARDS_NAMED = _TERMS_NAMED = 5  # in a result's reasons
_COPY_SHARE = 0.06
"""Pictures that differ in at most this share of their bits are shown once. A photo saved again at
quality 50 differs in some 6 %; of 2,345 film posters hardly two differ in less than 24 %."""

CONTENT = ("visual neighbours", "text neighbours")
SOURCES = ("co-occurrence", "random walk", " and ".join(CONTENT), "popular in category", "popular")
"""Where candidates come from, in the order they are asked."""


@dataclass(frozen=True)
class _Source:
    name: str
    best: Any  # k → (rows, scores)
    names: dict[int, str] = field(default_factory=dict)  # of single rows, where they differ

    def find(self, k: int) -> tuple[UInt32s, Float32s]:
        rows, scores = self.best(k)
        return rows, scores


class Workspace(Lookup):
    """One snapshot of a built catalogue, ready to answer. Made by `pinjoin.open`.

    Thread-safe. Arrays and tables are mapped from the snapshot, not loaded.
    """

    def related(
        self, id: str, n: int = 20, *, exclude: Iterable[str] = (), explain: bool = True
    ) -> list[Related]:
        """The n images that belong next to a pin, a signature, an image or a picture file.

        n come back whenever the catalogue has n others: images that share boards with it, most
        first; then what random walks reach; what looks alike or has the same said of it; what
        is popular in its category, and anywhere. Near-duplicates of it or of each other stand
        back. exclude: ids that must not come back. explain: whether to fill `reasons`.
        Raises UnknownIdError, InputError for a picture file that cannot be read.
        """
        check(n >= 1, "n", "related", "a number ≥ 1", n)
        eligible = self._without(exclude)
        try:
            query = self.find(id)
        except UnknownIdError:
            if not Path(id).is_file():
                raise
            return self._related_to_picture(Path(id), n, eligible)
        asked, sources = np.array([query], np.uint32), self._sources(query)
        found = blend(sources, asked, n, eligible=eligible, copies=self._copies)
        shared = self.shared_boards(query, found.rows)
        reasons = self._reasons(query, found.rows) if explain else [{} for _ in found.rows]
        return self._results(found, sources, shared, reasons)

    def query(self, id: str) -> dict[str, Any]:
        """What is being looked at: described as a result is; a picture file by its path."""
        try:
            return self.describe([self.find(id)])[0]
        except UnknownIdError:
            if not Path(id).is_file():
                raise
            return {"signature": None, "pin_id": None, "image": id, "title": None}

    def shared_boards(self, query: int, rows: UInt32s) -> list[int]:
        """On how many boards each of the rows is together with the query."""
        boards = self.incidence.boards_of(query)
        return [
            len(np.intersect1d(boards, self.incidence.boards_of(int(row)), True)) for row in rows
        ]

    def _sources(self, query: int) -> list[_Source]:
        """The chain of `SOURCES` for one image."""

        def cooccurrence(k: int) -> tuple[UInt32s, Float32s]:
            found = self.cooccurrence.top(query, k)
            return found.indices, found.scores

        def walk(k: int) -> tuple[UInt32s, Float32s]:
            found = self._walk.top(query, k)
            return found.rows, found.scores

        def content(k: int) -> tuple[UInt32s, Float32s]:
            rows, scores, looks = self._content.search(self._content_of(query), k)
            names.update(zip(rows.tolist(), np.where(looks, *CONTENT).tolist(), strict=True))
            return rows, scores

        def category(k: int) -> tuple[UInt32s, Float32s]:
            rows = self.categories.popular(query, k)
            return rows, self._popularity(rows)

        def popular(k: int) -> tuple[UInt32s, Float32s]:
            rows = np.arange(min(k, self.n_images), dtype=np.uint32)  # rows are by popularity
            return rows, self._popularity(rows)

        names: dict[int, str] = {}  # content neighbours say which sort they are
        chain = (cooccurrence, walk, content, category, popular)
        return [
            _Source(name, best, names if best is content else {})
            for name, best in zip(SOURCES, chain, strict=True)
        ]

    def _related_to_picture(self, path: Path, n: int, eligible: Any) -> list[Related]:
        """What looks like a picture from outside the catalogue."""
        from pinjoin.features.visual import load_encoder

        if self.pictures is None:
            raise InputError(
                f"{path}: this workspace was built without pictures, so nothing can be compared "
                "with a picture. Build it with --images DIR."
            )
        encoder = load_encoder(self.pictures.encoder, folders=(self.path / "encoders",))
        code = np.zeros(self.pictures.bits.shape[1], np.uint8)
        seen = encoder.visual(encoder.tensor(path)[None]).bits[0]
        code[: len(seen)] = seen
        nothing = self.annotations.ids[0][:0], self.annotations.weights[0][:0]
        content = Content(code, *nothing, np.zeros(0, np.float32))
        source = _Source(CONTENT[0], lambda k: self._content.search(content, k)[:2])
        nobody = np.empty(0, np.uint32)
        found = blend([source], nobody, n, eligible=eligible, copies=self._copies)
        similarity = 1 - np.arccos(np.clip(found.scores, -1, 1)) / np.pi  # as of two images
        reasons = [{"visual_similarity": round(float(one), 4)} for one in similarity]
        return self._results(found, [source], [0] * len(found), reasons)

    def _results(
        self,
        found: Blended,
        asked: Sequence[_Source],
        shared: Sequence[int],
        reasons: Sequence[dict[str, Any]],
    ) -> list[Related]:
        names = [
            asked[place].names.get(row, asked[place].name)
            for row, place in zip(found.rows.tolist(), found.sources.tolist(), strict=True)
        ]
        return [
            Related(**image, score=score, source=name, shared_boards=boards, reasons=why)
            for image, score, name, boards, why in zip(
                self.describe(found.rows),
                found.scores.tolist(),
                names,
                shared,
                reasons,
                strict=True,
            )
        ]

    def _reasons(self, query: int, rows: UInt32s) -> list[dict[str, Any]]:
        """Why each row stands next to the query: boards shared (the smallest first), how alike
        the pictures are and what both look like, and the words said of both."""
        alike = None if self.pictures is None else self.pictures.similarity(query, rows)
        reasons = []
        for i, row in enumerate(rows.tolist()):
            why: dict[str, Any] = {"boards": self._boards_shared(query, row)}
            if alike is not None and self.pictures is not None and alike[i] > 0:
                why["visual_similarity"] = round(float(alike[i]), 4)
                if name := self.pictures.both_look_like(query, row):
                    why["both_look_like"] = name
            if words := self._words_shared(query, row):
                why["words"] = words
            reasons.append(why)
        return reasons

    def _boards_shared(self, query: int, row: int) -> list[dict[str, Any]]:
        graph = self.incidence
        shared = np.intersect1d(graph.boards_of(query), graph.boards_of(row), True)
        sizes = graph.board_indptr[shared + 1] - graph.board_indptr[shared]
        smallest = shared[np.argsort(sizes, kind="stable")[:_BOARDS_NAMED]]
        return self._boards.dicts(smallest, ["board_id", "title"])

    def _words_shared(self, query: int, row: int) -> list[str]:
        said = self.annotations
        words, here, there = np.intersect1d(said.ids[query], said.ids[row], return_indices=True)
        product = said.weights[query][here] * said.weights[row][there]
        best = [i for i in np.argsort(-product, kind="stable") if words[i] != NO_TERM]
        return [said.terms[int(words[i])].as_py() for i in best[:_TERMS_NAMED]]

    def show(self, row: int) -> dict[str, Any]:
        """Everything known of one image, as plain data."""
        known = self.pinjoin(row)
        neighbours = [
            {"signature": one.signature, "title": one.title, "image": one.image,
             "source": one.source, "shared_boards": one.shared_boards}
            for one in self.related(known.signature, 10, explain=False)
        ]  # fmt: skip
        return {
            "signature": known.signature,
            "pin_id": known.pin_id,
            "image": known.image,
            "file": self.image_path(row),
            "title": known.title,
            "pins": known.pins,
            "boards": known.boards,
            "annotations": _named(self.annotations.of(row)),
            "categories": _named(self.categories.of(row)),
            "topics": _named(self.topics.of(row)),
            "looks_like": [] if self.pictures is None else self.pictures.looks_like(row),
            "neighbours": neighbours,
        }

    @cached_property
    def cooccurrence(self) -> Cooccurrence:
        """Counts shared boards when asked; nothing is precomputed."""
        return Cooccurrence(self.incidence)

    @cached_property
    def annotations(self) -> Annotations:
        """What people say of each image."""
        return Annotations.open(self.snapshot)

    @cached_property
    def categories(self) -> Categories:
        """The categories of each image's boards."""
        return Categories.open(self.snapshot)

    @cached_property
    def topics(self) -> Topics:
        """What each image's annotations are about."""
        return Topics.open(self.snapshot)

    @cached_property
    def pictures(self) -> Pictures | None:
        """What an encoder saw in each image; None if built without."""
        return Pictures.open(self.snapshot)

    @cached_property
    def _walk(self) -> RandomWalk:
        return RandomWalk(self.incidence, snapshot=self.snapshot.name)

    @cached_property
    def _content(self) -> ContentNeighbours:
        said, seen = self.annotations, self.pictures
        indptr, images, weights = (self.snapshot.array(f"text.inverted.{n}") for n in INVERTED)
        return ContentNeighbours(
            None if seen is None else ExactHamming(seen.bits),
            None if seen is None else seen.bits,
            None if seen is None else seen.present,
            1 if seen is None else seen.n_bits,
            TextNeighbours.from_arrays(indptr, images, weights, self.n_images),
            said.ids,
            said.weights,
            self.topics.vectors,
        )

    def _content_of(self, row: int) -> Content:
        said, seen = self.annotations, self.pictures
        words = said.ids[row] != NO_TERM
        code = seen.bits[row] if seen is not None and seen.present[row] else None
        return Content(
            code, said.ids[row][words], said.weights[row][words], self.topics.vectors[row]
        )

    @cached_property
    def _copies(self) -> HammingCopies | None:
        if self.pictures is None:
            return None
        limit = int(_COPY_SHARE * self.pictures.n_bits)
        return HammingCopies(self.pictures.bits, self.pictures.present, limit)

    def _popularity(self, rows: UInt32s) -> Float32s:
        """Boards that hold each row, (rows,) float32."""
        indptr = self.incidence.image_indptr
        boards: Float32s = (indptr[rows + np.int64(1)] - indptr[rows]).astype(np.float32)
        return boards

    def _without(self, ids: Iterable[str]) -> Any:
        excluded = [self.find(id) for id in ids]
        if not excluded:
            return None
        eligible = np.ones(self.n_images, np.bool_)
        eligible[excluded] = False
        return eligible


def _named(pairs: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"name": name, "weight": float(weight)} for name, weight in pairs]


def open_workspace(
    path: Path | str,
    snapshot: str | None = None,
    verify: Literal["auto", "full", "none"] = "auto",
) -> Workspace:
    """Open a built workspace: its current snapshot, or the named one.

    Costs the same for any size: files are mapped. `verify` is `pinjoin.snapshot.reader`'s.
    Raises SnapshotError where there is none, or a file of it is damaged.
    """
    return Workspace(Path(path), open_snapshot(path, snapshot, verify))
