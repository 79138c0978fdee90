"""Why one image stands next to another: recomputable from the catalogue alone (design: "Why")."""

from __future__ import annotations

from typing import Any

import numpy as np

from pinjoin.contents import Contents
from pinjoin.core.types import UInt32s
from pinjoin.features.text import NO_TERM

_BOARDS_NAMED = _TERMS_NAMED = 5


def reasons(known: Contents, query: int, rows: UInt32s) -> list[dict[str, Any]]:
    """Of each row: boards shared with the query (the smallest first), how alike the pictures are
    and what both look like, and the words said of both. What is not there is left out."""
    pictures = known.pictures
    alike = None if pictures is None else pictures.similarity(query, rows)
    found = []
    for i, row in enumerate(rows.tolist()):
        why: dict[str, Any] = {"boards": _boards_shared(known, query, row)}
        if alike is not None and pictures is not None and alike[i] > 0:
            why["visual_similarity"] = round(float(alike[i]), 4)
            if name := pictures.both_look_like(query, row):
                why["both_look_like"] = name
        if words := _words_shared(known, query, row):
            why["words"] = words
        found.append(why)
    return found


def count_shared(known: Contents, query: int, rows: UInt32s) -> list[int]:
    """On how many boards each of the rows is together with the query."""
    return [len(_shared(known, query, row)) for row in rows.tolist()]


def _shared(known: Contents, query: int, row: int) -> UInt32s:
    graph = known.graph
    return np.intersect1d(graph.boards_of(query), graph.boards_of(row), assume_unique=True)


def _boards_shared(known: Contents, query: int, row: int) -> list[dict[str, Any]]:
    shared = _shared(known, query, row)
    sizes = known.graph.by_board.sizes_of(shared)
    smallest = shared[np.argsort(sizes, kind="stable")[:_BOARDS_NAMED]]
    return known.describe_boards(smallest)


def _words_shared(known: Contents, query: int, row: int) -> list[str]:
    said = known.annotations
    words, here, there = np.intersect1d(said.ids[query], said.ids[row], return_indices=True)
    product = said.weights[query][here] * said.weights[row][there]
    best = [i for i in np.argsort(-product, kind="stable") if words[i] != NO_TERM]
    return [said.terms[int(words[i])].as_py() for i in best[:_TERMS_NAMED]]
