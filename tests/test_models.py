"""Models: readable files, refused where they do not fit; versions in a workspace."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import pinjoin.ranking.lambdamart as lambdamart
from pinjoin.cli.models import models as models_command
from pinjoin.core.errors import ConfigError, InputError
from pinjoin.ranking import store
from pinjoin.ranking.lambdamart import LambdaMartConfig, fit_lambdamart, fit_lists
from pinjoin.ranking.model import (
    About,
    LinearModel,
    from_json,
    from_ranksvm,
    read_model,
    require_schema,
    schema_hash,
    to_json,
)
from pinjoin.ranking.ranksvm import RankSVM

FILES = Path(__file__).parent / "data"
FEATURES = ("cooccurrence.count", "visual.fc6_similarity", "text.similarity")
ABOUT = About(
    name="logs-1", created_at="2024-05-01T10:00:00Z", trained_on="logs", data_hash="ab" * 32,
    metrics={"triplets in order": 0.75}, config={"C": 1.0}, pinjoin_version="0.1.0",
)  # fmt: skip


def linear(**change: Any) -> LinearModel:
    parts = {"about": ABOUT, "features": FEATURES, "weights": [0.5, 2.0, -0.25],
             "means": [10.0, 0.5, 0.0], "scales": [4.0, 0.1, 1.0]}  # fmt: skip
    return LinearModel(**(parts | change))


def documents(n: int, features: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, features))


# Scores and reasons


def test_a_score_is_the_sum_of_what_each_feature_adds() -> None:
    x = np.array([[12.0, 0.75, 2.0]])
    model = linear()
    parts = [0.5 * (12.0 - 10.0), 2.0 * (0.75 - 0.5), -0.25 * (2.0 - 0.0)]
    assert model.contributions(x).tolist() == [parts]
    assert model.score(x).tolist() == pytest.approx([sum(parts)])
    assert model.score(np.array([[10.0, 0.5, 0.0]])).tolist() == [0.0]  # average in everything


@given(st.integers(0, 1000))
def test_contributions_sum_to_the_score(seed: int) -> None:
    better, worse = documents(30, seed=seed), documents(30, seed=seed + 1)
    svm = RankSVM().fit(better, worse)
    model = from_ranksvm(svm, FEATURES, ABOUT)
    np.testing.assert_allclose(
        model.contributions(better).sum(axis=1), model.score(better), atol=1e-12
    )
    # The ranking is the RankSVM's: all scores are less by the same.
    away = svm.decision_function(better) - model.score(better)
    np.testing.assert_allclose(away, away[0], atol=1e-12)
    assert model.about.config == {"C": 1.0}


# Files


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=9, max_size=9),
    st.text(min_size=1, max_size=20),
)
def test_save_and_load_give_the_same_answers(numbers: list[float], name: str) -> None:
    model = linear(
        about=replace(ABOUT, trained_on=name),
        features=(f"{name}.a", f"{name}.b", "ü"),
        weights=numbers[:3], means=numbers[3:6], scales=numbers[6:],
        definitions=(name, "", "encoder 1"),
    )  # fmt: skip
    again = from_json(to_json(model), "it")
    assert isinstance(again, LinearModel)
    for attribute in ("weights", "means", "scales"):
        assert getattr(again, attribute).tobytes() == getattr(model, attribute).tobytes()
    assert (again.about, again.features) == (model.about, model.features)
    assert again.definitions == model.definitions
    assert to_json(again) == to_json(model)


def test_a_file_has_one_line_per_feature() -> None:
    lines = to_json(linear()).splitlines()
    assert [line for line in lines if "fc6" in line] == [
        '    {"name": "visual.fc6_similarity", "weight": 2.0, "mean": 0.5, "scale": 0.1},'
    ]


def test_files_of_format_1_are_read_for_ever() -> None:
    model = read_model(FILES / "model-1-linear.json", FEATURES)
    assert model.score(np.array([[12.0, 0.75, 2.0]])).tolist() == pytest.approx([1.0 + 0.5 - 0.5])
    assert model.about == ABOUT
    assert to_json(model) == (FILES / "model-1-linear.json").read_text("utf-8")


def test_trees_of_format_1_are_read_for_ever() -> None:
    pytest.importorskip("lightgbm", reason="the extra gbdt is not installed")
    model = read_model(FILES / "model-1-lambdamart.json", FEATURES)
    x = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    assert model.score(x).tolist() == pytest.approx([1.63982825, -1.08504258])
    assert to_json(model) == (FILES / "model-1-lambdamart.json").read_text("utf-8")


def changed(**change: Any) -> str:
    return json.dumps(json.loads(to_json(linear())) | change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is not a model"),
        ("[1, 2]", "it is not a model"),
        ('{"kind": "linear"}', "it is not a model"),
        (to_json(linear())[:-40], "it is not a model"),
        (changed(format_version=2), "is a model of format 2.*reads format 1.*0.1.0"),
        (changed(kind="forest"), "is a model of kind 'forest'"),
        (changed(features=[]), "one name at least"),
        (changed(features=[{"name": "a"}]), "KeyError: 'weight'"),
        (changed(features=[{"name": "a", "weight": "x", "mean": 0, "scale": 1}]), "ValueError"),
        (changed(features=json.loads(changed())["features"][:2]), r"\(schema_hash\)"),
        (changed(metrics=None), "TypeError"),
    ],
)
def test_what_is_no_model_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"m.json.*{message}|m.json is a.*{message}"):
        from_json(text, "m.json")


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    whole = to_json(linear())
    for end in range(0, len(whole) - 2, 7):
        with pytest.raises(InputError, match="cannot be used as a model"):
            from_json(whole[:end], "m.json")


def test_metrics_must_be_numbers_json_knows() -> None:
    with pytest.raises(ConfigError, match="must be finite numbers"):
        to_json(linear(about=replace(ABOUT, metrics={"x": float("nan")})))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ("a", "a", "b")}, "names that differ"),
        ({"weights": [1.0]}, "weights parameter of LinearModel must be 3 finite numbers"),
        ({"means": [1.0, np.nan, 0]}, "means parameter"),
    ],
)
def test_a_model_of_wrong_numbers_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        linear(**change)


def test_features_of_another_width_are_refused() -> None:
    for ask in (linear().score, linear().contributions):
        with pytest.raises(InputError, match=r"\(documents, 3\), in the model's order"):
            ask(np.zeros((2, 4)))


# Schemas


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (FEATURES[:2], "the model has text.similarity, which the catalogue lacks"),
        ((*FEATURES, "new"), "the catalogue has new, which the model does not know"),
        (("a", *FEATURES[1:]), "has cooccurrence.count, which .*lacks; the catalogue has a, which"),
        (FEATURES[::-1], "the features are in another order"),
        (dict.fromkeys(FEATURES, "") | {FEATURES[1]: "vgg"},
         "visual.fc6_similarity was made by '' and is by 'vgg'"),
        ([f"f{i}" for i in range(20)], "f7 and 12 more"),
    ],
)  # fmt: skip
def test_other_features_are_refused_by_name(schema: Any, message: str) -> None:
    require_schema(linear(), FEATURES)
    with pytest.raises(InputError, match=f"'logs-1' does not fit.*{message}.*pinjoin train"):
        require_schema(linear(), schema)


def test_schema_hashes_differ_with_names_order_and_definitions() -> None:
    schemas: list[Any] = [FEATURES, FEATURES[::-1], ["a,b"], ["a", "b"], {"a": "x", "b": ""}]
    assert len({schema_hash(s) for s in schemas}) == len(schemas)
    assert schema_hash(FEATURES) == schema_hash(list(FEATURES))
    # Stored in files: it may never change.
    assert schema_hash(["a"]) == hashlib.sha256(b'[["a"],[""]]').hexdigest()


# Workspaces


def named(name: str, created: str = "2024-05-01T10:00:00Z", **change: Any) -> LinearModel:
    return linear(about=replace(ABOUT, name=name, created_at=created), **change)


def test_a_workspace_keeps_versions_and_uses_one(tmp_path: Path) -> None:
    assert store.list_models(tmp_path) == []
    assert store.current_model(tmp_path) is None
    store.save_model(tmp_path, named("a"))
    store.save_model(tmp_path, named("b", "2024-06-01T00:00:00Z", weights=[1, 2, 3]), use=False)
    assert [(i.name, i.current) for i in store.list_models(tmp_path)] == [("b", False), ("a", True)]
    assert store.load_model(tmp_path).about.name == "a"
    store.use_model(tmp_path, "b", FEATURES)
    assert store.load_model(tmp_path, schema=FEATURES).score(np.ones((1, 3))) != 0
    assert store.current_model(tmp_path) == "b"


def test_a_saved_model_is_never_overwritten(tmp_path: Path) -> None:
    path = store.save_model(tmp_path, named("a"))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="There is a model 'a' already"):
        store.save_model(tmp_path, named("a", weights=[9, 9, 9]))
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.json", "current"]


@pytest.mark.parametrize("name", ["", "../x", ".x", "current", "a/b", "x" * 101])
def test_names_are_plain_file_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="A model's name must be"):
        store.save_model(tmp_path, named(name))
    with pytest.raises(InputError, match="has no model"):
        store.load_model(tmp_path, name or "?")


def test_an_unusable_model_is_not_switched_to(tmp_path: Path) -> None:
    store.save_model(tmp_path, named("good"))
    bad = store.save_model(tmp_path, named("bad"), use=False)
    bad.write_text("{")
    with pytest.raises(InputError, match="bad.json cannot be used"):
        store.use_model(tmp_path, "bad")
    with pytest.raises(InputError, match="does not fit"):
        store.use_model(tmp_path, "good", ["other"])
    with pytest.raises(InputError, match="Did you mean good"):
        store.use_model(tmp_path, "goood")
    assert store.current_model(tmp_path) == "good"
    problems = {i.name: i.problem for i in store.list_models(tmp_path)}
    assert problems["good"] is None
    assert "cannot be used" in str(problems["bad"])


def test_no_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="uses no model. Train one"):
        store.load_model(tmp_path)


KILLED = """
import os, sys
from pathlib import Path
from pinjoin.ranking import store
from pinjoin.ranking.model import read_model
real = os.fsync
calls = 0
def fsync(descriptor):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os._exit(9)
    real(descriptor)
