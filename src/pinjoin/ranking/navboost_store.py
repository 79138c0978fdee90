"""What people did, kept with the workspace: counted once, mapped when a model asks for it.

WORKSPACE/navboost/<name>/about.json    what counts, rates by place, hashes of the other files
WORKSPACE/navboost/<name>/<column>.npy  query, candidate (rows of the snapshot it was made for),
                                        impressions, actions, expected; by query, then candidate
WORKSPACE/navboost/<name>/items.arrow   row, signature of each image that is in a pair

Rows change with every build; signatures do not. For another snapshot than its own, pairs are
numbered anew when opened, and those of images that are gone are left out.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pinjoin.core.errors import ConfigError, InputError, SnapshotError
from pinjoin.core.types import Int64s
from pinjoin.ranking.coec import CoecTable
from pinjoin.ranking.navboost import Navboost, NavboostConfig
from pinjoin.ranking.store import MODEL_NAME
from pinjoin.snapshot.arrays import map_array_file, write_array_file
from pinjoin.snapshot.disk import disk_errors, sha256, sync_directory, sync_file, write_durably
from pinjoin.snapshot.tables import TableWriter, map_table_file

FORMAT_VERSION = 1

_ABOUT, _ITEMS = "about.json", "items.arrow"
_COLUMNS = ("query", "candidate", "impressions", "actions", "expected")
_FACTORS = ("position", "device", "surface")

FindRows = Callable[[pa.ChunkedArray], Int64s]
"""The image row of each signature, −1 for one that is not there."""


def navboost_folder(workspace: Path, name: str) -> Path:
    """Where the one of this name lies."""
    return workspace / "navboost" / name


def save_navboost(
    workspace: Path, name: str, boost: Navboost, signatures: pa.ChunkedArray, snapshot: str
) -> Path:
    """Keep what was counted (not what was added live) under a name, whole or not at all.

    signatures: of all images of the snapshot, whose rows the pairs are in. Raises ConfigError
    for a name that is taken or no plain file name, SnapshotError if the disk refuses.
    """
    path = navboost_folder(workspace, name)
    if not MODEL_NAME.fullmatch(name) or path.exists():
        raise ConfigError(
            f"Navboost data must be kept under a new name of letters, digits, dots, - and _. "
            f"Got {name!r}."
        )
    table = boost.table
    rows = np.union1d(table.query, table.candidate)
    items = pa.table({"row": rows, "signature": signatures.take(pa.array(rows))})
    with disk_errors("Writing", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{name}."))
        try:
            for column in _COLUMNS:
                write_array_file(folder / f"{column}.npy", getattr(table, column))
            with TableWriter(folder / _ITEMS, items.schema) as writer:
                writer.write(items)
            files = sorted(folder.iterdir())
            for file in files:
                sync_file(file)
            hashes = {file.name: sha256(file) for file in files}
            about = json.dumps(_about(boost, snapshot) | {"sha256": hashes}, indent=1)
            write_durably(folder / _ABOUT, about.encode())
            folder.chmod(0o755)
            os.rename(folder, path)  # noqa: PTH104 - never onto a folder that is not empty
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        sync_directory(path.parent)
    return path


def open_navboost(workspace: Path, name: str, snapshot: str, find_rows: FindRows) -> Navboost:
    """What was kept under a name, in the rows of a snapshot: mapped if it was made for it.

    Raises InputError, naming the file, for what is missing, damaged or of another format.
    """
    path = navboost_folder(workspace, name)
    try:
        about = json.loads((path / _ABOUT).read_text("utf-8"))
        version = about["format_version"]
        if version != FORMAT_VERSION:
            raise _unusable(path / _ABOUT, f"it is of format {version!r}, not {FORMAT_VERSION}")
        for file, recorded in about["sha256"].items():
            if sha256(path / file) != recorded:
                raise _unusable(path / file, "it is not as it was written")
        table = CoecTable(*(map_array_file(path / f"{column}.npy") for column in _COLUMNS))
        if about["snapshot"] != snapshot:
            items = map_table_file(path / _ITEMS)
            table = renumbered(table, items["row"].to_numpy(), find_rows(items["signature"]))
        return _made_of(about, table)
    except (OSError, ValueError, KeyError, TypeError, SnapshotError) as error:
        if isinstance(error, InputError):
            raise
        raise _unusable(path, f"{type(error).__name__}: {error}") from error


def renumbered(table: CoecTable, rows: Int64s, new: Int64s) -> CoecTable:
    """A table in other numbers: rows (items,), ascending, become `new` (items,), −1 = gone.

    Pairs of what became one image are added up; an image is no candidate of itself.
    """
    query, candidate = (new[np.searchsorted(rows, c)] for c in (table.query, table.candidate))
    there = np.flatnonzero((query >= 0) & (candidate >= 0) & (query != candidate))
    keys = query[there] << 32 | candidate[there]
    distinct, group = np.unique(keys, return_inverse=True)
    impressions, actions, expected = (
        np.bincount(group, getattr(table, column)[there], len(distinct)).astype(np.float64)
        for column in _COLUMNS[2:]
    )
    return CoecTable(
        (distinct >> 32).astype(np.uint32),
        (distinct & 0xFFFFFFFF).astype(np.uint32),
        impressions.astype(np.int64),
        actions,
        expected,
    )


def _about(boost: Navboost, snapshot: str) -> dict[str, Any]:
    config = asdict(boost.config) | {"weights": dict(boost.config.weights)}
    places = [
        dict(zip(_FACTORS, place, strict=True)) | {"rate": float(rate)}
        for place, rate in zip(boost.places, boost.rates, strict=True)
    ]
    return {
        "format_version": FORMAT_VERSION,
        "snapshot": snapshot,
        "until": boost.until,
        "config": config,
        "places": places,
    }


def _made_of(about: Mapping[str, Any], table: CoecTable) -> Navboost:
    places = about["places"]
    return Navboost(
        np.array([float(place["rate"]) for place in places]),
        NavboostConfig(**about["config"]),
        table,
        [tuple(place[name] for name in _FACTORS) for place in places],
        about["until"],
    )


def _unusable(path: Path, why: str) -> InputError:
    return InputError(
        f"{path} cannot be used to rank by what people did: {why}. Use another model "
        "(`pinjoin models list WORKSPACE`), or train again (`pinjoin train WORKSPACE --events …`)."
    )
