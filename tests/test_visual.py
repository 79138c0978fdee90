"""Encoders: a contract that any of them must keep, rules for bits and sparse values, the cache."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data.images import ImageError, decode
from pinjoin.features import visual as visual_module
from pinjoin.features.cards import parse_card, read_card
from pinjoin.features.visual import (
    Encoder,
    binarise,
    halved,
    load_encoder,
    median_thresholds,
    softened,
    sparsify,
)

pytest.importorskip("onnxruntime", reason='needs pip install "pinjoin[visual]"')
onnx = pytest.importorskip("onnx", reason="builds tiny models; pip install onnx")

from pinjoin.features.embedding import embed, embed_batches  # noqa: E402
from pinjoin.features.embedding_cache import EmbeddingCache, key_hash, record_type  # noqa: E402

SIDE, UNITS, CLASSES = 8, 12, 40

# ---------------------------------------------------------------- tiny models


def tiny_model(
    path: Path,
    *,
    fc8: bool = True,
    relu: bool = True,
    layout: str = "NCHW",
    maps: bool = False,
    batch: Any = "n",
) -> Path:
    """Mean colour → fc6 (12 units) and fc8 (40 classes), weights from a fixed seed."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(7)
    weights = {
        "w6": random.normal(size=(3, UNITS)).astype(np.float32),
        "w8": random.normal(size=(UNITS, CLASSES)).astype(np.float32),
        "axes": np.array([2, 3] if layout == "NCHW" else [1, 2], dtype=np.int64),
        "maps": np.array([0, UNITS, 1, 1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "w6"], ["plain"]),
        helper.make_node("Relu" if relu else "Identity", ["plain"], ["flat"]),
        helper.make_node("Reshape" if maps else "Identity", ["flat", "maps"][: 1 + maps], ["fc6"]),
        helper.make_node("MatMul", ["flat", "w8"], ["fc8"]),
    ]
    shape = [batch, 3, SIDE, SIDE] if layout == "NCHW" else [batch, SIDE, SIDE, 3]
    out6 = ["n", UNITS, 1, 1] if maps else ["n", UNITS]
    outputs = [helper.make_tensor_value_info("fc6", TensorProto.FLOAT, out6)]
    if fc8:
        outputs.append(helper.make_tensor_value_info("fc8", TensorProto.FLOAT, ["n", CLASSES]))
    graph = helper.make_graph(
        nodes if fc8 else nodes[:-1],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def tiny_card(**changes: Any) -> dict[str, Any]:
    """A card for `tiny_model`; keyword `fc6={"rule": …}` changes keys of that section."""
    card: dict[str, Any] = {
        "format": 1,
        "name": "tiny",
        "licence": "MIT",
        "source": "made in a test",
        "input": {
            "size": [SIDE, SIDE],
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "pixels": "0-1",
        },
        "fc6": {"output": "fc6", "units": UNITS},
        "fc8": {"output": "fc8", "classes": CLASSES, "keep": 5},
    }
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(card.get(key), dict)
        card[key] = {**card[key], **value} if both else value
    return card


def tiny(folder: Path, card: dict[str, Any] | None = None, **options: Any) -> Path:
    path = tiny_model(folder / "tiny.onnx", **options)
    path.with_suffix(".json").write_text(json.dumps(card or tiny_card()))
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "paper's two outputs": tiny,
    "no class output": lambda f: tiny(f, tiny_card(fc8=None), fc8=False),
    "hyperplanes": lambda f: tiny(
        f, tiny_card(fc6={"rule": "hyperplanes", "bits": 100}), relu=False
    ),
    "medians": lambda f: tiny(
        f, tiny_card(fc6={"rule": "medians", "medians": [0.1] * UNITS}), relu=False
    ),
    "channels last, blue first": lambda f: tiny(
        f, tiny_card(input={"layout": "NHWC", "channels": "BGR"}), layout="NHWC"
    ),
    "embedding of rank 4": lambda f: tiny(f, maps=True),
    "the default one": lambda f: Path(load_encoder().path),
}


