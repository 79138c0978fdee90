"""§IV.B: what an encoder saw in each image of a catalogue, stored side by side in a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import UInt32s
from pinjoin.data.images import file_key
from pinjoin.data.rejects import Rejects
from pinjoin.features.embedding import embed_batches
from pinjoin.features.visual import Encoder
from pinjoin.snapshot.reader import Snapshot
from pinjoin.snapshot.writer import SnapshotWriter


@dataclass(frozen=True)
class Pictures:
    """Visual features of all images, by row; zeros where there is no picture.

    bits: (images, bytes) uint8, n_bits of them used; present: (images,) bool.
    ids: (images, keep) uint16 class numbers and values: (images, keep) float16, largest first;
    None where the encoder has no fc8. labels: names of the classes, if known. encoder: what
    `load_encoder` finds it by. fc6: (images, units) float16, the activations behind the bits;
    None unless they were kept.
    """

    bits: npt.NDArray[np.uint8]
    present: npt.NDArray[np.bool_]
    ids: npt.NDArray[np.uint16] | None
    values: npt.NDArray[np.float16] | None
    labels: list[str] | None
    n_bits: int
    encoder: str
    fc6: npt.NDArray[np.float16] | None = None

    @classmethod
    def open(cls, snapshot: Snapshot) -> Pictures | None:
        """Those of a snapshot, mapped; None if it was built without pictures."""
        if not snapshot.has("visual"):
            return None
        about, array = snapshot.json("visual"), snapshot.array
        sparse = snapshot.has("visual.ids")
        return cls(
            array("visual.bits"),
            array("visual.present").view(np.bool_),
            array("visual.ids") if sparse else None,
            array("visual.values") if sparse else None,
            about["labels"],
            about["bits"],
            about["encoder"],
            array("visual.fc6") if snapshot.has("visual.fc6") else None,
        )

    def similarity(self, row: int, rows: UInt32s) -> npt.NDArray[np.float32]:
        """visual.fc6_similarity of one image with others: 1 − distance / bits, (rows,) float32.

        0 where either has no picture.
        """
        different = np.bitwise_count(self.bits[rows] ^ self.bits[row]).sum(axis=1, dtype=np.int64)
        there = self.present[rows] & self.present[row]
        return np.where(there, 1 - different / self.n_bits, 0).astype(np.float32)

    def looks_like(self, row: int, most: int = 5) -> list[dict[str, Any]]:
        """The classes an image looks most like, by name, with fc8 values scaled to length 1."""
        if self.ids is None or self.values is None or self.labels is None or not self.present[row]:
            return []
        values = self.values[row].astype(np.float64)
        length = np.linalg.norm(values) or 1.0
        pairs = zip(self.ids[row, :most].tolist(), values[:most] / length, strict=True)
        return [{"name": self.labels[id], "weight": float(value)} for id, value in pairs]

    def both_look_like(self, one: int, other: int) -> str | None:
        """The class that speaks most for both; None where they share none or names are unknown."""
        if self.ids is None or self.values is None or self.labels is None:
            return None
        shared, here, there = np.intersect1d(self.ids[one], self.ids[other], return_indices=True)
        if not len(shared) or not (self.present[one] and self.present[other]):
            return None
        product = self.values[one][here].astype(float) * self.values[other][there].astype(float)
        return self.labels[int(shared[np.argmax(product)])]


def save_pictures(
    writer: SnapshotWriter,
    encoder: Encoder,
    paths: Sequence[Path | None],
    *,
    name: str | None = None,
    keep_fc6: bool = False,
    cache: Path | None = None,
    rejects: Rejects | None = None,
    progress: Progress = silent,
) -> int:
    """See the image files by row (None: there is none) and store what `Pictures.open` opens.

    name: what `load_encoder` will find the encoder by; its card's name if None. keep_fc6: store
    real-valued fc6, too. Only pictures that the cache does not know are computed. One that
    cannot be decoded is listed in `rejects` and has no features. Returns how many have some.
    """
    rows = np.array([row for row, path in enumerate(paths) if path is not None], np.int64)
    sources = [path for path in paths if path is not None]
    n = len(paths)
    bits = writer.create_array("visual.bits", np.uint8, (n, -(-encoder.bits // 64) * 8))
    present = writer.create_array("visual.present", np.uint8, n)
    ids = values = None
    if encoder.card.fc8 is not None:
        ids = writer.create_array("visual.ids", np.uint16, (n, encoder.card.fc8.keep))
        values = writer.create_array("visual.values", np.float16, (n, encoder.card.fc8.keep))
    fc6 = None
    if keep_fc6:
        fc6 = writer.create_array("visual.fc6", np.float16, (n, encoder.card.fc6.units))
    keys = [file_key(source) for source in sources]
    for batch in embed_batches(
        sources, encoder, keys=keys, cache=cache, keep_fc6=keep_fc6, progress=progress
    ):
        at = rows[batch.rows]
        bits[at, : batch.visual.bits.shape[1]] = batch.visual.bits
        present[at] = 1
        if ids is not None and values is not None:
            ids[at], values[at] = batch.visual.ids, batch.visual.values
        if fc6 is not None:
            fc6[at] = batch.visual.fc6
        for number, reason in batch.failures.items() if rejects else ():
            rejects.add_many(  # type: ignore[union-attr]
                file=str(sources[number]),
                rows=[None],
                column="image",
                values=[None],
                reason=reason,
                remedy="The pin keeps its other features.",
                dropped="value",
            )
    about = {"encoder": name or encoder.card.name, "digest": encoder.digest, "bits": encoder.bits}
    writer.save_json("visual", about | {"labels": encoder.labels})
    return int(present.sum())
