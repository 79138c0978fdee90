"""Baselines by content alone: pictures, words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pinjoin.candidates.nearest import ExactHamming, TextNeighbours
from pinjoin.experiments.scorers import Factory, NotRun, OnRebuilt, Rows, Scorer, Split


def visual(split: Split) -> Scorer:
    """By the Hamming distance of the fc6 bits, among images that have a picture."""
    pictures = split.workspace.pictures
    if pictures is None:
        raise NotRun("the workspace was built without pictures")
    bits, present = pictures.bits, pictures.present
    old = split.rebuilt.old
    rows = np.flatnonzero((split.held.eligible & present)[old])
    index = ExactHamming(np.ascontiguousarray(bits[old[rows]]))

    def best(query: int, k: int) -> Rows:
        asked = old[query]
        return rows[index.search(bits[asked], k)[0]] if present[asked] else rows[:0]

    return OnRebuilt(split, best, only_eligible=True)


def text(split: Split) -> Scorer:
    """By the cosine of annotations. What the hidden pins and their boards say is left out."""
    said = split.catalogue.annotations
    ids, weights, n_terms = said.ids, said.weights, len(said.terms)
    old = split.rebuilt.old
    rows = np.flatnonzero(split.held.eligible[old])
    index = TextNeighbours(ids[old[rows]], weights[old[rows]], n_terms)

    def best(query: int, k: int) -> Rows:
        return rows[index.search(ids[old[query]], weights[old[query]], k)[0]]

    return OnRebuilt(split, best, only_eligible=True)


CONTENT: Mapping[str, Factory] = {"visual": visual, "text": text}
"""By their names in the table."""
