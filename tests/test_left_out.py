"""What is known of images without some of their pins."""

from __future__ import annotations

import numpy as np
import pytest
from test_build import build

import pinjoin
from pinjoin.core.incidence import Incidence
from pinjoin.features.text import NO_TERM
from pinjoin.training.left_out import Described, describe_without, pins_of_saves

BOARDS = [
    ("b1", "Green rooms", "Living"),
    ("b2", "Red kitchens", "Kitchen"),
    ("b3", "Blue baths", "Bath"),
]
PINS = [
    ("p1", "b1", "lamp.jpg", "Green lamp"),
    ("p2", "b2", "lamp.jpg", "Red lamp"),
    ("p3", "b3", "lamp.jpg", "Blue lamp"),
    ("p4", "b1", "sofa.jpg", "Green sofa"),
    ("p5", "b2", "oven.jpg", "Red oven"),
    ("p6", "b3", "bath.jpg", "Blue bath"),
    ("p7", "b2", "sofa.jpg", "Red sofa"),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> pinjoin.Workspace:
    folder = tmp_path_factory.mktemp("left_out")
    build(folder, PINS, BOARDS)
    return pinjoin.open(folder / "ws")


def described(ws: pinjoin.Workspace, rows: list[int], gone: list[tuple[str, str]]) -> Described:
    """The rows without the pins of (board_id, image) saves."""
    boards = np.array([ws.find_board(board) for board, _ in gone], np.uint32)
    images = np.array([ws.find(image) for _, image in gone], np.uint32)
    pairs = np.repeat(np.arange(ws.n_boards), ws.incidence.sizes), ws.incidence.board_images
    kept = [pair not in set(zip(boards, images, strict=True)) for pair in zip(*pairs, strict=True)]
    left = Incidence.from_pairs(pairs[0][kept], pairs[1][kept], ws.n_boards, ws.n_images)
    whole = Described(ws.annotations, ws.topics, ws.categories)
    pins = pins_of_saves(ws, boards, images)
    return describe_without(ws, whole, np.array(rows, np.uint32), pins, left)


def test_leaving_nothing_out_changes_nothing(workspace):
    found = described(workspace, list(range(workspace.n_images)), [])
    np.testing.assert_array_equal(found.annotations.ids, workspace.annotations.ids)
    np.testing.assert_allclose(found.annotations.weights, workspace.annotations.weights, atol=1e-6)
    np.testing.assert_array_equal(found.categories.ids, workspace.categories.ids)
    np.testing.assert_allclose(found.topics.vectors, workspace.topics.vectors, atol=2e-3)


def test_neither_the_pin_nor_its_board_is_heard_any_more(workspace):
    lamp = workspace.find("lamp.jpg")
    assert {"red", "kitchens"} & {term for term, _ in workspace.annotations.of(lamp)}
    found = described(workspace, [lamp], [("b2", "lamp.jpg")])
    said = {term for term, _ in found.annotations.of(0)}
    assert not {term for term in said if "red" in term or "kitchen" in term}
    assert "green" in said
    assert dict(found.categories.of(0)) == {"Living": 1 / 2, "Bath": 1 / 2}


def test_an_image_of_which_nothing_is_left_has_no_content(workspace):
    oven = workspace.find("oven.jpg")
    found = described(workspace, [oven], [("b2", "oven.jpg")])
    assert (found.annotations.ids == NO_TERM).all()
    assert not found.annotations.weights.any()
    assert not found.topics.vectors.any()
    assert found.categories.of(0) == []


def test_the_pins_of_saves_are_those_on_that_board_only(workspace):
    pins = pins_of_saves(
        workspace,
        np.array([workspace.find_board("b2")], np.uint32),
        np.array([workspace.find("lamp.jpg")], np.uint32),
    )
    ids = workspace.snapshot.table("pins")["pin_id"].to_pylist()
    assert [ids[i] for i in np.flatnonzero(pins)] == ["p2"]


def test_a_real_catalogue_is_described_as_its_build_did(data, tmp_path):
    ikea = data / "ikea"
    pinjoin.build(
        tmp_path,
        *(pinjoin.open_source(kind, str(ikea / f"{kind}.csv")) for kind in ("pins", "boards")),
        encoder=None,
    )  # fmt: skip
    ws = pinjoin.open(tmp_path)
    rows = list(range(0, ws.n_images, 7))
    found = described(ws, rows, [])
    np.testing.assert_array_equal(found.annotations.ids, ws.annotations.ids[rows])
    np.testing.assert_array_equal(found.categories.shares, ws.categories.shares[rows])
