"""Query-independent features: what an image is by itself, whatever it is shown beside.

The first columns, `FROM_SAVES`, follow from who saved the image. A ranker that learns from hidden
pins takes them from `of_rows`, which leaves pins out: else a hidden pin would still count in its
image's popularity and tell which image it is of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import check
from pinjoin.core.types import Float32s, Int64s, UInt32s
from pinjoin.data.schema import FEATURE_PREFIX, is_feature
from pinjoin.features import _quality_kernel as kernel
from pinjoin.snapshot.reader import Snapshot
from pinjoin.snapshot.writer import SnapshotWriter

FROM_SAVES = {
    "quality.log_boards": "ln(1 + boards that hold it)",
    "quality.log_pins": "ln(1 + its pins)",
    "quality.saves_per_day": "ln(1 + its dated pins / days), from the first of them to the newest "
    "date of the catalogue, 30 days at least; 0 without dates",
    "quality.dated": "1 if a pin of it has a date, else 0",
}
"""Names and definitions of the columns that follow from pins and boards alone, in their order."""

_SIZED = {
    "quality.log_megapixels": "ln(width × height / 1,000,000) of its picture; 0 if unknown",
    "quality.aspect": "ln(width / height) of its picture; 0 if unknown",
    "quality.sized": "1 if the size of its picture is known, else 0",
}
_TITLED = {"quality.title_length": "ln(1 + characters of the title it is shown with)"}
_DAY = 86_400
_LEAST_DAYS = 30  # one save on the newest day is no trend
_MOST = float(np.finfo(np.float32).max)
MOST_DEVIATIONS = 10
"""How far from the mean a column of the user's may be."""

_TAIL = 0.001


@dataclass(frozen=True)
class Saves:
    """Who saved what and when, as far as these features ask; a pin is a row of the pins table."""

    indptr: Int64s  # (images + 1,)
    pins: UInt32s  # pins of each image
    boards: UInt32s  # (pins,); NO_ROW = on none
    n_boards: int
    times: Int64s  # (pins,) unix seconds, NO_TIME = unknown; empty if no pin has a date

    @classmethod
    def of(
        cls,
        indptr: Int64s,
        pins: UInt32s,
        boards: UInt32s,
        n_boards: int,
        table: pa.Table,
    ) -> Saves:
        """With the dates of a pins table; those of pins that are no image's are left out."""
        return cls(indptr, pins, boards, n_boards, _times(table, pins))

    @classmethod
    def open(cls, snapshot: Snapshot) -> Saves:
        """Those of a snapshot; all but the dates are mapped."""
        array = snapshot.array
        n_boards = len(array("board_images.indptr")) - 1
        pins = snapshot.table("pins")
        return cls.of(
            array("image_pins.indptr"), array("image_pins"), array("pin_board"), n_boards, pins
        )


@dataclass(frozen=True)
class Quality:
    """The query-independent features of all images. A missing part is 0, its indicator too.

    names: of the columns, those of `FROM_SAVES` first; definitions: how each is made;
    values: (images, names) float32, finite.
    """

    names: tuple[str, ...]
    definitions: Mapping[str, str]
    values: Float32s

    def save(self, writer: SnapshotWriter) -> None:
        """Store as `quality.json` and `quality.values`."""
        writer.save_json("quality", [[name, self.definitions[name]] for name in self.names])
        writer.save_array("quality.values", self.values)

    @classmethod
    def open(cls, snapshot: Snapshot) -> Quality:
        """Those of a snapshot, mapped."""
        definitions = dict(snapshot.json("quality"))
        return cls(tuple(definitions), definitions, snapshot.array("quality.values"))


def build(
    saves: Saves,
    pins: pa.Table,
    titles: pa.ChunkedArray | pa.Array,
    sizes: UInt32s | None = None,
) -> Quality:
    """The features of all images.

    pins: the table whose `feature_*` columns join in: `feature_x` as `feature.x`, the mean over
    the image's pins that have one (`standard_scores` of it), and `feature.x.present`, 1 or 0.
    titles: (images,) what each is shown with, or null. sizes: (images, 2) width and height, 0 =
    unknown; None: all are.
    """
    n = len(saves.indptr) - 1
    check(len(titles) == n, "titles", "quality.build", f"{n} long, one an image", len(titles))
    sizes = np.zeros((n, 2), np.uint32) if sizes is None else sizes
    check(sizes.shape == (n, 2), "sizes", "quality.build", f"of shape ({n}, 2)", sizes.shape)
    parts = [
        (FROM_SAVES, of_rows(saves, np.arange(n))),
        (_SIZED, _of_sizes(sizes)),
        (_TITLED, _of_titles(titles)),
        *_of_users(saves, pins),
    ]
    definitions = {name: made for part, _ in parts for name, made in part.items()}
    values = np.concatenate([columns for _, columns in parts], axis=1)
    return Quality(tuple(definitions), definitions, values)


