"""The build on one screen: sources → joins → snapshot."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import check
from pinjoin.core.ids import IdIndex
from pinjoin.core.progress import Progress, silent
from pinjoin.data.rejects import DUPLICATE_PIN, Rejects
from pinjoin.data.sources import Source
from pinjoin.joins.boardjoins import Boards, read_boards
from pinjoin.joins.pinjoins import Joined, Pins, first_titled, join_pins, pin_schema, read_pins
from pinjoin.joins.signatures import resolve_image, signature_of_images
from pinjoin.snapshot.tables import Rows
from pinjoin.snapshot.writer import SnapshotWriter

Signature = Literal["reference", "pixels", "perceptual"]


@dataclass(frozen=True)
class BuildConfig:
    """What a build was told; kept in the manifest."""

    signature: Signature = "reference"  # what makes two pins the same image
    images: str | None = None  # folder of the image files
    base: str | None = None  # folder that relative image references start from

    def __post_init__(self) -> None:
        allowed = ("reference", "pixels", "perceptual")
        check(self.signature in allowed, "signature", "build", " or ".join(allowed), self.signature)


@dataclass(frozen=True)
class BuildSummary:
    """What a build did."""

    snapshot: str
    pins: int
    images: int  # PinJoins
    boards: int
    saves: int  # distinct (board, image) pairs
    on_no_board: int  # images
    rejected_pins: int
    rejected_boards: int
    rejects: dict[str, int]  # by reason
    dropped_values: dict[str, int]  # by reason; the rows were kept
    image_faults: dict[str, int]  # by reason, in images.rejects.jsonl; the pins were kept
    rejects_file: str | None


def build(
    workspace: Path | str,
    pins: Source,
    boards: Source,
    *,
    images: Path | str | None = None,
    base: Path | str | None = None,
    signature: Signature = "reference",
    strict: bool = False,
    progress: Progress = silent,
) -> BuildSummary:
    """Turn pins and boards into the workspace's next snapshot, and make it the current one.

    images: folder of the image files; base: folder that relative references start from (the
    pins file's). Rejected rows are listed in WORKSPACE/rejects.jsonl, images that cannot be read
    in WORKSPACE/images.rejects.jsonl; strict raises InputError at the first. Whatever fails, the
    snapshot that was current stays current.
    """
    workspace = Path(workspace)
    config = BuildConfig(signature, _absolute(images), _absolute(base))
    input_hash = hashlib.sha256(
        "\n".join([pins.fingerprint(), boards.fingerprint(), signature]).encode()
    ).hexdigest()
    with (
        SnapshotWriter(workspace, asdict(config), input_hash) as writer,
        Rejects(workspace / "rejects.jsonl", strict) as rejects,
        Rejects(workspace / "images.rejects.jsonl", strict) as image_rejects,
    ):
        board_rows = read_boards(boards, rejects, progress)
        rejected_boards = rejects.count
        with writer.open_table("pins", pin_schema(pins)) as sink:
            pin_rows = read_pins(pins, board_rows, rejects, sink.write_batch, progress)
        stored = writer.table("pins")
        pin_index, left_out = _index_pins(stored, pins.name, rejects)
        joined = join_pins(
            pin_rows, len(board_rows), left_out, _signer(config, image_rejects, progress)
        )
        _write(writer, board_rows, pin_rows, joined, stored, pin_index, signature)
        counts = {
            "pins": len(pin_rows) - len(left_out),
            "images": len(joined.signatures),
            "boards": len(board_rows),
            "saves": joined.incidence.n_saves,
        }
        path = writer.commit(counts, progress)
        return BuildSummary(
            snapshot=path.name,
            **counts,
            on_no_board=int(np.count_nonzero(joined.incidence.degrees == 0)),
            rejected_pins=rejects.count - rejected_boards,
            rejected_boards=rejected_boards,
            rejects=dict(rejects.by_reason),
            dropped_values=dict(rejects.dropped_values),
            image_faults=dict(image_rejects.dropped_values),
            rejects_file=str(rejects.path) if rejects.count + len(rejects.dropped_values) else None,
        )


def _absolute(folder: Path | str | None) -> str | None:
    return None if folder is None else os.path.abspath(folder)  # noqa: PTH100 - keep links


def _index_pins(
    stored: pa.Table, source: str, rejects: Rejects
) -> tuple[tuple[Any, Any], np.ndarray[Any, Any]]:
    """The index of pin ids, and the pins whose id an earlier pin has."""
    ids = stored["pin_id"]
    offsets, rows = IdIndex.build(ids)
    left_out = np.empty(0, np.int64)
    if len(rows) < len(ids):
        again = np.ones(len(ids), bool)
        again[rows] = False
        left_out = np.flatnonzero(again)
        rejects.add_many(
            file=source,
            rows=[None] * len(left_out),
            column="pin_id",
            values=(ids[int(pin)].as_py() for pin in left_out),
            reason=DUPLICATE_PIN,
            remedy="Give every pin an id of its own; the same image on two boards is two pins.",
        )
    return (offsets, rows), left_out


def _signer(config: BuildConfig, rejects: Rejects, progress: Progress) -> Any:
    kind = config.signature
    if kind == "reference":
        return None
    images = Path(config.images) if config.images else None
    base = Path(config.base) if config.base else images or Path()

    def sign(references: pa.ChunkedArray) -> list[str | None]:
        paths = [resolve_image(reference.as_py(), images, base) for reference in references]
        return signature_of_images(paths, kind, rejects=rejects, progress=progress)

    return sign


def _write(
    writer: SnapshotWriter,
    boards: Boards,
    pins: Pins,
    joined: Joined,
    stored: pa.Table,
    pin_index: tuple[Any, Any],
    signature: Signature,
) -> None:
    """The files of a snapshot; docs/snapshot.md lists them."""
    graph = joined.incidence
    writer.save_array("board_images.indptr", graph.board_indptr)
    writer.save_array("board_images", graph.board_images)
    writer.save_array("image_boards.indptr", graph.image_indptr)
    writer.save_array("image_boards", graph.image_boards)
    writer.save_array("image_pins.indptr", joined.image_pins_indptr)
    writer.save_array("image_pins", joined.image_pins)
    writer.save_array("pin_image", joined.pin_images)
    writer.save_array("pin_board", pins.boards)
    writer.save_table("boards", boards.table)
    writer.save_table("images", _images_table(pins, joined, stored))
    _save_index(writer, "board_ids", boards.index_arrays)
    _save_index(writer, "pin_ids", pin_index)
    _save_index(writer, "signatures", IdIndex.build(joined.signatures))
    if signature != "reference":  # else a signature is its reference
        rows = pa.array(joined.reference_rows)
        references = pa.table({"reference": pins.normal, "image_row": rows})
        writer.save_table("references", references)
        _save_index(writer, "references", IdIndex.build(pins.normal))


def _save_index(writer: SnapshotWriter, name: str, arrays: tuple[Any, Any]) -> None:
    offsets, rows = arrays
    writer.save_array(f"{name}.offsets", offsets)
    writer.save_array(f"{name}.rows", rows)


def _images_table(pins: Pins, joined: Joined, stored: pa.Table) -> pa.Table:
    """One row a PinJoin: what to show of it."""
    first = joined.image_pins[joined.image_pins_indptr[:-1]]
    texts = Rows(stored)
    titled = first_titled(pins, joined)
    titles = texts.take(np.maximum(titled, 0), ["title"])["title"].combine_chunks()
    return pa.table(
        {
            "signature": joined.signatures,
            "image": pins.raw.take(pa.array(joined.first_references)),
            "pin_id": texts.take(first, ["pin_id"])["pin_id"],
            "title": pc.if_else(pa.array(titled >= 0), titles, None),
            "n_pins": np.diff(joined.image_pins_indptr).astype(np.uint32),
        }
    )
