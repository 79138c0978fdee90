"""Graphs that change, and versions of them that do not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from references import boards_matrix

from pinjoin.candidates.cooccurrence import Cooccurrence
from pinjoin.core.growing_graph import GrowingGraph
from pinjoin.core.incidence import Incidence

BOARDS = [[0, 1, 2], [2, 3], [], [0]]
N = 5


def growing(room: int = 3) -> GrowingGraph:
    graph = Incidence.from_matrix(boards_matrix(BOARDS, N))
    rooms = (
        np.append(a, np.zeros(room, np.uint32)) for a in (graph.board_images, graph.image_boards)
    )
    return GrowingGraph(graph, *rooms)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 7), st.integers(0, 8)),
        st.tuples(st.just("remove"), st.integers(0, 7), st.integers(0, 8)),
        st.tuples(st.sampled_from(["image", "board"]), st.none(), st.none()),
    ),
    max_size=40,
)


@given(steps, st.integers(1, 4))
def test_versions_are_what_the_graph_was(steps, every):
    """A version, looked at when all is over, has the pairs there were when it was made, though
    the memory of those that nobody has kept is used again."""
    graph, pairs = growing(), {(b, i) for b, images in enumerate(BOARDS) for i in images}
    made = [(graph.version(), frozenset(pairs), graph.n_boards, graph.n_images)]
    for number, (kind, board, image) in enumerate(steps):
        if kind == "image":
            assert graph.add_image() == graph.n_images - 1
        elif kind == "board":
            assert graph.add_board() == graph.n_boards - 1
        elif board < graph.n_boards and image < graph.n_images:
            if kind == "add":
                graph.add(board, image)
                pairs.add((board, image))
            else:
                graph.remove(np.array([board], np.uint32), np.array([image], np.uint32))
                pairs.discard((board, image))
            assert graph.has(board, image) == (kind == "add")
        version = graph.version()
        if number % every == 0:
            made.append((version, frozenset(pairs), graph.n_boards, graph.n_images))
    for version, expected, n_boards, n_images in made:
        assert (version.n_boards, version.n_images) == (n_boards, n_images)
        assert version.n_saves == len(expected)
        of_boards = [(b, i) for b in range(n_boards) for i in version.images_of(b).tolist()]
        of_images = [(b, i) for i in range(n_images) for b in version.boards_of(i).tolist()]
        assert len(of_boards) == len(of_images) == len(expected), "each once"
        assert set(of_boards) == set(of_images) == expected
        assert version.degrees.max(initial=0) <= version.most_boards
        whole = version.as_incidence()
        assert whole.degrees.tolist() == version.degrees.tolist()
        assert whole.sizes.tolist() == version.sizes.tolist()


def test_many_pairs_are_removed_at_once():
    graph = growing()
    graph.remove(np.array([0, 0, 3], np.uint32), np.array([0, 2, 0], np.uint32))
    version = graph.version()
    assert [version.images_of(board).tolist() for board in range(4)] == [[1], [2, 3], [], []]
    assert version.boards_of(0).tolist() == []
    assert version.n_saves == 3


def test_a_board_that_is_forgotten_counts_no_more():
    graph = growing()
    graph.forget_board()
    assert (graph.version().n_boards, graph.version().boards_there) == (4, 3)


def test_an_image_may_come_to_be_on_more_boards_than_any_before():
    """More than a byte counts: the counters are made for the most boards there are."""
    graph = growing()
    counter = Cooccurrence(graph.version())
    assert counter.top(0).counts.tolist() == [1, 1]
    for _ in range(300):
        board = graph.add_board()
        graph.add(board, 0)
        graph.add(board, 1)
    found = counter.over(graph.version()).top(0)
    assert found.indices.tolist() == [1, 2]
    assert found.counts.tolist() == [301, 1]
