"""What is known of new images' content, written behind the snapshot's own.

Words, topics and categories are those that the snapshot knows already. A row is written before a
version shows it; when an image gets another pin its row is written again, so that a request of
that very moment may read half of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.growing_graph import GrowingGraph
from pinjoin.core.types import NO_ROW, UInt32s
from pinjoin.features import quality
from pinjoin.features.category import numbered
from pinjoin.features.folding import fold_categories, fold_topics, fold_words, terms_said
from pinjoin.features.quality import Saves
from pinjoin.features.row_layout import Fields
from pinjoin.live.built import Built
from pinjoin.live.ledger import Ledger
from pinjoin.live.pictures import Seen


class Describer:
    """Describes the new images of a ledger. Only for its writer.

    sizes: width and height of the pictures that were measured, by row.
    """

    def __init__(self, built: Built, ledger: Ledger, graph: GrowingGraph) -> None:
        self.built, self._ledger, self._graph = built, ledger, graph
        self.sizes: dict[int, tuple[int, int]] = {}

    def describe(self, rows: Sequence[int]) -> None:
        """Write what is known of some new images, now."""
        if not rows:
            return
        built, boards = self.built, [self._graph.boards_of(row) for row in rows]
        words = fold_words(built.annotations, self._said(rows, boards))
        topics = fold_topics(built.topics, *words)
        categories = fold_categories(built.categories, self._numbers(boards))
        names = ("text.ids", "text.weights", "topics.vectors", "category.ids", "category.shares")
        for name, values in zip(names, (*words, topics, *categories), strict=True):
            built.room(name)[rows] = values
        packed = built.room("packed.rows")
        fields = Fields(packed[rows], built.packed.layout)
        if fields.layout.terms:
            fields.set_terms(*words)
        if fields.layout.topics:
            fields.set_dense("topics", topics)
        if fields.layout.categories:
            fields.set_categories(*categories)
        if fields.layout.quality:
            self._set_quality(fields, rows)
        packed[rows] = fields.data

    def see(self, seen: Seen) -> None:
        """Write what is in the picture of a new image; last that it was seen."""
        built, row, visual = self.built, seen.row, seen.visual
        self.sizes[row] = seen.size
        self.describe([row])
        bits = built.room("visual.bits")
        bits[row, : visual.bits.shape[1]] = visual.bits[0]
        fields = Fields(built.room("packed.rows")[row : row + 1], built.packed.layout)
        if visual.ids is not None and visual.values is not None:
            built.room("visual.ids")[row] = visual.ids[0]
            built.room("visual.values")[row] = visual.values[0]
            if fields.layout.classes:
                fields.set_classes(visual.ids, visual.values)
        fields.set_codes(bits[row : row + 1])
        built.room("visual.present")[row] = 1

    def _said(self, rows: Sequence[int], boards: Sequence[UInt32s]) -> list[list[list[int]]]:
        """The terms that each document of each image says; every text is read once."""
        texts: dict[str, int] = {}

        def number(about: dict[str, str | None]) -> int:
            text = "\n".join(filter(None, (about["title"], about["description"])))
            return texts.setdefault(text, len(texts))

        of_board = {
            row: number(about) for row, about in self._about_boards(_distinct(boards)).items()
        }
        documents = [
            [number({"title": one.save.title, "description": one.save.description})
             for one in self._ledger.pins_of[row]] + [of_board[board] for board in some.tolist()]
            for row, some in zip(rows, boards, strict=True)
        ]  # fmt: skip
        said = terms_said(self.built.annotations, list(texts))
        return [[said[document] for document in some] for some in documents]

    def _numbers(self, boards: Sequence[UInt32s]) -> list[npt.NDArray[np.uint16]]:
        """The number of the category of each board of each image."""
        about = self._about_boards(_distinct(boards))
        names = pa.array([one["category"] for one in about.values()], pa.string())
        numbers = dict(zip(about, numbered(names, self.built.categories.names), strict=True))
        return [np.array([numbers[board] for board in some.tolist()], np.uint16) for some in boards]

    def _about_boards(self, boards: Sequence[int]) -> dict[int, dict[str, str | None]]:
        new = self._ledger.boards_shown
        old = [board for board in boards if board not in new]
        of_old = zip(old, self.built.about_boards(old), strict=True)
        return dict(of_old) | {board: new[board] for board in boards if board in new}

    def _set_quality(self, fields: Fields, rows: Sequence[int]) -> None:
        """Who saved an image and when, how large its picture is and how long its title."""
        pins = [self._ledger.pins_of[row] for row in rows]
        every = [pin for some in pins for pin in some]
        boards = [NO_ROW if pin.board is None else pin.board for pin in every]
        times = [pin.save.created_at or 0 for pin in every]
        saves = Saves(
            np.cumsum([0, *map(len, pins)]),
            np.arange(len(every), dtype=np.uint32),
            np.array([*boards, NO_ROW], np.uint32),  # the last one only says what day it is
            self._graph.n_boards,
            np.array([*times, max([self._newest, *times])], np.int64),
        )
        titles = pa.array([self._ledger.shown[row]["title"] for row in rows], pa.string())
        sizes = np.array([self.sizes.get(row, (0, 0)) for row in rows], np.uint32)
        made = quality.build(saves, pa.table({}), titles, sizes)
        values = np.zeros((len(rows), len(fields.layout.quality)), np.float32)
        for place, (name, _) in enumerate(fields.layout.quality):
            if name in made.names:
                values[:, place] = made.values[:, made.names.index(name)]
        fields.set_quality(values)

    @cached_property
    def _newest(self) -> int:
        """When the last pin of the snapshot was made, unix seconds; 0 if none is dated."""
        newest = pc.max(self.built.snapshot.table("pins")["created_at"])
        return int(newest.cast(pa.int64()).as_py() or 0)


def _distinct(boards: Sequence[UInt32s]) -> list[int]:
    return [int(board) for board in np.unique(np.concatenate([np.empty(0, np.uint32), *boards]))]
