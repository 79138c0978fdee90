"""The build on one screen: sources → joins → snapshot."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.candidates.nearest import INVERTED, TextNeighbours
from pinjoin.candidates.picture_index import IndexChoice, Indexed, save_index
from pinjoin.core.errors import InputError, PinjoinError, check
from pinjoin.core.ids import IdIndex
from pinjoin.core.progress import Progress, silent
from pinjoin.data.fetch import FetchConfig
from pinjoin.data.rejects import DUPLICATE_PIN, Rejects
from pinjoin.data.schema import Type, attributes_of
from pinjoin.data.sources import Source
from pinjoin.features import category, factors, quality, text, topics
from pinjoin.features.category import Categories
from pinjoin.features.factors import Factors
from pinjoin.features.packed import Parts, save_packed
from pinjoin.features.pictures import Pictures, save_pictures
from pinjoin.features.quality import Quality, Saves
from pinjoin.features.shelf import find_encoder, lasting, workspace_folder
from pinjoin.features.sizes import image_sizes
from pinjoin.features.text import Annotations
from pinjoin.features.topics import Topics
from pinjoin.features.visual import DEFAULT_ENCODER, load_encoder
from pinjoin.folding import Folded, LivePart, drop_references, read_live
from pinjoin.joins.boardjoins import Boards, read_boards
from pinjoin.joins.image_files import ImageFiles
from pinjoin.joins.pinjoins import (
    Joined,
    Pins,
    first_titled,
    join_pins,
    pin_schema,
    read_pins,
)
from pinjoin.joins.signatures import signature_of_images
from pinjoin.live import LIVE_FILE
from pinjoin.recommender import open_workspace
from pinjoin.snapshot.reader import open_snapshot
from pinjoin.snapshot.tables import Rows
from pinjoin.snapshot.writer import SnapshotWriter
from pinjoin.training.after_build import train_after_build

Signature = Literal["reference", "pixels", "perceptual"]


@dataclass(frozen=True)
class BuildConfig:
    """What a build was told; kept in the manifest."""

    signature: Signature = "reference"  # what makes two pins the same image
    images: str | None = None  # folder of the image files
    base: str | None = None  # folder that relative image references start from
    fetch: bool = False  # whether http(s) references are fetched
    allow_private: bool = False  # also from addresses that are not of the public internet
    encoder: str | None = DEFAULT_ENCODER  # a name or a path; None: pictures are not looked at
    keep_embeddings: bool = False  # whether the numbers behind the pictures' bits are stored
    index: IndexChoice = "auto"  # whether millions of pictures are indexed: docs/related.md
    attributes: dict[str, Type] = field(default_factory=dict)  # the pins' own columns to filter by
    tables: bool = True  # whether there was more to build from than what is live
    live: dict[str, str | int] | None = None  # the live part: identity of its database, sequence

    def __post_init__(self) -> None:
        allowed = ("reference", "pixels", "perceptual")
        check(self.signature in allowed, "signature", "build", " or ".join(allowed), self.signature)
        check(self.index in ("auto", "never"), "index", "build", "auto or never", self.index)
        apart = self.fetch or not self.allow_private
        check(apart, "allow_private", "build", "False where nothing is fetched", True)
        apart = self.encoder is not None or not self.keep_embeddings
        check(apart, "keep_embeddings", "build", "False where encoder is None", True)


@dataclass(frozen=True)
class BuildSummary:
    """What a build did."""

    snapshot: str
    pins: int
    images: int  # PinJoins
    boards: int
    saves: int  # distinct (board, image) pairs
    on_no_board: int  # images
    pictures: int  # images whose picture was seen
    indexed: Indexed  # of these; none but where they are millions
    live: Folded | None  # from the live database; None: there is none
    rejected_pins: int
    rejected_boards: int
    rejects: dict[str, int]  # by reason
    dropped_values: dict[str, int]  # by reason; the rows were kept
    image_faults: dict[str, int]  # by reason, in images.rejects.jsonl; the pins were kept
    rejects_file: str | None
    model: str | None  # the ranker that was learned; None: none was
    ranks: str  # the model that ranks now, or "count"


def build(
    workspace: Path | str,
    pins: Source | None = None,
    boards: Source | None = None,
    *,
    database: Path | str | None = None,
    images: Path | str | None = None,
    base: Path | str | None = None,
    signature: Signature = "reference",
    encoder: str | os.PathLike[str] | None = DEFAULT_ENCODER,
    keep_embeddings: bool = False,
    index: IndexChoice = "auto",
    fetch: bool | FetchConfig = False,
    allow_private: bool = False,
    train: bool = True,
    strict: bool = False,
    progress: Progress = silent,
) -> BuildSummary:
    """Turn pins and boards into the workspace's next snapshot, and make it the current one.

    What is in the workspace's live database (database: its file or URL; None: WORKSPACE/live.db, if
    there is one) is read after them; pins and boards may be None where that has all there is.
    images: folder of the image files; base: folder that relative references start from (the
    pins file's). encoder: what looks at the pictures (a name, of the workspace's own encoders
    too, or a path; None: nothing does); what it saw is kept in WORKSPACE/cache, so that only new
    pictures are looked at. keep_embeddings: store the real-valued fc6 (`Pictures.fc6`), too.
    index: auto indexes pictures where they are so many that it pays and usearch is installed; what
    the current snapshot's index has costs no time again.
    fetch: whether http(s) references are fetched, into the same folder, or how. allow_private:
    also from private and loopback addresses; a catalogue may then make this machine ask anything
    that it can reach. train: learn a ranker from the catalogue's own boards, and rank with it
    unless a model trained on logs is in use and fits. Rejected rows are listed in
    WORKSPACE/rejects.jsonl, images that cannot be read in WORKSPACE/images.rejects.jsonl; strict
    raises InputError at the first. Whatever fails, the snapshot that was current stays current.
    """
    workspace = Path(workspace)
    fetching = _fetching(fetch, allow_private)
    tables = pins is not None
    live = read_live(workspace, database, pins, boards)
    if live is not None:
        pins, boards = live.pins, live.boards
    if pins is None or boards is None:
        raise InputError(
            f"There is nothing to build {workspace} from: name tables of pins and boards (--pins P "
            f"--boards B). A live database would do ({workspace / LIVE_FILE}), but there is none."
        )
    config = BuildConfig(
        signature=signature,
        images=_absolute(images),
        base=_absolute(base),
        fetch=fetching is not None,
        allow_private=allow_private if fetching is None else fetching.allow_private,
        encoder=None if encoder is None else lasting(encoder),
        keep_embeddings=keep_embeddings,
        index=index,
        attributes=attributes_of(pins.schema),
        tables=tables,
        live=None if live is None else live.manifest,
    )
    if config.encoder is not None:
        find_encoder(config.encoder, [workspace_folder(workspace)])  # an error before any work
    files = ImageFiles(config.images, config.base, workspace, fetching)
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
        read = len(pin_rows)
        pin_rows, paths, found = _locate(
            writer, config, pin_rows, live, files, image_rejects, progress
        )
        stored = writer.table("pins")
        pin_index, left_out = _index_pins(stored, pins.name, rejects)
        joined = join_pins(pin_rows, len(board_rows), left_out, found)
        paths = [paths[reference] for reference in joined.first_references.tolist()]
        _write(writer, board_rows, pin_rows, joined, stored, pin_index, signature)
        _describe(writer, workspace, stored, board_rows, joined, progress)
        unsigned = image_rejects if signature == "reference" else None  # signing listed them
        pictures = _see(writer, config, workspace, paths, unsigned, progress)
        indexed = save_index(writer, config.index, progress) if pictures else Indexed()
        _rate(writer, workspace, board_rows, pin_rows, joined, paths, progress)
        _pack(writer, joined, progress)
        counts = {
            "pins": len(pin_rows) - len(left_out),
            "images": len(joined.signatures),
            "boards": len(board_rows),
            "saves": joined.incidence.n_saves,
            "pictures": pictures,
        }
        path = writer.commit(counts, progress)
        if live is not None:
            live.mark_folded()
        model = train_after_build(workspace, path.name, progress) if train else None
        return BuildSummary(
            snapshot=path.name,
            **counts,
            indexed=indexed,
            live=None if live is None else live.summary(read - len(pin_rows)),
            model=model,
            ranks=open_workspace(workspace).model,
            on_no_board=int(np.count_nonzero(joined.incidence.degrees == 0)),
            rejected_pins=rejects.count - rejected_boards,
            rejected_boards=rejected_boards,
            rejects=dict(rejects.by_reason),
            dropped_values=dict(rejects.dropped_values),
            image_faults=dict(image_rejects.dropped_values),
            rejects_file=str(rejects.path) if rejects.count + len(rejects.dropped_values) else None,
        )


def was_built_from_tables(workspace: Path) -> bool:
    """Whether the current snapshot has more than what was live; False where none can be opened."""
    try:
        return bool(open_snapshot(workspace, verify="none").manifest.config.get("tables", True))
    except PinjoinError:
        return False


def _absolute(folder: Path | str | None) -> str | None:
    return None if folder is None else os.path.abspath(folder)  # noqa: PTH100 - keep links


def _fetching(fetch: bool | FetchConfig, allow_private: bool) -> FetchConfig | None:
    if not fetch:
        return None
    config = FetchConfig() if fetch is True else fetch
    return replace(config, allow_private=config.allow_private or allow_private)


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


def _locate(
    writer: SnapshotWriter,
    config: BuildConfig,
    pins: Pins,
    live: LivePart | None,
    files: ImageFiles,
    rejects: Rejects,
    progress: Progress,
) -> tuple[Pins, list[Path | None], list[str | None] | None]:
    """The pins whose image was not taken down; the file of each of their references; and the
    signature of each, None: it is the reference itself."""
    if live is not None:  # before anything of it is fetched
        pins = drop_references(writer, pins, live.has_taken_down(pins.normal))
    paths: list[Path | None] = [None] * len(pins.raw)
    if config.encoder or config.fetch or config.signature != "reference":
        paths = files.find(pins.raw, rejects, progress)
    if config.signature == "reference":
        return pins, paths, None
    there = [path for path in paths if path is not None]
    kind = config.signature
    signed = iter(signature_of_images(there, kind, rejects=rejects, progress=progress))
    found = [None if path is None else next(signed) for path in paths]
    if live is not None:
        gone = live.has_taken_down(pa.array(found, pa.string()))
        pins = drop_references(writer, pins, gone)
        left = np.flatnonzero(~gone).tolist()
        paths, found = [paths[one] for one in left], [found[one] for one in left]
    return pins, paths, found


def _describe(
    writer: SnapshotWriter,
    workspace: Path,
    pins: pa.Table,
    boards: Boards,
    joined: Joined,
    progress: Progress,
) -> None:
    """What people say of the images: words, categories, topics."""
    annotations = text.build(
        pins,
        boards.table,
        joined.image_pins_indptr,
        joined.image_pins,
        joined.incidence,
        folder=workspace,
        progress=progress,
    )
    annotations.save(writer)
    inverted = TextNeighbours(annotations.ids, annotations.weights, len(annotations.terms))
    for name in INVERTED:
        writer.save_array(f"text.inverted.{name}", getattr(inverted, name))
    topics.build(annotations, progress=progress).save(writer)
    category.build(boards.table["category"], joined.incidence).save(writer)


def _see(
    writer: SnapshotWriter,
    config: BuildConfig,
    workspace: Path,
    paths: list[Path | None],
    rejects: Rejects | None,
    progress: Progress,
) -> int:
    """What is in the pictures; how many could be looked at."""
    if config.encoder is None or not any(paths):
        return 0
    return save_pictures(
        writer,
        load_encoder(config.encoder, folders=[workspace_folder(workspace)]),
        paths,
        name=config.encoder,
        keep_fc6=config.keep_embeddings,
        cache=workspace / "cache" / "visual",
        rejects=rejects,
        progress=progress,
    )


def _rate(
    writer: SnapshotWriter,
    workspace: Path,
    boards: Boards,
    pins: Pins,
    joined: Joined,
    paths: list[Path | None],
    progress: Progress,
) -> None:
    """What an image is by itself, whatever it is shown beside."""
    stored = writer.table("pins")
    saves = Saves.of(joined.image_pins_indptr, joined.image_pins, pins.boards, len(boards), stored)
    sizes = image_sizes(paths, workspace / "cache", progress=progress)
    quality.build(saves, stored, writer.table("images")["title"], sizes).save(writer)


def _pack(writer: SnapshotWriter, joined: Joined, progress: Progress) -> None:
    """All that a ranker reads of an image, side by side."""
    factors.build(joined.incidence, progress=progress).save(writer)
    stored = writer.so_far()
    parts = Parts(
        Pictures.open(stored),
        Annotations.open(stored),
        Topics.open(stored),
        Categories.open(stored),
        Factors.open(stored).vectors,
        Quality.open(stored),
    )
    save_packed(writer, parts, joined.incidence.n_images, progress=progress)


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