def picture(seed: int, side: int = 20) -> bytes:
    base = np.random.default_rng(seed).integers(0, 256, 3)
    out = io.BytesIO()
    Image.new("RGB", (side, side), tuple(int(v) for v in base)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    paths = []
    for seed in range(20):
        paths.append(folder / f"{seed:02}.png")
        paths[-1].write_bytes(picture(seed))
    return paths


@pytest.fixture
def encoder(tmp_path: Path) -> Encoder:
    return load_encoder(tiny(tmp_path))


# ---------------------------------------------------------------- the contract


@pytest.mark.parametrize("kind", KINDS)
def test_contract(kind: str, tmp_path: Path) -> None:
    encoder = load_encoder(KINDS[kind](tmp_path))
    card = encoder.card
    images = [picture(seed) for seed in range(5)]
    fc6, fc8 = encoder.encode(images)
    assert fc6.shape == (5, card.fc6.units)
    assert fc6.dtype == np.float32
    assert np.isfinite(fc6).all()
    bits = encoder.binarise(fc6)
    assert bits.shape == (5, -(-encoder.bits // 8))
    assert bits.dtype == np.uint8
    assert len({row.tobytes() for row in bits}) > 1  # sees a difference
    if card.fc8 is None:
        assert fc8 is None
        with pytest.raises(ConfigError, match="has no fc8 output"):
            encoder.sparsify(np.zeros((1, 3), dtype=np.float32))
    else:
        assert fc8 is not None
        assert fc8.shape == (5, card.fc8.classes)
        ids, values = encoder.sparsify(fc8)
        assert ids.shape == values.shape == (5, card.fc8.keep)
        assert (np.diff(values.astype(np.float32), axis=1) <= 0).all()
        assert np.array_equal(ids[:, 0], fc8.argmax(axis=1))
    # The same alone, in another order, as pixels, and on one thread.
    assert np.allclose(encoder.encode(images[3:4])[0], fc6[3:4], atol=1e-4)
    assert np.allclose(encoder.encode(images[::-1])[0], fc6[::-1], atol=1e-4)
    want = card.input
    pixels = [decode(i, want.size, fit=want.fit, crop=want.crop) for i in images]
    assert np.allclose(encoder.encode(pixels)[0], fc6, atol=1e-3)
    assert np.allclose(encoder.single_threaded().encode(images)[0], fc6, atol=1e-4)
    nothing = encoder.encode([])
    assert nothing[0].shape == (0, card.fc6.units)
    assert (nothing[1] is None) == (fc8 is None)


def test_normalisation_is_the_cards(tmp_path: Path) -> None:
    rgb = np.full((SIDE, SIDE, 3), (255, 0, 51), dtype=np.uint8)
    plain = load_encoder(tiny(tmp_path))._normalise(rgb)
    # ((255, 0, 51) / 255 - mean 0.5) / std 0.25
    expected = (np.array([255, 0, 51]) / 255 - 0.5) / 0.25
    assert np.allclose(plain, expected[:, None, None], atol=1e-6)
    last = tiny_card(input={"layout": "NHWC", "channels": "BGR"})
    turned = load_encoder(tiny(tmp_path, last, layout="NHWC"))._normalise(rgb)
    assert np.allclose(turned, expected[::-1], atol=1e-6)
    whole = tiny_card(input={"pixels": "0-255", "mean": [127, 0, 51], "std": [128, 1, 2]})
    scaled = load_encoder(tiny(tmp_path, whole))._normalise(rgb)
    expected = np.array([(255 - 127) / 128, 0, (51 - 51) / 2])
    assert np.allclose(scaled, expected[:, None, None], atol=1e-5)


def test_pixels_of_a_wrong_size_are_refused(encoder: Encoder) -> None:
    with pytest.raises(ConfigError, match=r"uint8 pixels \(8, 8, 3\). Got 'uint8 \(9, 8, 3\)'"):
        encoder.encode([np.zeros((9, 8, 3), dtype=np.uint8)])
    with pytest.raises(ImageError, match="no such file"):
        encoder.encode(["missing.png"])


# ---------------------------------------------------------------- bits and sparse values

activations = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 40)),
    elements=st.floats(-4, 4, width=32),
)


