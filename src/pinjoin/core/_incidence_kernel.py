"""Counting sorts that turn pairs of rows into incidence lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_U = np.uint64


@njit(cache=True, nogil=True, inline="always")
def span(bounds: Any, step: Any, row: Any) -> Any:
    """Where a list begins and ends: see `core.incidence.Lists`."""
    at = row * step
    return _U(bounds[at]), _U(bounds[at + _U(1)])


@njit(cache=True, nogil=True)
def offsets(keys: Any, n_keys: Any) -> Any:
    """indptr (n_keys + 1,) int64 of the groups that `group` makes; keys ≥ n_keys are left out."""
    indptr = np.zeros(n_keys + 1, np.int64)
    for i in range(_U(len(keys))):
        if keys[i] < n_keys:
            indptr[_U(keys[i]) + _U(1)] += 1
    for key in range(_U(n_keys)):
        indptr[key + _U(1)] += indptr[key]
    return indptr


@njit(cache=True, nogil=True)
def group(keys: Any, values: Any, indptr: Any) -> Any:
    """values by key, in the order they come; keys past the last group are left out."""
    n_keys = len(indptr) - 1
    fill = indptr[:-1].copy()
    grouped = np.empty(indptr[-1], np.uint32)
    for i in range(_U(len(keys))):
        if keys[i] < n_keys:
            key = _U(keys[i])
            grouped[_U(fill[key])] = values[i]
            fill[key] += 1
    return grouped


@njit(cache=True, nogil=True)
def distinct_degrees(indptr: Any, boards: Any, n_boards: Any) -> Any:
    """How many distinct boards each image has, and how many distinct images each board."""
    n_images = len(indptr) - 1
    seen = np.full(n_boards, -1, np.int64)
    degrees = np.zeros(n_images, np.int64)
    sizes = np.zeros(n_boards, np.int64)
    for image in range(n_images):
        for p in range(indptr[image], indptr[image + 1]):
            board = _U(boards[p])
            if seen[board] != image:
                seen[board] = image
                degrees[image] += 1
                sizes[board] += 1
    return degrees, sizes


@njit(cache=True, nogil=True)
def fill_boards(order: Any, indptr: Any, boards: Any, board_indptr: Any) -> Any:
    """Images of each board, ascending and once each, where image order[r] becomes row r."""
    fill = board_indptr[:-1].copy()
    images = np.empty(board_indptr[-1], np.uint32)
    for row in range(len(order)):
        image = _U(order[row])
        for p in range(_U(indptr[image]), _U(indptr[image + _U(1)])):
            board = _U(boards[p])
            at = fill[board]
            if at > board_indptr[board] and images[_U(at - 1)] == row:
                continue  # the board holds this image twice: it counts once
            images[_U(at)] = row
            fill[board] = at + 1
    return images


@njit(cache=True, nogil=True)
def transpose(indptr: Any, columns: Any, n_columns: Any) -> Any:
    """The same incidence read the other way: (indptr, rows), rows ascending in each column."""
    turned = offsets(columns, n_columns)
    fill = turned[:-1].copy()
    rows = np.empty(len(columns), np.uint32)
    for row in range(_U(len(indptr) - 1)):
        for p in range(_U(indptr[row]), _U(indptr[row + _U(1)])):
            column = _U(columns[p])
            rows[_U(fill[column])] = row
            fill[column] += 1
    return turned, rows
