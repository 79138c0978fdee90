"""pinjoin: related items for any catalogue people curate.

The names below are loaded when first used, so that `import pinjoin` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "BuildSummary": "pinjoin.builder",
    "Candidates": "pinjoin.candidates.cooccurrence",
    "Cooccurrence": "pinjoin.candidates.cooccurrence",
    "Incidence": "pinjoin.core.incidence",
    "PinJoin": "pinjoin.core.types",
    "PinjoinError": "pinjoin.core.errors",
    "RankSVM": "pinjoin.ranking.ranksvm",
    "Related": "pinjoin.core.types",
    "Workspace": "pinjoin.recommender",
    "build": "pinjoin.builder",
    "coec": "pinjoin.ranking.frames",
    "cooccurrence": "pinjoin.candidates.cooccurrence",
    "open": "pinjoin.recommender:open_workspace",
    "open_preset": "pinjoin.data.presets",
    "open_source": "pinjoin.data.sources",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from pinjoin.builder import BuildSummary, build
    from pinjoin.candidates.cooccurrence import Candidates, Cooccurrence, cooccurrence
    from pinjoin.core.errors import PinjoinError
    from pinjoin.core.incidence import Incidence
    from pinjoin.core.types import PinJoin, Related
    from pinjoin.data.presets import open_preset
    from pinjoin.data.sources import open_source
    from pinjoin.ranking.frames import coec
    from pinjoin.ranking.ranksvm import RankSVM
    from pinjoin.recommender import Workspace
    from pinjoin.recommender import open_workspace as open


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pinjoin' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    value = globals()[name] = getattr(import_module(module), attribute or name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