os.fsync = fsync
store.save_model(Path(sys.argv[1]), read_model(Path(sys.argv[2])))
"""


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_killed_save_leaves_the_model_before(tmp_path: Path, at: int) -> None:
    store.save_model(tmp_path, named("old"))
    new = FILES / "model-1-linear.json"
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(new), str(at)], env=dict(os.environ)
    )
    assert run.returncode == 9
    # The fourth is of the folder, after the switch.
    assert store.load_model(tmp_path).about.name == ("logs-1" if at == 4 else "old")
    assert all(info.problem is None for info in store.list_models(tmp_path))


def test_a_diff_puts_the_largest_change_first() -> None:
    before = linear()
    after = linear(features=(*FEATURES[:2], "new"), weights=[0.5, 1.0, 3.0])
    changes = store.diff_models(before, after)
    assert [(c.feature, c.before, c.after) for c in changes] == [
        ("new", None, 3.0), ("text.similarity", -0.25, None), ("visual.fc6_similarity", 2.0, 1.0)
    ]  # fmt: skip
    assert changes[2].effect_before == pytest.approx(2.0 * 0.1)
    assert store.diff_models(before, before) == []


# Trees


def planted(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The better has the higher product of features 0 and 1: no linear model can know."""
    a, b = documents(n, seed=seed), documents(n, seed=seed + 100)
    swap = (a[:, 0] * a[:, 1] < b[:, 0] * b[:, 1])[:, None]
    return np.where(swap, b, a), np.where(swap, a, b)


