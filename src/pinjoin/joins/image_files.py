"""The files of a catalogue's images, wherever their references point: here, or on the web."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
