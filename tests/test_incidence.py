from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError
from pinjoin.core.incidence import Incidence, group_pairs
from pinjoin.core.types import NO_ROW

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=60)


def lists(indptr: np.ndarray, values: np.ndarray) -> list[list[int]]:
    return [values[a:b].tolist() for a, b in pairwise(indptr)]


@given(PAIRS)
def test_pairs_become_sorted_lists_both_ways_and_a_repeat_counts_once(pairs):
    boards = np.array([b for b, _ in pairs], np.int64)
    images = np.array([i for _, i in pairs], np.int64)
    graph = Incidence.from_pairs(boards, images, 7, 10)
    assert lists(graph.board_indptr, graph.board_images) == [
        sorted({i for b, i in pairs if b == board}) for board in range(7)
    ]
    assert lists(graph.image_indptr, graph.image_boards) == [
        sorted({b for b, i in pairs if i == image}) for image in range(10)
    ]
    assert graph.sizes.sum() == graph.degrees.sum() == graph.n_saves == len(set(pairs))


@given(PAIRS, st.randoms(use_true_random=False))
def test_order_renames_rows_and_nothing_else(pairs, random):
    boards = np.array([b for b, _ in pairs], np.uint32)
    images = np.array([i for _, i in pairs], np.uint32)
    order = list(range(10))
    random.shuffle(order)
    graph = group_pairs(boards, images, 7, 10).incidence(np.array(order))
    plain = Incidence.from_pairs(boards, images, 7, 10)
    for row, image in enumerate(order):
        assert graph.boards_of(row).tolist() == plain.boards_of(image).tolist()
    for board in range(7):
        held = graph.images_of(board).tolist()
        assert held == sorted(held)
        assert {order[row] for row in held} == set(plain.images_of(board).tolist())


def test_a_pin_on_no_board_is_left_out_of_the_graph():
    boards = np.array([0, NO_ROW, 1], np.uint32)
    grouped = group_pairs(boards, np.array([0, 1, 1], np.uint32), 2, 2)
    assert grouped.degrees.tolist() == [1, 1]
    assert grouped.sizes.tolist() == [1, 1]


def test_a_matrix_may_have_repeats_disorder_and_stored_zeros():
    matrix = scipy.sparse.csr_array(
        (np.array([1, 1, 0, 2]), np.array([2, 0, 1, 2]), np.array([0, 3, 4])), shape=(2, 3)
    )
    graph = Incidence.from_matrix(matrix)
    assert lists(graph.board_indptr, graph.board_images) == [[0, 2], [2]]
    assert matrix.nnz == 4, "the caller's matrix is not changed"
    assert matrix.indices.tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize(
    ("boards", "images", "message"),
    [
        ([0.5], [1], "boards column must hold whole numbers. Got dtype float64"),
        ([0], [-1], r"images column must hold rows from 0 to .* Got values from -1"),
        ([0, 1], [1], r"two columns of one length. Got shapes \(2,\) and \(1,\)"),
    ],
)
def test_wrong_columns_are_named(boards, images, message):
    with pytest.raises(ConfigError, match=message):
        Incidence.from_pairs(np.array(boards), np.array(images))


def test_a_row_past_the_stated_size_is_refused():
    with pytest.raises(ConfigError, match="images column must hold rows from 0 to 2"):
        Incidence.from_pairs(np.array([0]), np.array([3]), 1, 3)


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ConfigError, match="must be a SciPy sparse matrix .* Got ndarray"):
        Incidence.from_matrix(np.eye(3))
