"""Encoders of one's own, from `encoders add` to answers, and the real values they give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from test_build import PINS, build

import pinjoin
from pinjoin.cli import cli
from pinjoin.core.errors import ConfigError, InputError
from pinjoin.features.shelf import workspace_folder
from pinjoin.features.visual import load_encoder

pytest.importorskip("onnxruntime", reason='needs pip install "pinjoin[visual]"')
onnx = pytest.importorskip("onnx", reason="builds tiny models; pip install onnx")

SIDE, PATCH, WIDTH, UNITS = 32, 8, 16, 24

CARD: dict[str, Any] = {
    "format": 1,
    "name": "tower",
    "licence": "MIT",
    "source": "made in a test",
    "input": {
        "size": [SIDE, SIDE],
        "mean": [0.48, 0.46, 0.41],
        "std": [0.27, 0.26, 0.28],
        "pixels": "0-1",
    },
    "fc6": {"output": "image_embeds", "units": UNITS, "rule": "hyperplanes", "bits": 256},
}
"""As short as a card may be."""


def tower(path: Path, *spoilt: str) -> Path:
    """The image half of a small CLIP-like model: patches, LayerNorm, GELU, one unit vector out.

    spoilt: "baked" takes two pictures a call only, though it says otherwise; "pairing" makes two
    of one; "training" looks at all pictures of a call at once.
    """
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(3)
    weights = {
        "patches.w": random.normal(size=(WIDTH, 3, PATCH, PATCH)) / PATCH,
        "norm.w": np.ones(WIDTH),
        "norm.b": np.zeros(WIDTH),
        "project.w": random.normal(size=(WIDTH, UNITS)),
    }
    initial = [numpy_helper.from_array(np.float32(w), name) for name, w in weights.items()]
    shape = {"baked": [2, WIDTH, (SIDE // PATCH) ** 2], "pairing": [2, WIDTH, -1]}
    flat = next((shape[how] for how in spoilt if how in shape), [0, WIDTH, -1])  # 0: as it is
    initial.append(numpy_helper.from_array(np.array(flat, np.int64), "flat"))
    initial.append(numpy_helper.from_array(np.array([1], np.int64), "tokens"))
    initial.append(numpy_helper.from_array(np.array([0], np.int64), "batch"))
    node = helper.make_node
    nodes = [
        node("Conv", ["pixel_values", "patches.w"], ["maps"], strides=[PATCH, PATCH]),
        node("Reshape", ["maps", "flat"], ["flattened"]),
        node("Transpose", ["flattened"], ["patches"], perm=[0, 2, 1]),
        node("LayerNormalization", ["patches", "norm.w", "norm.b"], ["normed"]),
        node("Gelu", ["normed"], ["active"]),
        node("ReduceMean", ["active", "tokens"], ["pooled"], keepdims=0),
        node("ReduceMean", ["pooled", "batch"], ["mean"], keepdims=1),
        node("Sub", ["pooled", "mean"], ["spread"]),
        node("MatMul", ["spread" if "training" in spoilt else "pooled", "project.w"], ["long"]),
        node("LpNormalization", ["long"], ["image_embeds"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tower",
        [
            helper.make_tensor_value_info(
                "pixel_values", TensorProto.FLOAT, ["batch_size", 3, SIDE, SIDE]
            )
        ],
        [helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["batch_size", UNITS])],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, path)
    path.with_suffix(".json").write_text(json.dumps(CARD))
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "pinjoin" / "encoders"


@pytest.fixture
def shop(tmp_path: Path, home: Path) -> Path:
    """A folder with pictures for `build`."""
    (tmp_path / "img").mkdir()
    for seed, name in enumerate(("kettle", "cup", "sky", "lonely")):
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40)).save(tmp_path / "img" / f"{name}.jpg")
    return tmp_path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def build_by_command(shop: Path, *more: object) -> str:
    build(shop, encoder=None)  # writes the tables, too
    tables = ("--pins", shop / "pins.csv", "--boards", shop / "boards.csv")
    return run("build", shop / "ws", *tables, *more)


@pytest.mark.parametrize("where", ["user", "workspace"])
def test_an_added_encoder_sees_the_pictures_of_a_build_and_of_a_query(shop, where):
    workspace = ("--workspace", shop / "ws") if where == "workspace" else ()
    run("encoders", "add", tower(shop / "model.onnx"), "--images", shop / "img", *workspace)
    for path in shop.glob("model.*"):
        path.unlink()
    assert "4 pictures were looked at." in build_by_command(shop, "--encoder", "tower")
    built = pinjoin.open(shop / "ws")
    assert built.pictures.encoder == "tower"
    assert built.pictures.n_bits == 256
    assert built.pictures.ids is None, "it names no classes"
    encoder = load_encoder("tower", folders=[workspace_folder(shop / "ws")])
    cup = built.find("img/cup.jpg")
    expected = encoder.binarise(encoder.encode([shop / "img" / "cup.jpg"])[0])
    assert np.array_equal(built.pictures.bits[cup : cup + 1], expected)
    Image.open(shop / "img" / "cup.jpg").save(shop / "photo.png")
    [best] = built.related(str(shop / "photo.png"), 1)
    assert best.signature == "img/cup.jpg"


def test_an_encoder_may_be_a_file_and_is_found_from_anywhere(shop, monkeypatch):
    tower(shop / "model.onnx")
    monkeypatch.chdir(shop)
    build_by_command(shop, "--encoder", "model.onnx")
    monkeypatch.chdir("/")
    built = pinjoin.open(shop / "ws")
    assert built.pictures.encoder == str(shop / "model.onnx")
    [best] = built.related(str(shop / "img" / "sky.jpg"), 1)
    assert best.signature == "img/sky.jpg"


def test_an_unknown_encoder_is_an_error_before_any_work(shop):
    with pytest.raises(InputError, match="no encoder named 'resnet'. Known are efficientnet"):
        build(shop, encoder="resnet")
    assert not (shop / "ws").exists()


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ("baked", r"model.onnx: ONNX Runtime cannot run it on 1 picture.*any number"),
        ("pairing", r"model.onnx: output 'image_embeds' has 2 rows for 1 picture.*any number"),
        ("training", r"model.onnx: sees a picture differently when others are beside it"),
    ],
)
def test_a_model_that_does_not_work_is_not_added(shop, home, spoilt, why):
    with pytest.raises(InputError, match=why):
        run("encoders", "add", tower(shop / "model.onnx", spoilt))
    assert not list(home.glob("*"))


def test_a_model_whose_weights_lie_elsewhere_is_not_added(shop, home):
    whole = tower(shop / "model.onnx")
    model = onnx.load(whole)
    onnx.save(model, whole, save_as_external_data=True, location="weights", size_threshold=1000)
    assert load_encoder(whole).bits == 256  # where it stands it works
    with pytest.raises(InputError, match=r"model.onnx: keeps its weights in another file. Save"):
        run("encoders", "add", whole)
    assert not list(home.glob("*"))


def test_a_damaged_model_is_not_added(shop, home):
    model = tower(shop / "model.onnx")
    model.with_suffix(".json").write_text(json.dumps(CARD | {"model_sha256": "0" * 64}))
    with pytest.raises(InputError, match="its checksum is .*, its card says 0000"):
        run("encoders", "add", model)


def test_real_values_are_kept_only_if_asked_for(shop, monkeypatch):
    build(shop)
    assert pinjoin.open(shop / "ws").pictures.fc6 is None
    (shop / "img" / "sky.jpg").unlink()
    build_by_command(shop, "--keep-embeddings")
    built = pinjoin.open(shop / "ws")
    pictures = built.pictures
    assert pictures.fc6.dtype == np.float16
    assert pictures.fc6.shape == (4, load_encoder().card.fc6.units)
    assert built.snapshot.manifest.config["keep_embeddings"] is True
    for row, name in enumerate(built.signatures().to_pylist()):
        if name == "img/sky.jpg":
            assert not pictures.fc6[row].any()
        else:
            expected = load_encoder().encode([shop / name])[0][0]
            assert np.allclose(pictures.fc6[row], expected, rtol=2e-3, atol=1e-3)
    # Out of the cache, without looking: the same bytes.
    before = pictures.fc6.copy()
    monkeypatch.delattr("pinjoin.features.visual.Encoder.visual")
    build(shop, keep_embeddings=True)
    assert np.array_equal(pinjoin.open(shop / "ws").pictures.fc6, before)


def test_real_values_need_an_encoder(shop):
    with pytest.raises(ConfigError, match="keep_embeddings parameter of build must be False where"):
        build(shop, PINS, encoder=None, keep_embeddings=True)
    result = CliRunner().invoke(
        cli,
        ["build", "ws", "--pins", "p", "--boards", "b", "--encoder", "none", "--keep-embeddings"],
    )
    assert result.exit_code == 2
    assert "--keep-embeddings needs an encoder" in result.output