@given(activations)
def test_binarise_equals_a_plain_loop(fc6: np.ndarray) -> None:
    packed = binarise(fc6)
    assert packed.shape == (len(fc6), -(-fc6.shape[1] // 8))
    for row, codes in zip(fc6, packed, strict=True):
        for unit in range(8 * len(codes)):
            bit = codes[unit // 8] >> (unit % 8) & 1
            assert bit == (unit < len(row) and row[unit] > 0)


def test_binarise_by_medians() -> None:
    fc6 = np.array([[1.0, 9.0], [2.0, 8.0], [3.0, 7.0]])
    medians = median_thresholds(fc6)
    assert medians.tolist() == [2.0, 8.0]
    # Strictly above: row 0 unit 1 → 2**1; row 1 none; row 2 unit 0 → 2**0.
    assert binarise(fc6, medians).tolist() == [[2], [0], [1]]
    assert binarise(np.array([[np.nan]])).tolist() == [[0]]


def fc6_similarity(a: np.ndarray, b: np.ndarray, bits: int) -> float:
    """Naive reference: 1 - Hamming distance / bits."""
    distance = sum(bin(int(x) ^ int(y)).count("1") for x, y in zip(a, b, strict=True))
    return 1 - distance / bits


@given(activations, st.data())
def test_similarity_is_the_share_of_equal_bits(fc6: np.ndarray, data: st.DataObject) -> None:
    rows, units = fc6.shape
    a, b = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, rows - 1))
    packed = binarise(fc6)
    equal = ((fc6[a] > 0) == (fc6[b] > 0)).sum()
    assert fc6_similarity(packed[a], packed[b], units) == pytest.approx(equal / units)


@given(activations, st.data())
def test_sparsify_equals_sorting(fc8: np.ndarray, data: st.DataObject) -> None:
    keep = data.draw(st.integers(1, fc8.shape[1]))
    ids, values = sparsify(fc8, keep)
    assert (ids.dtype, values.dtype) == (np.uint16, np.float16)
    for row, row_ids, row_values in zip(fc8, ids, values, strict=True):
        expected = sorted(range(len(row)), key=lambda c: (-row[c], c))[:keep]
        assert row_ids.tolist() == expected
        assert np.array_equal(row_values, row[expected].astype(np.float16))


def test_sparse_cosine_with_all_kept_is_the_dense_one() -> None:
    fc8 = softened(np.random.default_rng(0).normal(size=(2, 50)) * 3)
    ids, values = sparsify(fc8, 50)
    a, b = (
        dict(zip(i.tolist(), v.astype(float), strict=True))
        for i, v in zip(ids, values, strict=True)
    )
    dot = sum(value * b[key] for key, value in a.items())
    lengths = [np.sqrt(sum(v**2 for v in s.values())) for s in (a, b)]
    dense = fc8[0] @ fc8[1] / np.linalg.norm(fc8[0]) / np.linalg.norm(fc8[1])
    assert dot / lengths[0] / lengths[1] == pytest.approx(dense, abs=2e-3)


def test_softened() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2]])
    expected = probabilities ** (1 / 3)
    assert np.allclose(softened(np.log(probabilities) + 100.0), expected, atol=1e-6)
    assert np.allclose(softened(probabilities, logits=False), expected, atol=1e-6)
    assert np.isfinite(softened(np.array([[1e4, -1e4]]))).all()


def test_parameters_are_checked() -> None:
    square = np.zeros((2, 3), dtype=np.float32)
    with pytest.raises(
        ConfigError, match="threshold parameter of binarise must be one number or 3"
    ):
        binarise(square, [1.0, 2.0])
    with pytest.raises(ConfigError, match="keep parameter of sparsify must be from 1 to 3"):
        sparsify(square, 4)
    with pytest.raises(ConfigError, match=r"must be of shape \(n, units\)"):
        binarise(square[0])


# ---------------------------------------------------------------- wrong models and cards


