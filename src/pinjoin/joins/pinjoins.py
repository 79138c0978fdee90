"""§III: pins whose images have one signature become one PinJoin, numbered by popularity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.ids import StringTable
from pinjoin.core.incidence import Incidence, group_pairs
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import NO_ROW, Int64s, UInt32s
from pinjoin.data.rejects import UNKNOWN_BOARD, Rejects
from pinjoin.data.sources import Source
from pinjoin.joins.boardjoins import Boards
from pinjoin.joins.references import normalise_references

JOINED_COLUMNS = ("board_id", "image")
"""What becomes rows of each pin; its other columns are stored as they are."""


@dataclass
class Pins:
    """All good pins, in input order, as dense numbers; their texts have gone to the sink.

    boards, references: (pins,) uint32; board NO_ROW = on no board. titled: (pins,) bool.
    normal, raw: the distinct references by number, normalised and as first written.
    """

    boards: UInt32s
    references: UInt32s
    titled: npt.NDArray[np.bool_]
    normal: pa.ChunkedArray
    raw: pa.ChunkedArray

    def __len__(self) -> int:
        return len(self.boards)

    def without_references(self, gone: npt.NDArray[np.bool_]) -> Pins:
        """Without some references, gone (references,) bool, and all their pins."""
        kept, left = ~gone[self.references], pa.array(~gone)
        number = np.cumsum(~gone, dtype=np.uint32) - np.uint32(1)
        return Pins(
            self.boards[kept],
            number[self.references[kept]],
            self.titled[kept],
            self.normal.filter(left),
            self.raw.filter(left),
        )


@dataclass(frozen=True)
class Joined:
    """The catalogue in rows. `order` (images,): which signature number each image row is."""

    incidence: Incidence
    signatures: pa.Array  # (images,) string, in row order
    pin_images: UInt32s  # (pins,); NO_ROW where the pin was left out
    image_pins_indptr: Int64s  # (images + 1,)
    image_pins: UInt32s  # pins of each image, ascending
    reference_rows: UInt32s  # (references,) the image row of each reference
    first_references: UInt32s = field(repr=False)  # (images,) reference to show of each image


def pin_schema(source: Source) -> pa.Schema:
    """Schema of the stored pins table."""
    return pa.schema([field for field in source.schema if field.name not in JOINED_COLUMNS])


def read_pins(
    source: Source,
    boards: Boards,
    rejects: Rejects,
    keep: Callable[[pa.RecordBatch], None],
    progress: Progress = silent,
) -> Pins:
    """Stream the pins: texts go batch by batch to `keep`, ids become numbers.

    A pin that names a board which is not in the boards table is a reject.
    """
    stored = pin_schema(source).names
    table = StringTable()
    board_rows, references, titled, raw = [], [], [], []
    for batch, rows in _on_known_boards(source, boards, rejects, progress):
        keep(batch.select(stored))
        images = batch.column("image")
        before = len(table)
        numbers = table.encode(normalise_references(images))
        board_rows.append(rows)
        references.append(numbers)
        titled.append(batch.column("title").is_valid().to_numpy(zero_copy_only=False))
        if len(table) > before:
            raw.append(images.take(pa.array(_first_met(numbers, before))))
    return Pins(
        _joined(board_rows, np.uint32),
        _joined(references, np.uint32),
        _joined(titled, np.bool_),
        table.strings(),
        pa.chunked_array(raw, pa.string()),
    )


def join_pins(
    pins: Pins,
    n_boards: int,
    left_out: npt.NDArray[np.integer],
    found: Sequence[str | None] | None = None,
) -> Joined:
    """Pins of equal signature become one image row: most boards first, then by signature.

    left_out: pins that do not count (their pin_id was given before). found: the signature of each
    reference; where it is None, the normalised reference is.
    """
    signatures, signed = pins.normal.combine_chunks(), np.arange(len(pins.normal), dtype=np.uint32)
    if found is not None:
        signatures, signed = _signed(pins, found)
    images = signed[pins.references]
    boards = pins.boards
    if len(left_out):
        images, boards = images.copy(), boards.copy()
        boards[left_out] = NO_ROW
    grouped = group_pairs(boards, images, n_boards, len(signatures))
    order = np.asarray(pc.sort_indices(signatures))
    order = order[np.argsort(-grouped.degrees[order], kind="stable")]
    if len(left_out):  # an image that only left-out pins show is no image of the catalogue
        images[left_out] = NO_ROW
        shown = np.zeros(len(signatures), bool)
        shown[images[images != NO_ROW]] = True
        order = order[shown[order]]
    row_of = np.full(len(signatures) + 1, NO_ROW, np.uint32)
    row_of[order] = np.arange(len(order), dtype=np.uint32)
    pin_images = row_of[np.minimum(images, len(signatures))]
    indptr, by_image = _group_pins(pin_images, len(order))
    return Joined(
        incidence=grouped.incidence(order),
        signatures=signatures.take(pa.array(order)),
        pin_images=pin_images,
        image_pins_indptr=indptr,
        image_pins=by_image,
        reference_rows=row_of[signed],
        first_references=pins.references[by_image[indptr[:-1]]],
    )


def first_titled(pins: Pins, joined: Joined) -> Int64s:
    """(images,) int64: the first pin of each image that has a title; −1 if none has."""
    chosen = np.full(len(joined.signatures), -1, np.int64)
    with_title = joined.image_pins[pins.titled[joined.image_pins]]
    images = joined.pin_images[with_title]
    first = np.flatnonzero(np.diff(images.astype(np.int64), prepend=-1))
    chosen[images[first]] = with_title[first]
    return chosen


def _on_known_boards(
    source: Source, boards: Boards, rejects: Rejects, progress: Progress
) -> Iterator[tuple[pa.RecordBatch, UInt32s]]:
    for batch in source.batches(rejects, progress):
        ids = batch.column("board_id")
        rows = boards.index.find_all(ids)
        unknown = rows < 0
        if ids.null_count:
            unknown &= ids.is_valid().to_numpy(zero_copy_only=False)
        if unknown.any():
            rejects.add_many(
                file=source.name,
                rows=[None] * int(unknown.sum()),
                column="board_id",
                values=_values(batch, unknown),
                reason=UNKNOWN_BOARD,
                remedy="Add the board to the boards table, or leave board_id empty for a pin on "
                "no board.",
            )
            batch, rows = batch.filter(pa.array(~unknown)), rows[~unknown]
        if batch.num_rows:
            yield batch, np.where(rows < 0, NO_ROW, rows).astype(np.uint32)


def _values(batch: pa.RecordBatch, chosen: npt.NDArray[np.bool_]) -> Iterable[str]:
    """Which board, of which pin: rows of a streamed table have no number any more."""
    mask = pa.array(chosen)
    pins, boards = batch.column("pin_id").filter(mask), batch.column("board_id").filter(mask)
    return (f"{board} (of pin {pin})" for pin, board in zip(pins, boards, strict=True))


def _first_met(numbers: UInt32s, before: int) -> Int64s:
    """Where each number ≥ before is met first; numbers are given in order of appearance."""
    so_far = np.maximum.accumulate(numbers.astype(np.int64))
    earlier = np.concatenate([[before - 1], np.maximum(so_far[:-1], before - 1)])
    return np.flatnonzero(numbers > earlier)


def _signed(pins: Pins, found: Sequence[str | None]) -> tuple[pa.Array, UInt32s]:
    """Distinct signatures, and the number of each reference's."""
    table = StringTable()
    signatures = pa.array(found, pa.string())
    numbers = table.encode(pc.coalesce(signatures, pins.normal.combine_chunks()))
    return table.strings().combine_chunks(), numbers


def _group_pins(pin_images: UInt32s, n_images: int) -> tuple[Int64s, UInt32s]:
    from pinjoin.core._incidence_kernel import group, offsets

    indptr = offsets(pin_images, n_images)
    return indptr, group(pin_images, np.arange(len(pin_images), dtype=np.uint32), indptr)


def _joined(parts: list[npt.NDArray], kind: type) -> npt.NDArray:  # type: ignore[type-arg]
    return np.concatenate(parts) if parts else np.empty(0, kind)
