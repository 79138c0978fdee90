"""Who is asked for what: the protocol of board completion, for a built workspace."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import ConfigError, InputError, check
from pinjoin.core.types import Int64s
from pinjoin.data.splits import UNDATED, Held, hide, hide_later, save_times
from pinjoin.features.category import NO_CATEGORY
from pinjoin.recommender import Workspace

Names = npt.NDArray[np.object_]

NO_NAME = "none"
"""Stands for the category of images that have none."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is hidden, who is asked, how uncertain the answer is."""

    seed: int = 0
    share: float = 0.5  # of the boards of `min_images` or more: each hides an image
    min_images: int = 4
    keeps: int = 2  # boards that an image keeps, to be hidden and to compete
    after: int | None = None  # unix seconds: hide what was saved from then on, instead of a share
    category: str | None = None  # only ask with images whose largest category it is
    most: int | None = 5_000  # boards that hide; None: no limit
    depth: int = 1_000  # of the lists
    resamples: int = 2_000  # behind the intervals (95 %)
    against: str = "count"  # the scorer whose nDCG is 1 in the ratios

    def __post_init__(self) -> None:
        caller = "EvaluationConfig"
        check(self.seed >= 0, "seed", caller, "a number ≥ 0", self.seed)
        check(0 < self.share <= 1, "share", caller, "above 0 and at most 1", self.share)
        for name, least in (("min_images", 2), ("keeps", 0), ("depth", 100), ("resamples", 100)):
            value = getattr(self, name)
            check(value >= least, name, caller, f"{least} or more", value)
        most = self.most
        check(most is None or most >= 1, "most", caller, "None or 1 or more", most)


def choose(workspace: Workspace, categories: Names, config: EvaluationConfig) -> Held:
    """What is hidden and who is asked. Raises InputError if nobody is, ConfigError for a category
    of no image."""
    rng = np.random.default_rng(config.seed)
    graph, limits = workspace.incidence, (config.min_images, config.keeps, config.most)
    if config.after is None:
        held = hide(graph, rng, config.share, *limits)
    else:
        held = hide_later(graph, _saved_at(workspace), config.after, rng, *limits)
    if config.category is not None:
        _check_category(config.category, categories)
        held = held.where(categories[held.queries] == config.category)
    if not len(held):
        raise InputError(
            f"No board of this catalogue has an image to hide and one to ask with: "
            f"{int((graph.sizes >= config.min_images).sum()):,} of {graph.n_boards:,} boards have "
            f"{config.min_images} images or more, {int((graph.degrees > config.keeps).sum()):,} of "
            f"{graph.n_images:,} images are on more than {config.keeps} boards. Ask for fewer "
            "(min_images, keeps), a larger share or another date."
        )
    return held


def categories_of(workspace: Workspace) -> Names:
    """(images,) the name of each image's largest category; NO_NAME where it has none."""
    known = workspace.categories
    names = np.array([*known.names.to_pylist(), NO_NAME], object)
    largest = np.asarray(known.ids[:, 0]).astype(np.int64)
    return names[np.where(largest == NO_CATEGORY, len(names) - 1, largest)]


def _check_category(name: str, categories: Names) -> None:
    counts = Counter(categories.tolist())
    if name not in counts:
        largest = ", ".join(known for known, _ in counts.most_common(20))
        raise ConfigError(f"No image has the category {name!r}. The largest: {largest}.")


def _saved_at(workspace: Workspace) -> Int64s:
    snapshot = workspace.snapshot
    times = snapshot.table("pins")["created_at"]
    if times.null_count == len(times):
        raise InputError(
            "The pins of this catalogue have no dates: a time split needs the column created_at. "
            "Leave the date out to hide a share of the boards' pins."
        )
    seconds = pc.fill_null(times.cast(pa.int64()), UNDATED).combine_chunks()
    pins = snapshot.array("pin_board"), snapshot.array("pin_image")
    return save_times(workspace.incidence, *pins, seconds.to_numpy())