def test_wrong_models_are_refused(tmp_path: Path) -> None:
    def refused(why: str, card: dict[str, Any] | None = None, **options: Any) -> None:
        with pytest.raises(InputError, match=why):
            load_encoder(tiny(tmp_path, card, **options))

    refused("no output 'fc8', which its card names in fc8.output. Its outputs are fc6", fc8=False)
    refused("no output 'pool5'.*fc6.output", tiny_card(fc6={"output": "pool5"}))
    refused("output 'fc6' is .* needs rank 2 and 13 wide", tiny_card(fc6={"units": 13}))
    refused("output 'fc8' is .* needs rank 2 and 41 wide", tiny_card(fc8={"classes": 41}))
    refused("its input is .* NCHW of 9 × 8", tiny_card(input={"size": [9, SIDE]}))
    refused("its input is .* NCHW of 8 × 8", layout="NHWC")
    refused(r"takes exactly 1 picture\(s\) a call", batch=1)
    refused("its checksum is .*, its card says 00…", tiny_card(model_sha256="00"))
    path = tiny(tmp_path)
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match="ONNX Runtime cannot load it"):
        load_encoder(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="ONNX Runtime cannot load it"):
        load_encoder(path)


def test_wrong_cards_are_refused(tmp_path: Path) -> None:
    def refused(why: str, card: object) -> None:
        with pytest.raises(InputError, match=why):
            parse_card(card, "tiny.json")

    needed = "A card needs format, name, licence, source, input.size, input.mean, input.std"
    refused(f"tiny.json: lacks format, name, .* {needed}", {})
    refused("tiny.json: must be a JSON object", [])
    refused("format is 2; this version of pinjoin reads 1. Upgrade", tiny_card(format=2))
    refused("unknown key 'license'. Allowed are citations", tiny_card(license="MIT"))
    refused("input: unknown key 'means'", tiny_card(input={"means": 1}))
    refused("fc6: lacks output, units", {**tiny_card(), "fc6": {}})
    refused("fc8: must be a JSON object", tiny_card(fc8="yes"))
    refused("name must be a name", tiny_card(name="../evil"))
    refused(r"input.size must be \[height, width\]", tiny_card(input={"size": 8}))
    refused("input.std must be three numbers above 0", tiny_card(input={"std": [1, 0, 1]}))
    refused("input.pixels must be one of 0-255, 0-1", tiny_card(input={"pixels": "0-100"}))
    refused("input.fit must be one of crop", tiny_card(input={"fit": "stretch"}))
    refused(r"input.crop must be in \(0, 1\]", tiny_card(input={"crop": 2}))
    refused("fc6.rule must be one of threshold", tiny_card(fc6={"rule": "mean"}))
    refused("fc6.units must be a positive integer", tiny_card(fc6={"units": "12"}))
    refused("rule 'medians' needs fc6.medians", tiny_card(fc6={"rule": "medians"}))
    refused("fc6.medians must be 12 numbers", tiny_card(fc6={"medians": [1.0]}))
    refused("fc8.classes must be at most 65,536", tiny_card(fc8={"classes": 65_537}))
    refused("fc8.keep must be at most fc8.classes", tiny_card(fc8={"keep": 41}))
    refused("fc8.power must be above 0", tiny_card(fc8={"power": 0}))
    (tmp_path / "tiny.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        read_card(tmp_path / "tiny.json")
    with pytest.raises(InputError, match="no such file. An encoder is .* A card needs format"):
        read_card(tmp_path / "none.json")


def test_unknown_names_and_providers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no encoder named 'resnet'. Known are .*efficientnet"):
        load_encoder("resnet")
    with pytest.raises(InputError, match="no such file"):
        load_encoder(tmp_path / "none.onnx")
    with pytest.raises(ConfigError, match="providers parameter .* among those installed: .*CPU"):
        load_encoder(tiny(tmp_path), providers=["NoSuchProvider"])


def test_without_the_runtime_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="pip install onnxruntime"):
        load_encoder(tiny(tmp_path))


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(json.dumps([f"class {n}" for n in range(CLASSES)]))
    encoder = load_encoder(tiny(tmp_path, tiny_card(fc8={"labels": "names.json"})))
    assert encoder.labels is not None
    assert encoder.labels[3] == "class 3"
    (tmp_path / "names.json").write_text("[]")
    short = load_encoder(encoder.path)
    with pytest.raises(InputError, match="must be a JSON list of 40 names"):
        _ = short.labels
    assert load_encoder(tiny(tmp_path)).labels is None


# ---------------------------------------------------------------- many pictures


