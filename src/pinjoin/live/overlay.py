"""What is stored in a live database, on top of a snapshot: entries in, versions out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pinjoin.core.growing_graph import GrowingGraph
from pinjoin.features.visual import Encoder
from pinjoin.live.built import Built
from pinjoin.live.describing import Describer
from pinjoin.live.filters import FilterAnswers
from pinjoin.live.ledger import Ledger
from pinjoin.live.pictures import PictureWorker, Seen, Wanted
from pinjoin.live.submissions import Entry
from pinjoin.live.version import Version
from pinjoin.snapshot.reader import Snapshot

ROOM = 1 << 20
"""New images that fit at first; then room is made anew, which takes a moment."""


class Overlay:
    """Applies entries in their order. `newest` is the version to read; versions stay as they are.

    Pictures of new images are looked at in the background, and what is in them appears in all
    versions. Where signatures come from pictures, a save of a picture that was never seen waits
    until it is looked at.
    """

    def __init__(
        self,
        path: Path,
        snapshot: Snapshot,
        sequence: int,
        model: str | None,
        rows: int = ROOM,
        down: Iterable[tuple[str, str]] = (),
    ) -> None:
        """sequence: of the live part, up to which the snapshot has everything; down: (kind, id)
        of what was taken down until then."""
        self._built = built = Built(path, snapshot, rows, model)
        self._graph = GrowingGraph(
            built.incidence, built.lists("board_images"), built.lists("image_boards")
        )
        self._ledger = Ledger(built, self._graph, down)
        self._describer = Describer(built, self._ledger, self._graph)
        self._answers = FilterAnswers(self._ledger.touched)
        looks = None if built.pictures is None else self._encoder
        config = dict(snapshot.manifest.config)
        self._worker = PictureWorker(path, config, looks, self._see, self._sign)
        self._asked: set[str | int] = set()  # references to sign and rows to look at
        self._writing = threading.Lock()
        self.newest = self._version(sequence)

    def apply(self, entries: Sequence[Entry], sequence: int) -> None:
        """Do what entries say, and show it in a new version: everything up to `sequence`."""
        with self._writing:
            if entries:
                self._ledger.apply([change for entry in entries for change in entry.changes])
                self._describe()
            self.newest = self._version(sequence)

    def close(self) -> None:
        """Stop looking at pictures."""
        self._worker.close()

    def _describe(self) -> None:
        """Describe what is new, and have its pictures looked at."""
        ledger, built = self._ledger, self._describer.built
        new = self._graph.n_images - built.n_images
        if new > built.rows:
            self._describer.built = built.with_more_room(2 * new)
        changed = sorted(ledger.changed)
        ledger.changed.clear()
        self._describer.describe(changed)
        waiting = ledger.unsigned.items()
        wanted = [Wanted(found[0].save.image, None, normal) for normal, found in waiting]
        wanted += [Wanted(ledger.shown[row]["image"], row) for row in changed]
        self._ask([one for one in wanted if (one.row or one.normal) not in self._asked])

    def _ask(self, wanted: Sequence[Wanted]) -> None:
        self._asked |= {one.row or one.normal for one in wanted}
        self._worker.ask(wanted)

    def _see(self, seen: Seen) -> None:
        with self._writing:
            self._describer.see(seen)

    def _sign(self, reference: str, signature: str | None) -> None:
        with self._writing:
            self._ledger.sign(reference, signature or reference)
            self._describe()
            self.newest = self._version(self.newest.sequence)

    def _encoder(self) -> Encoder:
        return self._built.encoder.single_threaded()

    def _version(self, sequence: int) -> Version:
        gone = np.array(sorted(self._ledger.gone), np.uint32)
        built, ledger = self._describer.built, self._ledger
        return Version(built, ledger, self._graph.version(), gone, self._answers, sequence)
