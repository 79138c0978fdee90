"""The chain of sources on real catalogues and a small one with pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from test_build import build

import pinjoin
from pinjoin.core.errors import InputError, UnknownIdError
from pinjoin.features.pairs import PairConfig
from pinjoin.ranker import feature_config
from pinjoin.ranking.model import About, LinearModel, split_schema
from pinjoin.ranking.store import save_model
from pinjoin.recommender import Wishes


@pytest.fixture(scope="module")
def pictured(tmp_path_factory) -> pinjoin.Workspace:
    """Six pictures: a pattern, its copy in another quality, and four others."""
    folder = tmp_path_factory.mktemp("pictured")
    photos = folder / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 160, dtype=np.uint8)
    pattern = np.stack(np.meshgrid(ramp, ramp[::-1]), axis=-1)
    pattern = np.dstack([pattern, pattern[:, :, :1] // 2]).copy()
    pattern[40:100, 50:110] = (250, 240, 30)
    Image.fromarray(pattern).save(photos / "pattern.jpg", quality=95)
    Image.fromarray(pattern).save(photos / "copy.jpg", quality=85)
    others = [
        np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((20, 20, 1))),
        np.tile(np.where(np.arange(160) // 8 % 2, 255, 0)[:, None, None], (1, 160, 3)),
        np.full((160, 160, 3), (200, 30, 40)),
        rng.integers(0, 255, (160, 160, 3)),
    ]
    for i, other in enumerate(others):
        Image.fromarray(other.astype(np.uint8)).save(photos / f"other{i}.jpg")
    pins = [
        ("p0", "b1", "photos/pattern.jpg", "Green lamp"),
        ("p1", "", "photos/copy.jpg", "Lamp"),
        ("p2", "b1", "photos/other0.jpg", "Chair"),
        ("p3", "", "photos/other1.jpg", "Green lamp"),
        ("p4", "b2", "photos/other2.jpg", "Sofa"),
        ("p5", "b2", "photos/other3.jpg", ""),
    ]
    build(folder, pins, images=photos)
    return pinjoin.open(folder / "ws")


def test_every_source_has_its_turn_and_copies_come_last(pictured):
    found = pictured.related("p0", 5)
    assert len(found) == 5
    assert (found[0].pin_id, found[0].source) == ("p2", "co-occurrence")
    assert found[1].pin_id == "p3"
    assert found[1].source in ("visual neighbours", "text neighbours")
    assert "lamp" in found[1].reasons["words"]
    assert found[-1].pin_id == "p1", "nearly the query's own picture: only where nothing else is"
    assert found[-1].reasons["visual_similarity"] > 0.94


def test_an_item_on_no_board_finds_what_is_like_it(pictured):
    found = pictured.related("p3", 5)
    assert {one.pin_id for one in found[:2]} & {"p0", "p1"}
    assert all(one.shared_boards == 0 for one in found)


def model_of(workspace: pinjoin.Workspace, trained_on: str) -> LinearModel:
    """One that likes what is on many boards, and nothing else."""
    names, definitions = split_schema(workspace.pair_features().schema)
    about = About.now(trained_on, trained_on, "0" * 64, config=feature_config(PairConfig()))
    weights = np.array([float(name == "quality.log_boards") for name in names])
    means, scales = np.zeros(len(names)), np.ones(len(names))
    return LinearModel(about, names, weights, means, scales, definitions)


def test_who_shares_no_board_is_ranked_by_likeness_unless_the_model_learned_that(pictured):
    """A model of boards has never seen such a query; one of logs may have."""
    for trained_on in ("boards", "logs"):
        save_model(pictured.path, model_of(pictured, trained_on), use=False)
    query, copy = pictured.find("p3"), pictured.find("p1")
    rows, scores, _ = pictured.neighbours.search(pictured.content_of(query), 6)
    likeness = {r: s for r, s in zip(rows.tolist(), scores, strict=True) if r not in (query, copy)}
    for model in ("boards", "count"):
        found = pictured.rank(query, 3, Wishes(model=model))
        assert found.rows.tolist() == list(likeness)[:3], "the best first, copies of it later"
        assert found.scores.tolist() == list(likeness.values())[:3]
        assert (found.model, pictured.reasons(found)[0].get("contributions")) == ("count", None)
    apart = pictured.rank(query, 3, Wishes(model="boards", diversity=1.0)).rows.tolist()
    assert apart[0] == next(iter(likeness))
    assert apart != list(likeness)[:3]
    popular = pictured.rank(query, 3, Wishes(model="logs"))
    assert (popular.model, pictured.incidence.degrees[popular.rows].tolist()) == ("logs", [1, 1, 1])
    together = pictured.rank(pictured.find("p0"), 3, Wishes(model="boards"))
    assert together.model == "boards"


def test_a_picture_from_outside(pictured, tmp_path):
    Image.open(pictured.path.parent / "photos" / "pattern.jpg").save(tmp_path / "mine.png")
    found = pictured.related(str(tmp_path / "mine.png"), 3)
    assert found[0].pin_id in ("p0", "p1")
    assert found[0].source == "visual neighbours"
    assert found[0].reasons["visual_similarity"] > 0.9
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        pictured.related(str(tmp_path / "broken.jpg"))
    with pytest.raises(UnknownIdError):
        pictured.related(str(tmp_path / "missing.jpg"))


def test_excluded_ids_never_come(pictured):
    found = pictured.related("p0", 10, exclude=["p2", "photos/other2.jpg"])
    assert {"p2", "p4"}.isdisjoint(one.pin_id for one in found)
    assert len(found) == 3


def test_a_longer_list_begins_with_the_shorter(pictured):
    longest = [one.pin_id for one in pictured.related("p0", 5)]
    for n in range(1, 4):
        assert [one.pin_id for one in pictured.related("p0", n)] == longest[:n]


def test_a_workspace_without_pictures_says_so(tmp_path):
    build(tmp_path, encoder=None)
    Image.new("RGB", (32, 32)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"built without pictures.*--images DIR"):
        pinjoin.open(tmp_path / "ws").related(str(tmp_path / "x.png"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ikea", "movies"])
def test_every_pinjoin_of_real_catalogues_gets_50(data, tmp_path, name):
    pinjoin.build(
        tmp_path,
        pinjoin.open_source("pins", str(data / name / "pins.csv")),
        pinjoin.open_source("boards", str(data / name / "boards.csv")),
        encoder=None,
    )
    workspace = pinjoin.open(tmp_path)
    for signature in workspace.signatures().to_pylist()[::5]:
        found = [one.signature for one in workspace.related(signature, 50, explain=False)]
        assert len(set(found)) == 50
        assert signature not in found
