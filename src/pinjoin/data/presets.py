"""Public datasets, as their authors publish them, opened as pins and boards by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pinjoin.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    from pinjoin.data.sources import Source


@dataclass(frozen=True)
class Catalogue:
    """The two tables of a build."""

    pins: Source
    boards: Source


@dataclass(frozen=True)
class Preset:
    """A public dataset: what becomes of it, and the module whose `open_catalogue` reads it."""

    description: str
    module: str


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "unsplash": Preset(
            "Unsplash dataset (Lite or Full): photos as pins, people's collections as boards",
            "pinjoin.data.unsplash",
        ),
        "pinterest-iccv": Preset(
            "Pinterest set of Geng et al., ICCV 2015 (.bson files): its pins and boards",
            "pinjoin.data.pinterest",
        ),
        "movielens": Preset(
            "MovieLens (100K-latest to 32M .csv, 1M and 10M .dat): movies as pins; what one "
            "person rated 4 or more of one genre, or gave one tag, as boards",
            "pinjoin.data.movielens",
        ),
    }
)


def open_preset(name: str, directory: str | Path) -> Catalogue:
    """The pins and boards of the public dataset `name` (a key of `PRESETS`) in `directory`.

    Only the files' beginnings are read here; rows stream when the sources are asked for them.
    ConfigError for an unknown name; InputError, naming what is expected and what is there, if
    a file is missing.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"The name parameter of open_preset must be one of {', '.join(PRESETS)}. "
            f"Got {name!r} instead."
        )
    folder = Path(directory)
    if not folder.is_dir():
        what = "is not a directory" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}. Name the directory that holds the {name} files.")
    catalogue: Catalogue = import_module(PRESETS[name].module).open_catalogue(folder)
    return catalogue