def of_rows(
    saves: Saves,
    rows: npt.NDArray[np.integer[Any]],
    left_out: npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]] | None = None,
) -> Float32s:
    """(rows, 4) float32: the `FROM_SAVES` columns of some images as if some pins were not there.

    left_out: (pins,) bool, or the numbers of pins. The newest date of the catalogue is that of
    the other pins, so all is as in a new build without them; an image without pins has zeros.
    """
    _check_numbers(rows, len(saves.indptr) - 1, "rows")
    without = _mask(left_out, len(saves.boards))
    counts = kernel.count_saves(
        np.asarray(rows, np.int64), saves.indptr, saves.pins, saves.boards, saves.times, without,
        saves.n_boards,
    )  # fmt: skip
    pins, boards, dated, first = counts.T
    newest = np.max(saves.times, initial=kernel.NO_TIME, where=~without[: len(saves.times)])
    days = np.maximum((newest - np.where(dated > 0, first, newest)) / _DAY, _LEAST_DAYS)
    columns = [np.log1p(boards), np.log1p(pins), np.log1p(dated / days), dated > 0]
    return np.stack(columns, axis=1).astype(np.float32)


def _mask(
    left_out: npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]] | None, n_pins: int
) -> npt.NDArray[np.bool_]:
    mask = np.zeros(n_pins, np.bool_)
    if left_out is None:
        return mask
    if left_out.dtype == np.bool_:
        fits = left_out.shape == mask.shape
        check(fits, "left_out", "quality.of_rows", f"of shape ({n_pins},)", left_out.shape)
    else:
        _check_numbers(left_out, n_pins, "left_out")
    mask[left_out] = True
    return mask


def _check_numbers(numbers: npt.NDArray[Any], n: int, name: str) -> None:
    inside = not len(numbers) or (numbers.min() >= 0 and numbers.max() < n)
    check(bool(inside), name, "quality.of_rows", f"from 0 to {n - 1}", numbers)


def _times(table: pa.Table, pins: UInt32s) -> Int64s:
    """(pins,) the dates of the pins table for those pins that are an image's."""
    times = np.full(table.num_rows, kernel.NO_TIME, np.int64)
    start = 0
    dates = table["created_at"].chunks if "created_at" in table.column_names else ()
    for chunk in dates:
        seconds = pc.fill_null(chunk.cast(pa.int64()), kernel.NO_TIME)
        times[start : start + len(chunk)] = seconds
        start += len(chunk)
    if len(pins) < len(times):
        of_no_image = np.ones(len(times), np.bool_)
        of_no_image[pins] = False
        times[of_no_image] = kernel.NO_TIME
    return times if (times != kernel.NO_TIME).any() else np.empty(0, np.int64)


def _of_sizes(sizes: UInt32s) -> Float32s:
    """(images, 3): the `_SIZED` columns."""
    known = (sizes > 0).all(axis=1)
    width, height = np.where(known, sizes.T, 1).astype(np.float64)
    megapixels = np.where(known, np.log(width * height / 1e6), 0)
    return np.stack([megapixels, np.log(width / height), known], axis=1).astype(np.float32)


def _of_titles(titles: pa.ChunkedArray | pa.Array) -> Float32s:
    """(images, 1): the `_TITLED` column."""
    lengths = pc.fill_null(pc.utf8_length(titles), 0).to_numpy()
    return np.asarray(np.log1p(lengths, dtype=np.float64)[:, None], np.float32)


def _of_users(saves: Saves, pins: pa.Table) -> Iterator[tuple[dict[str, str], Float32s]]:
    """(images, 1 or 2): the column of each user's feature and, if need be, its indicator."""
    for given in filter(partial(is_feature, "pins"), pins.column_names):
        name = f"feature.{given.removeprefix(FEATURE_PREFIX)}"
        means = kernel.means_of_pins(saves.indptr, saves.pins, pins[given].to_numpy(), _MOST)
        present = ~np.isnan(means)
        columns = [standard_scores(means)]
        made = {
            name: f"mean of {given} over its pins that have one, in standard deviations from that "
            f"of all images, at most {MOST_DEVIATIONS}; 0 if none has"
        }
        # Always, so that models fit the next build as well, where another image has none. A user's
        # own column may already have the indicator's name.
        if f"{given}.present" not in pins.column_names:
            columns.append(present)
            made[f"{name}.present"] = f"1 if a pin of it has {given}, else 0"
        yield made, np.stack(columns, axis=1).astype(np.float32)


def standard_scores(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """In standard deviations from the mean, at most ±10; NaN, none, becomes 0, the mean.

    Whatever the unit of a column, no single image then outweighs all else that is known of it.
    The mean and the deviation are of values of which the lowest and the highest thousandth are
    drawn in (winsorised), so that a few wild ones do not hide how the others differ.

    >>> standard_scores(np.array([1.0, 3.0, np.nan]))  # 2 ± 1
    array([-1.,  1.,  0.])
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return np.zeros(len(values))
    ends = np.quantile(known, [_TAIL, 1 - _TAIL], method="inverted_cdf")
    middle = np.clip(known, *ends)
    deviation = _deviation(middle) or _deviation(known) or np.inf
    scores = np.clip((values - middle.mean()) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS)
    known_scores: npt.NDArray[np.float64] = np.nan_to_num(scores)
    return known_scores


def _deviation(values: npt.NDArray[np.float64]) -> float:
    """Standard deviation; 0 where it may be rounding."""
    found = float(values.std())
    return found if found > 1e-9 * np.abs(values).max() else 0.0