def test_embed_equals_encode(encoder: Encoder, pictures: list[Path]) -> None:
    fc6, fc8 = encoder.encode(pictures)
    assert fc8 is not None
    for batch, threads in ((1, 1), (3, 2), (50, 4)):
        found = embed(pictures, encoder, batch=batch, threads=threads)
        assert found.present.all()
        assert np.array_equal(found.bits, encoder.binarise(fc6))
        assert found.ids is not None
        assert np.array_equal(found.ids, encoder.sparsify(fc8)[0])
        assert (found.failures, found.cached) == ({}, 0)


def test_embed_without_fc8_and_without_pictures(tmp_path: Path, pictures: list[Path]) -> None:
    encoder = load_encoder(tiny(tmp_path, tiny_card(fc8=None), fc8=False))
    for cache in (None, tmp_path / "cache"):
        for _ in range(2):
            found = embed(pictures, encoder, cache=cache)
            assert found.ids is None
            assert np.array_equal(found.bits, encoder.binarise(encoder.encode(pictures)[0]))
    nothing = embed([], encoder)
    assert nothing.bits.shape == (0, 2)


def test_broken_pictures_are_told_and_the_rest_goes_on(
    encoder: Encoder, pictures: list[Path], tmp_path: Path
) -> None:
    pictures[3].write_bytes(b"<html>404</html>")
    pictures[4].unlink()
    for cache in (None, tmp_path / "cache"):
        found = embed(pictures, encoder, batch=2, cache=cache)
        assert list(found.failures) == [3, 4]
        assert "is a web page" in found.failures[3]
        assert "no such file" in found.failures[4]
        assert np.flatnonzero(~found.present).tolist() == [3, 4]
        assert not found.bits[3:5].any()
    assert embed([b"", b""], encoder).failures == {0: "is empty (0 bytes)", 1: "is empty (0 bytes)"}


def test_only_new_pictures_are_computed(
    encoder: Encoder, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = embed(pictures[:15], encoder, cache=cache)
    assert first.cached == 0
    seen: list[int] = []
    real = Encoder.visual

    def counted(self: Encoder, tensors: np.ndarray) -> visual_module.Visual:
        seen.append(len(tensors))
        return real(self, tensors)

    monkeypatch.setattr(Encoder, "visual", counted)
    again = embed(pictures, encoder, cache=cache)
    assert (again.cached, sum(seen)) == (15, 5)
    assert np.array_equal(again.bits[:15], first.bits)
    assert np.array_equal(again.bits, embed(pictures, encoder).bits)
    # By content: a renamed copy is known, changed content is not.
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[0].read_bytes())
    pictures[1].write_bytes(picture(1_000))
    assert embed([copy, pictures[1]], encoder, cache=cache).cached == 1


