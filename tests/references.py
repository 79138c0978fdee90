"""Naive references that several test files share."""

from __future__ import annotations

import numpy as np
import scipy.sparse


def boards_matrix(boards: list[list[int]], n_items: int) -> scipy.sparse.csr_array:
    """The incidence matrix of boards given as lists of items; repeats are kept as repeats."""
    indptr = np.concatenate([[0], np.cumsum([len(board) for board in boards])]).astype(np.int64)
    indices = np.array([item for board in boards for item in board], np.int32)
    data = np.ones(len(indices), np.int32)
    return scipy.sparse.csr_array((data, indices, indptr), shape=(len(boards), n_items))


def count_matrix(boards: list[list[int]], n_items: int) -> np.ndarray:
    """How many boards hold both, by a triple loop; the diagonal is how many hold one."""
    counts = np.zeros((n_items, n_items), np.int64)
    for board in boards:
        for a in set(board):
            for b in set(board):
                counts[a, b] += 1
    return counts
