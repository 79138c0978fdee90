"""Which model ranks: the one in use, where it fits; and builds that change what it must fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from serving_fixtures import client_of
from test_build import BOARDS, PINS, build

import pinjoin
from pinjoin.cli import cli
from pinjoin.core.errors import InputError
from pinjoin.features.pairs import PairConfig
from pinjoin.ranker import feature_config, learned_from_boards
from pinjoin.ranking.model import About, LinearModel
from pinjoin.ranking.store import current_model, save_model, use_model


def add_model(workspace: Path, name: str, *more: str, trained_on: str = "logs") -> None:
    """A model of the features a workspace has, and maybe of others, in use."""
    config = PairConfig()
    schema = pinjoin.open(workspace, model="count").pair_features(config).schema
    names = (*schema, *more)
    numbers = np.ones(len(names)), np.zeros(len(names)), np.ones(len(names))
    about = About.now(name, trained_on, "hash", {}, feature_config(config))
    save_model(
        workspace, LinearModel(about, names, *numbers, (*schema.values(), *("",) * len(more)))
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    build(tmp_path, encoder=None, train=False)
    return tmp_path / "ws"


def test_a_new_category_leaves_the_model_in_use(workspace: Path, tmp_path: Path) -> None:
    add_model(workspace, "clicks")
    boards = [*BOARDS, ("b4", "Kimchi", "Korean")]
    summary = build(tmp_path, [*PINS, ("p8", "b4", "img/jar.jpg", "Jar")], boards, encoder=None)
    assert (summary.model, summary.ranks) == (None, "clicks")
    assert pinjoin.open(workspace).model == "clicks"


def test_where_the_model_in_use_does_not_fit_the_one_of_the_boards_ranks(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_model(workspace, "clicks", "feature.gone")
    opened = pinjoin.open(workspace)
    assert opened.model == "count"
    assert opened.related("p1")
    assert "count ranks instead of the model in use. The model 'clicks' does not" in caplog.text
    assert "feature.gone" in caplog.text
    own = learned_from_boards(opened.snapshot.name)
    add_model(workspace, own, trained_on="boards")
    use_model(workspace, "clicks")
    assert pinjoin.open(workspace).model == own
    assert current_model(workspace) == "clicks", "it ranks again where it fits"
    with pytest.raises(InputError, match=r"feature\.gone"):
        pinjoin.open(workspace, model="clicks").related("p1")


def test_a_model_that_does_not_fit_cannot_be_chosen(workspace: Path) -> None:
    add_model(workspace, "clicks", "feature.gone")
    use_model(workspace, "count")
    done = CliRunner().invoke(cli, ["models", "use", str(workspace), "clicks"])
    assert "feature.gone" in str(done.exception)
    assert current_model(workspace) == "count"


def test_a_server_says_that_another_model_ranks(shop: Path) -> None:
    add_model(shop, "clicks", "feature.gone")
    with client_of(shop) as client:
        state = client.get("/readyz").json()
        assert state["ready"]
        assert state["model"].startswith("boards-")
        assert "The model in use, clicks, cannot rank" in state["problem"]
        assert client.get("/v1/related/p0008").status_code == 200