def test_real_values_are_kept_if_asked_for_and_come_out_of_the_cache(
    encoder: Encoder, pictures: list[Path], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    expected = encoder.encode(pictures)[0].astype(np.float16)
    assert embed(pictures, encoder, cache=cache).fc6 is None
    found = embed(pictures, encoder, cache=cache, keep_fc6=True)
    assert (found.cached, found.fc6.dtype) == (0, np.float16)  # only the bits were known
    assert np.array_equal(found.fc6, expected)
    again = embed(pictures, encoder, cache=cache, keep_fc6=True)
    assert again.cached == 20
    assert np.array_equal(again.fc6, expected)
    assert np.array_equal(again.bits, encoder.binarise(encoder.encode(pictures)[0]))
    # Turned off and on again, nothing is lost, and nothing was written twice.
    assert embed(pictures, encoder, cache=cache).cached == 20
    with EmbeddingCache(cache, encoder, keep_fc6=True) as known:
        assert len(known) == 20
    [bits] = cache.glob("*.visual")
    assert bits.stat().st_size < 21 * record_type(encoder).itemsize + 200
    # Some known, some new, some broken.
    pictures[3].write_bytes(b"<html>")
    more = [*pictures, pictures[0].with_name("new.png")]
    more[-1].write_bytes(picture(77))
    mixed = embed(more, encoder, cache=cache, keep_fc6=True, batch=4)
    assert (mixed.cached, list(mixed.failures)) == (19, [3])
    assert np.array_equal(mixed.fc6[[0, 20]], encoder.encode([more[0], more[20]])[0].astype("f2"))
    assert not mixed.fc6[3].any()


def test_a_cache_that_lost_its_real_values_computes_them_again(
    encoder: Encoder, pictures: list[Path], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    whole = embed(pictures, encoder, cache=cache, keep_fc6=True)
    [real] = cache.glob("*.fc6")
    content = real.read_bytes()
    for cut in (0, 40, len(content) - 1):
        real.write_bytes(content[:cut])
        assert embed(pictures, encoder, cache=cache).cached == 20  # the bits are not concerned
        assert np.array_equal(embed(pictures, encoder, cache=cache, keep_fc6=True).fc6, whole.fc6)
        assert embed(pictures, encoder, cache=cache, keep_fc6=True).cached == 20


def test_real_values_beyond_float16_stay_finite() -> None:
    found = halved(np.array([[1e9, -1e9, 1.0, 2.0**-30]], dtype=np.float32))
    assert found.tolist() == [[65504.0, -65504.0, 1.0, 0.0]]


def test_keys_stand_for_pictures(encoder: Encoder, pictures: list[Path], tmp_path: Path) -> None:
    cache, keys = tmp_path / "cache", [f"signature {n}" for n in range(20)]
    embed(pictures, encoder, keys=keys, cache=cache)
    for path in pictures:
        path.unlink()  # known keys need no file
    assert embed(pictures, encoder, keys=keys, cache=cache).cached == 20
    with pytest.raises(ConfigError, match="keys parameter of embed must be 20 keys"):
        embed(pictures, encoder, keys=keys[1:])


def test_another_encoder_has_another_cache(
    encoder: Encoder, pictures: list[Path], tmp_path: Path
) -> None:
    embed(pictures, encoder, cache=tmp_path / "cache")
    other = load_encoder(tiny(tmp_path, tiny_card(fc6={"threshold": 0.5})))
    assert other.digest != encoder.digest
    assert embed(pictures, other, cache=tmp_path / "cache").cached == 0
    # Words on the card change nothing.
    same = load_encoder(tiny(tmp_path, tiny_card(description="renamed", licence="ISC")))
    assert same.digest == encoder.digest


def cache_file(folder: Path) -> Path:
    (path,) = folder.glob("*.visual")
    return path


def test_a_damaged_cache_is_mended(encoder: Encoder, pictures: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    whole = embed(pictures, encoder, cache=cache)
    embed([picture(99)], encoder, cache=cache)  # a second block
    content = cache_file(cache).read_bytes()
    header = content.index(b"\n") + 1
    for cut in (0, 5, header, header + 3, header + 40, len(content) - 1):
        cache_file(cache).write_bytes(content[:cut])
        found = embed(pictures, encoder, cache=cache)
        assert np.array_equal(found.bits, whole.bits)
        assert embed(pictures, encoder, cache=cache).cached == 20
    # A flipped byte loses its own block only: the second one is still known.
    cache_file(cache).write_bytes(
        content[: header + 60] + bytes([content[header + 60] ^ 1]) + content[header + 61 :]
    )
    with EmbeddingCache(cache, encoder) as opened:
        assert (len(opened), opened.damaged) == (1, 1)
        assert key_hash(picture(99)) in opened
    assert np.array_equal(embed(pictures, encoder, cache=cache).bits, whole.bits)
    cache_file(cache).write_bytes(b"something else, longer than a header would be\n" * 9)
    with pytest.raises(InputError, match="is no cache of this encoder.* Remove it"):
        embed(pictures, encoder, cache=cache)


def test_two_writers_are_kept_apart(encoder: Encoder, tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path / "cache", encoder):  # noqa: SIM117 – the second must fail
        with pytest.raises(InputError, match="another process is computing visual features"):
            EmbeddingCache(tmp_path / "cache", encoder)
    EmbeddingCache(tmp_path / "cache", encoder).__exit__(None, None, None)


def test_a_killed_run_resumes(encoder: Encoder, tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from pinjoin.features import record_file
        from pinjoin.features.embedding import embed_batches
        from pinjoin.features.visual import load_encoder
        record_file._FLUSH_AT = 4
        paths = sorted(Path(sys.argv[2]).iterdir())
        encoder, cache = load_encoder(sys.argv[1]), Path(sys.argv[3])
        for batch in embed_batches(paths, encoder, batch=2, cache=cache):
            print(batch.rows[-1], flush=True)
            time.sleep(0.02)
        """
    )
    folder, cache = tmp_path / "many", tmp_path / "cache"
    folder.mkdir()
    for seed in range(200):
        (folder / f"{seed:03}.png").write_bytes(picture(seed))
    command = [sys.executable, "-c", script, str(encoder.path), str(folder), str(cache)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 60:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
    paths = sorted(folder.iterdir())
    found = embed(paths, encoder, cache=cache)
    assert 50 <= found.cached < 200
    assert np.array_equal(found.bits, embed(paths, encoder).bits)


def test_stopping_early_keeps_what_was_done(
    encoder: Encoder, pictures: list[Path], tmp_path: Path
) -> None:
    for batch in embed_batches(pictures, encoder, batch=5, cache=tmp_path / "cache"):
        assert batch.rows.tolist() == [0, 1, 2, 3, 4]
        break
    assert embed(pictures, encoder, cache=tmp_path / "cache").cached == 5


# ---------------------------------------------------------------- command line


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "pinjoin" / "encoders"


def run(*arguments: str) -> str:
    from pinjoin.cli.encoders import encoders

    result = CliRunner().invoke(encoders, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_command_line(tmp_path: Path, home: Path) -> None:
    names = tmp_path / "names.json"
    names.write_text(json.dumps([f"class {n}" for n in range(CLASSES)]))
    model = tiny(tmp_path, tiny_card(fc8={"labels": "names.json"}))
    assert "Added mine: " in run("add", str(model), "--name", "mine")
    assert sorted(path.name for path in home.iterdir()) == [
        "mine.json",
        "mine.labels.json",
        "mine.onnx",
    ]
    listed = json.loads(run("list", "--json"))
    assert [item["name"] for item in listed] == ["efficientnet_lite0_fc6", "mine"]
    assert "mine" in run("list")
    assert "licence: Apache-2.0" in run("info", "efficientnet_lite0_fc6")
    assert json.loads(run("info", "mine", "--json"))["bits"] == UNITS
    found = load_encoder("mine")
    assert found.labels is not None
    assert found.labels[1] == "class 1"
    with pytest.raises(InputError, match="already exists"):
        run("add", str(model), "--name", "mine")
    with pytest.raises(InputError, match="is no name of an encoder"):
        run("add", str(model), "--name", "../evil")
    run("add", str(model), "--workspace", str(tmp_path / "shop"))
    assert (tmp_path / "shop" / "encoders" / "tiny.onnx").is_file()
    assert "tiny" not in run("list")
    assert "tiny" in run("list", "--workspace", str(tmp_path / "shop"))


def test_add_measures_what_the_rule_needs(tmp_path: Path, home: Path, pictures: list[Path]) -> None:
    card = tiny_card(fc8=None, fc6={"rule": "medians"})
    model = tiny(tmp_path, card, fc8=False, relu=False)
    with pytest.raises(InputError, match=r"needs fc6.medians.*--images"):
        run("add", str(model))
    assert not list(home.glob("*"))  # nothing is left of what failed
    run("add", str(model), "--images", str(pictures[0].parent))
    encoder = load_encoder("tiny")
    fc6, _ = encoder.encode(pictures)
    assert np.allclose(encoder.card.fc6.medians, np.median(fc6, axis=0), atol=1e-5)
    assert (np.unpackbits(encoder.binarise(fc6), bitorder="little").sum()) <= 20 * UNITS / 2
    planes = tiny_card(name="planes", fc8=None, fc6={"rule": "hyperplanes", "bits": 64})
    run("add", str(tiny(tmp_path, planes, fc8=False)), "--images", str(pictures[0].parent))
    centred = load_encoder("planes")
    assert centred.card.fc6.centre is not None
    assert np.allclose(centred.card.fc6.centre, centred.encode(pictures)[0].mean(axis=0), atol=1e-5)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no picture in it could be decoded"):
        run("add", str(model), "--name", "other", "--images", str(empty))


def test_card_survives_a_round_trip(tmp_path: Path) -> None:
    card = parse_card(tiny_card(), "card")
    assert parse_card(json.loads(json.dumps(dataclasses.asdict(card))), "card") == card