def test_trees_learn_what_no_weights_can_and_explain_it(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm", reason="the extra gbdt is not installed")
    config = LambdaMartConfig(trees=60, threads=1)
    model = fit_lambdamart(*planted(3000, 0), FEATURES, ABOUT, config)
    better, worse = planted(1000, 1)
    assert np.mean(model.score(better) > model.score(worse)) > 0.85
    assert RankSVM().fit(*planted(3000, 0)).score(better, worse) < 0.6
    np.testing.assert_allclose(
        model.contributions(better).sum(axis=1), model.score(better), atol=1e-9
    )
    assert fit_lambdamart(*planted(3000, 0), FEATURES, ABOUT, config).trees == model.trees
    store.save_model(tmp_path, model)
    again = store.load_model(tmp_path, schema=FEATURES)
    assert again.score(better).tobytes() == model.score(better).tobytes()
    with pytest.raises(ConfigError, match="has no weights to compare"):
        store.diff_models(model, again)
    with pytest.raises(InputError, match=r"\(documents, 3\)"):
        again.score(np.zeros((1, 2)))


def test_lists_are_learned_in_their_order() -> None:
    pytest.importorskip("lightgbm", reason="the extra gbdt is not installed")
    x = documents(3000)
    relevance = np.digitize(x[:, 1], [-0.5, 0.5])  # 0, 1, 2
    config = LambdaMartConfig(trees=20, threads=1)
    model = fit_lists(x, relevance, np.full(300, 10), FEATURES, ABOUT, config)
    low, middle, high = (model.score(x[relevance == r]).mean() for r in range(3))
    assert low < middle < high
    with pytest.raises(InputError, match="sizes must add up"):
        fit_lists(x, relevance, np.full(10, 10), FEATURES, ABOUT)
    with pytest.raises(ConfigError, match="learning_rate parameter"):
        LambdaMartConfig(learning_rate=0)


def test_without_lightgbm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'pinjoin[gbdt]'")):
        fit_lambdamart(*planted(10, 0), FEATURES, ABOUT)
    model = read_model(FILES / "model-1-lambdamart.json")  # can be looked at all the same
    assert model.features == FEATURES
    with pytest.raises(ConfigError, match="needs LightGBM"):
        model.score(np.zeros((1, 3)))


def test_damaged_trees_are_refused() -> None:
    pytest.importorskip("lightgbm", reason="the extra gbdt is not installed")
    model = lambdamart.TreeModel(ABOUT, FEATURES, ("tree", "of nothing"), 0.0)
    with pytest.raises(InputError, match="The trees of the model 'logs-1' cannot be read"):
        model.score(np.zeros((1, 3)))


# The command


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    store.save_model(tmp_path, named("old"))
    store.save_model(tmp_path, named("new", "2024-06-01T00:00:00Z", weights=[0.5, 1.0, -0.25]))
    return tmp_path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(models_command, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_lists_shows_switches_and_compares(workspace: Path) -> None:
    lines = run("list", workspace).splitlines()
    assert lines[1].split()[:3] == ["*", "new", "linear"]
    assert "triplets in order 0.75" in lines[2]
    shown = run("show", workspace, "old").splitlines()
    assert shown[0] == "old: linear, trained on logs, 2024-05-01T10:00:00Z"
    assert shown[4].split()[:2] == ["cooccurrence.count", "2"]  # 0.5 × 4 is the strongest
    assert "now old" in run("use", workspace, "old")
    assert "visual.fc6_similarity" in run("diff", workspace, "old", "new")
    assert "The weights are the same" in run("diff", workspace, "old")


def test_the_command_answers_in_json(workspace: Path) -> None:
    assert [m["name"] for m in json.loads(run("list", workspace, "--json"))] == ["new", "old"]
    assert json.loads(run("show", workspace, "--json"))["name"] == "new"
    (change,) = json.loads(run("diff", workspace, "old", "new", "--json"))["changes"]
    assert (change["before"], change["after"]) == (2.0, 1.0)


def test_the_command_says_that_there_is_none(tmp_path: Path) -> None:
    assert "has no models" in run("list", tmp_path)
