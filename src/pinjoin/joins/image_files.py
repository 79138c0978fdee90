"""The files of a catalogue's images, wherever their references point: here, or on the web."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.progress import Progress, silent
from pinjoin.data.addresses import Resolve, is_web, system_addresses
from pinjoin.data.fetch import FetchConfig, fetch_images
from pinjoin.data.image_cache import ImageCache, fetched_file
from pinjoin.data.rejects import Rejects
from pinjoin.joins.signatures import resolve_image

FETCHED = Path("cache", "images")
"""Where a workspace keeps the pictures it fetched."""


def known_file(
    reference: str, workspace: Path, images_dir: Path | None, base: Path | None
) -> Path | None:
    """The file of one image reference, of those that are here; None where there is none.

    An `http(s)` reference has the one that a build of the workspace fetched.
    """
    if is_web(reference):
        return fetched_file(workspace / FETCHED, reference)
    return None if base is None else resolve_image(reference, images_dir, base)


@dataclass(frozen=True)
class ImageFiles:
    """Where a build looks for the files of image references, and how it gets them."""

    images: str | None  # folder of the image files
    base: str | None  # folder that relative references start from
    workspace: Path  # where fetched pictures are kept
    fetch: FetchConfig | None = None  # None: nothing is fetched

    def find(
        self, references: pa.ChunkedArray, rejects: Rejects, progress: Progress = silent
    ) -> list[Path | None]:
        """The file of each reference; None where there is none.

        `rejects` is told of what could not be fetched, and of local files that are missing
        where there is a folder of images, or others are found.
        """
        images = Path(self.images) if self.images else None
        base = Path(self.base) if self.base else images
        web = pc.match_substring_regex(references, r"(?i)^\s*https?://")
        if self.fetch is None and (base is None or pc.all(web).as_py()):
            return [None] * len(references)
        names, base = references.to_pylist(), base or Path(os.devnull)
        if self.fetch is None:
            paths = local_images(names, images, base)
        else:
            with ImageCache(self.workspace / FETCHED) as cache:
                paths = local_images(
                    names, images, base, cache, self.fetch, rejects=rejects, progress=progress
                )
        local = [row for row, name in enumerate(names) if not is_web(name)]
        if images is not None or any(paths[row] for row in local):
            _tell_missing([names[row] for row in local if paths[row] is None], rejects)
        return paths


def _tell_missing(names: Sequence[str], rejects: Rejects) -> None:
    for name in names:
        rejects.add_many(
            file=name,
            rows=[None],
            column="image",
            values=[name],
            reason="no image file was found for this reference",
            remedy="The pin is kept without its picture.",
            dropped="value",
        )


def local_images(
    references: Sequence[str],
    images_dir: Path | None,
    base: Path,
    cache: ImageCache | None = None,
    config: FetchConfig | None = None,
    *,
    rejects: Rejects | None = None,
    progress: Progress = silent,
    resolve: Resolve = system_addresses,
) -> list[Path | None]:
    """The file of each image reference, in their order; None where there is none.

    `http(s)` references are fetched into `cache` as `fetch_images` says, or, with no cache,
    have no file; others are looked for as `resolve_image` says. Give references as they came:
    their normal spelling has https for http, which a server may not speak.

    `rejects` is told of what could not be fetched, not of missing local files:
    `signature_of_images` is the one to tell of those.
    """
    web = [row for row, reference in enumerate(references) if is_web(reference)]
    paths: list[Path | None] = [
        None if is_web(reference) else resolve_image(reference, images_dir, base)
        for reference in references
    ]
    if cache is not None and web:
        fetched = fetch_images(
            [references[row] for row in web],
            cache,
            config,
            rows=[None] * len(web),
            rejects=rejects,
            progress=progress,
            resolve=resolve,
        )
        for row, path in zip(web, fetched, strict=True):
            paths[row] = path
    return paths
