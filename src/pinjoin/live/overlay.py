"""What is stored in a live database, on top of a snapshot: entries in, versions out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pinjoin.core.growing_graph import GrowingGraph
from pinjoin.live.built import Built
from pinjoin.live.describing import Describer
from pinjoin.live.ledger import Ledger
from pinjoin.live.submissions import Entry
from pinjoin.live.version import Version
from pinjoin.snapshot.reader import Snapshot

ROOM = 1 << 20
"""New images that fit at first; then room is made anew, which takes a moment."""


class Overlay:
    """Applies entries in their order; for one writer. `newest` may be read by anyone."""

    def __init__(
        self, path: Path, snapshot: Snapshot, sequence: int, model: str | None, rows: int = ROOM
    ) -> None:
        built = Built(path, snapshot, rows, model)
        self._graph = GrowingGraph(
            built.incidence, built.lists("board_images"), built.lists("image_boards")
        )
        self._ledger = Ledger(built, self._graph)
        self._describer = Describer(built, self._ledger, self._graph)
        self.newest = self._version(sequence)

    def apply(self, entries: Sequence[Entry], sequence: int) -> None:
        """Do what entries say, and show it in a new version: everything up to `sequence`."""
        if entries:
            self._ledger.apply([change for entry in entries for change in entry.changes])
            self._make_room()
            changed = sorted(self._ledger.changed)
            self._ledger.changed.clear()
            self._describer.describe(changed)
        self.newest = self._version(sequence)

    def _version(self, sequence: int) -> Version:
        gone = np.array(sorted(self._ledger.gone), np.uint32)
        graph = self._graph.version()
        return Version(self._describer.built, self._ledger, graph, gone, sequence)

    def _make_room(self) -> None:
        """See that all images fit behind the snapshot's."""
        built = self._describer.built
        new = self._graph.n_images - built.n_images
        if new > built.rows:
            self._describer.built = built.with_more_room(2 * new)
