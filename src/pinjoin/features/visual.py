"""§IV.B: what a convnet sees in a picture, as fc6 bits and sparse fc8 values.

An encoder is one ONNX file with an embedding output (the paper's fc6) and, if it has one, a
class output (fc8), beside a card that says how to use them (`pinjoin.features.cards`). Any
image model that exports to ONNX can be one. fc6 becomes bits compared by Hamming distance,
fc8 its largest values compared by cosine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinjoin.core.errors import ConfigError, InputError, check
from pinjoin.data.images import decode
from pinjoin.features.cards import Card, read_card

DEFAULT_ENCODER = "efficientnet_lite0_fc6"
"""Name of the encoder that ships with the package."""

_ACCELERATORS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CoreMLExecutionProvider")


def binarise(
    fc6: NDArray[np.floating[Any]], threshold: float | ArrayLike = 0.0
) -> NDArray[np.uint8]:
    """Activations (n, units) → packed bits uint8 (n, ⌈units / 8⌉): is the unit > threshold?

    `threshold` is one number or one per unit (their medians, say). Unit u is bit u mod 8, least
    significant first, of byte u // 8 (numpy's bitorder="little"); bits beyond the last unit are
    0. NaN counts as not above.

    >>> binarise(np.array([[1.0, -1.0, 0.0, 2.0]]))  # units 0 and 3: 2**0 + 2**3
    array([[9]], dtype=uint8)
    """
    check(fc6.ndim == 2, "fc6", "binarise", "of shape (n, units)", fc6.shape)
    thresholds = np.asarray(threshold)
    fits = thresholds.shape in ((), (fc6.shape[1],))
    allowed = f"one number or {fc6.shape[1]} of them"
    check(fits, "threshold", "binarise", allowed, thresholds.shape)
    return np.packbits(fc6 > thresholds, axis=1, bitorder="little")


def sparsify(
    fc8: NDArray[np.floating[Any]], keep: int = 32
) -> tuple[NDArray[np.uint16], NDArray[np.float16]]:
    """The `keep` largest values of each row (n, classes) → class numbers and values, (n, keep).

    Largest first, ties by class number. Class numbers are uint16, values float16.

    >>> ids, values = sparsify(np.array([[0.1, 0.7, 0.2]]), keep=2)
    >>> ids.tolist(), values.tolist()
    ([[1, 2]], [[0.7001953125, 0.199951171875]])
    """
    check(fc8.ndim == 2, "fc8", "sparsify", "of shape (n, classes)", fc8.shape)
    classes = fc8.shape[1]
    check(classes <= 65_536, "fc8", "sparsify", "at most 65,536 classes wide", classes)
    check(1 <= keep <= classes, "keep", "sparsify", f"from 1 to {classes} (classes)", keep)
    order = np.argsort(-fc8, axis=1, kind="stable")[:, :keep]
    values = np.take_along_axis(fc8, order, axis=1)
    return order.astype(np.uint16), values.astype(np.float16)


def halved(fc6: NDArray[np.float32]) -> NDArray[np.float16]:
    """Activations as float16, to 3 digits; those it cannot say become the largest it can.

    >>> halved(np.array([[0.1, -1e9]], dtype=np.float32)).tolist()
    [[0.0999755859375, -65504.0]]
    """
    most = np.finfo(np.float16).max
    return np.clip(fc6, -most, most).astype(np.float16)


def softened(
    fc8: NDArray[np.floating[Any]], power: float = 1 / 3, *, logits: bool = True
) -> NDArray[np.float32]:
    """Class outputs (n, classes) → probability ** power, float32.

    The lower the power, the more the lesser classes count in a cosine. 1/3 retrieved best of 1,
    1/2, 1/3, 1/4 … 1/10 and the plain logits (docs/encoder.md).
    """
    x: NDArray[np.float64] = fc8.astype(np.float64)
    if not logits:
        return (np.maximum(x, 0.0) ** power).astype(np.float32)
    x -= x.max(axis=1, keepdims=True)
    x -= np.log(np.exp(x).sum(axis=1, keepdims=True))
    return np.exp(x * power).astype(np.float32)


def median_thresholds(fc6: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Per-unit medians of a sample (n, units) → (units,): thresholds for nets without ReLU."""
    check(fc6.ndim == 2 and len(fc6) > 0, "fc6", "median_thresholds", "(n, units)", fc6.shape)
    medians: NDArray[np.float32] = np.median(fc6, axis=0).astype(np.float32)
    return medians


@dataclass(frozen=True)
class Visual:
    """Visual features of n pictures in the form that is stored and compared."""

    bits: NDArray[np.uint8]  # (n, ⌈bits / 8⌉)
    ids: NDArray[np.uint16] | None  # (n, keep); None without fc8
    values: NDArray[np.float16] | None  # (n, keep)
    fc6: NDArray[np.float16] | None = None  # (n, units); None where it was not kept


class Encoder:
    """One ONNX file and its card, ready to encode. Made by `load_encoder`.

    Calls from several threads at once are fine.
    """

    def __init__(self, path: Path, card: Card, session: Any, digest: str) -> None:
        self.path = path
        self.card = card
        self.digest = digest  # of the ONNX file and of the card's functional part
        self._session = session
        self._input = session.get_inputs()[0].name
        self._accelerated = session.get_providers()[0] != "CPUExecutionProvider"
        self._outputs = [card.fc6.output] + ([card.fc8.output] if card.fc8 else [])

    @property
    def bits(self) -> int:
        """Length of the binary code."""
        return self.card.bits

    def single_threaded(self) -> Encoder:
        """The same encoder for many calls at once: each uses one core, none waits for another.

        On an accelerator there is nothing to divide; the encoder itself is returned.
        """
        return self if self._accelerated else self._single

    @cached_property
    def _single(self) -> Encoder:
        providers = self._session.get_providers()
        return Encoder(self.path, self.card, _session(self.path, providers, 1), self.digest)

    @cached_property
    def labels(self) -> list[str] | None:
        """Names of the fc8 classes, if the card names a file of them."""
        if self.card.fc8 is None or self.card.fc8.labels is None:
            return None
        return read_labels(self.path.parent / self.card.fc8.labels, self.card.fc8.classes)

    def tensor(self, source: str | os.PathLike[str] | bytes) -> NDArray[np.float32]:
        """Decode and normalise one picture → float32 in the card's layout, without n.

        Raises ImageError when it cannot be decoded.
        """
        want = self.card.input
        pixels = decode(source, want.size, fit=want.fit, crop=want.crop, resample=want.resample)
        return self._normalise(pixels)

    def _normalise(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.card.input.channels == "BGR":
            pixels = pixels[:, :, ::-1]
        scale, shift = self._scaling
        if self.card.input.layout == "NHWC":
            return pixels * scale + shift
        planes = np.empty((3, *pixels.shape[:2]), dtype=np.float32)
        for channel in range(3):
            np.multiply(pixels[:, :, channel], scale[channel], out=planes[channel])
            planes[channel] += shift[channel]
        return planes

    @cached_property
    def _scaling(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        unit = 255.0 if self.card.input.pixels == "0-1" else 1.0
        std = np.asarray(self.card.input.std, dtype=np.float64)
        scale, shift = 1.0 / (unit * std), -np.asarray(self.card.input.mean) / std
        return scale.astype(np.float32), shift.astype(np.float32)

    def run(
        self, tensors: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Ready tensors (n, …) → fc6 float32 (n, units) and fc8 float32 (n, classes) or None."""
        try:
            found = self._session.run(self._outputs, {self._input: tensors})
        except Exception as problem:  # the runtime's own exceptions share no public base
            raise InputError(
                f"{self.path}: ONNX Runtime cannot run it on {len(tensors)} picture(s) "
                f"({_one_line(problem)}). Export it so that any number can be given at once."
            ) from None
        shape = len(tensors), self.card.fc6.units
        fc6 = _matrix(found[0], shape, f"{self.path}: output {self._outputs[0]!r}")
        if self.card.fc8 is None:
            return fc6, None
        name = f"{self.path}: output {self._outputs[1]!r}"
        return fc6, _matrix(found[1], (len(tensors), self.card.fc8.classes), name)

    def encode(
        self, images: Sequence[str | os.PathLike[str] | bytes | NDArray[np.uint8]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Pictures → fc6 float32 (n, units) and fc8 float32 (n, classes), None without fc8.

        A picture is a path, a file's bytes, or RGB pixels uint8 of exactly the card's size.
        None of them gives (0, units). Raises ImageError for one that cannot be decoded; to skip
        such, decode less by hand, and cache, see `pinjoin.features.embedding.embed`.
        """
        if len(images) == 0:
            fc8 = self.card.fc8
            classes = np.empty((0, fc8.classes), dtype=np.float32) if fc8 else None
            return np.empty((0, self.card.fc6.units), dtype=np.float32), classes
        return self.run(np.stack([self._any_tensor(image) for image in images]))

    def _any_tensor(
        self, image: str | os.PathLike[str] | bytes | NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        if not isinstance(image, np.ndarray):
            return self.tensor(image)
        shape = (*self.card.input.size, 3)
        fits = image.dtype == np.uint8 and image.shape == shape
        got = f"{image.dtype} {image.shape}"
        check(fits, "images", "encode", f"paths, bytes or uint8 pixels {shape}", got)
        return self._normalise(image)

    def binarise(self, fc6: NDArray[np.float32]) -> NDArray[np.uint8]:
        """fc6 (n, units) → packed bits (n, ⌈bits / 8⌉) by the card's rule; see `binarise`."""
        rule = self.card.fc6
        if rule.rule == "medians":
            return binarise(fc6, np.asarray(rule.medians, dtype=np.float32))
        if rule.rule == "hyperplanes":
            return binarise((fc6 - self._centre) @ self._hyperplanes)
        return binarise(fc6, rule.threshold)

    def sparsify(self, fc8: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.float16]]:
        """fc8 (n, classes) → the card's number of largest values as (ids, values)."""
        rule = self.card.fc8
        if rule is None:
            raise ConfigError(f"The encoder {self.card.name} has no fc8 output to sparsify.")
        return sparsify(softened(fc8, rule.power, logits=rule.values == "logits"), rule.keep)

    def visual(self, tensors: NDArray[np.float32]) -> Visual:
        """Ready tensors (n, …) → what is stored of n pictures."""
        fc6, fc8 = self.run(tensors)
        ids, values = (None, None) if fc8 is None else self.sparsify(fc8)
        return Visual(self.binarise(fc6), ids, values, halved(fc6))

    @cached_property
    def _hyperplanes(self) -> NDArray[np.float32]:
        rule = self.card.fc6
        random = np.random.default_rng(rule.seed)
        return random.standard_normal((rule.units, rule.bits), dtype=np.float32)

    @cached_property
    def _centre(self) -> NDArray[np.float32]:
        return np.asarray(self.card.fc6.centre or 0.0, dtype=np.float32)


def read_labels(path: Path, classes: int) -> list[str]:
    """Names of classes from a JSON list. Raises InputError."""
    try:
        names = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: class names cannot be read ({problem}).") from None
    if not isinstance(names, list) or len(names) != classes:
        raise InputError(f"{path}: must be a JSON list of {classes} names.")
    return [str(name) for name in names]


def _matrix(found: NDArray[Any], shape: tuple[int, int], what: str) -> NDArray[np.float32]:
    rows, width = shape
    if len(found) != rows:
        raise InputError(
            f"{what} has {len(found)} rows for {rows} picture(s). "
            "Export the model so that any number can be given at once."
        )
    flat = found.reshape(len(found), -1)  # (n, units, 1, 1) is common for pooled outputs
    if flat.shape[1] != width:
        raise InputError(f"{what} is {flat.shape[1]} wide, its card says {width}.")
    return np.ascontiguousarray(flat, dtype=np.float32)


def load_encoder(
    name_or_path: str | os.PathLike[str] = DEFAULT_ENCODER,
    providers: Sequence[str] | None = None,
    *,
    threads: int | None = None,
    folders: Sequence[Path] = (),
) -> Encoder:
    """Open an encoder by name (`pinjoin encoders list`) or by its ONNX file's path.

    `providers` are ONNX Runtime's execution providers; by default an accelerator that is
    installed, else the CPU. `threads` used within one call; None leaves it to the runtime.
    `folders` are searched for names before the user's and the package's own.

    Raises InputError for an unknown name, a file that is no model, a card that is missing or
    does not fit the model; ConfigError when ONNX Runtime is not installed.
    """
    from pinjoin.features.shelf import find_encoder

    path = find_encoder(name_or_path, folders)
    return open_encoder(path, read_card(path.with_suffix(".json")), providers, threads=threads)


def open_encoder(
    path: Path, card: Card, providers: Sequence[str] | None = None, *, threads: int | None = None
) -> Encoder:
    """Open an ONNX file with a card that is read already. Otherwise as `load_encoder`."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if card.model_sha256 not in (None, digest):
        raise InputError(
            f"{path}: its checksum is {digest[:12]}…, its card says {card.model_sha256[:12]}…. "
            "The file is damaged or another's. Fetch both again, or mend model_sha256."
        )
    session = _session(path, providers, threads)
    _check_signature(path, card, session)
    functional = json.dumps(card.functional(), sort_keys=True).encode()
    both = hashlib.sha256(digest.encode() + functional).hexdigest()
    return Encoder(path, card, session, both)


def _session(path: Path, providers: Sequence[str] | None, threads: int | None) -> Any:
    runtime = _runtime()
    available = runtime.get_available_providers()
    if providers is None:
        providers = [p for p in (*_ACCELERATORS, "CPUExecutionProvider") if p in available]
    unknown = [p for p in providers if p not in available]
    allowed = f"among those installed: {', '.join(available)}"
    check(not unknown, "providers", "load_encoder", allowed, list(providers))
    check(threads is None or threads >= 1, "threads", "load_encoder", "1 or more", threads)
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # errors are raised; warnings are about the file's internals
    options.intra_op_num_threads = threads or 0
    # Spinning threads would take the cores from those that decode the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # By path, so that weights kept in a second file are found.
        return runtime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as problem:  # the runtime's own exceptions share no public base
        raise InputError(f"{path}: ONNX Runtime cannot load it ({_one_line(problem)}).") from None


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200]


def _runtime() -> Any:
    try:
        return import_module("onnxruntime")
    except ModuleNotFoundError:
        raise ConfigError(
            "Visual features need ONNX Runtime, which is not installed. "
            "Install it with: pip install onnxruntime"
        ) from None


def _check_signature(path: Path, card: Card, session: Any) -> None:
    """Compare the card with what the model itself says of its input and outputs."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise InputError(
            f"{path}: must have one input, float32 of rank 4 ({card.input.layout}). It has {found}."
        )
    height, width = card.input.size
    planes = [None, 3, height, width] if card.input.layout == "NCHW" else [None, height, width, 3]
    if not _agree(inputs[0].shape, planes):
        raise InputError(
            f"{path}: its input is {inputs[0].shape}, its card says {card.input.layout} of "
            f"{height} × {width} (input.size, input.layout)."
        )
    if isinstance(inputs[0].shape[0], int):
        raise InputError(
            f"{path}: takes exactly {inputs[0].shape[0]} picture(s) a call. "
            "Export it with a dynamic first dimension."
        )
    outputs = {output.name: output for output in session.get_outputs()}
    wanted = [("fc6", card.fc6.output, card.fc6.units)]
    if card.fc8:
        wanted.append(("fc8", card.fc8.output, card.fc8.classes))
    for key, name, size in wanted:
        if name not in outputs:
            raise InputError(
                f"{path}: has no output {name!r}, which its card names in {key}.output. "
                f"Its outputs are {', '.join(outputs)}."
            )
        shape = outputs[name].shape
        if not (_agree(shape, [None, size]) or _agree(shape, [None, size, 1, 1])):
            raise InputError(
                f"{path}: output {name!r} is {shape}; its card needs rank 2 and {size} wide."
            )


def _agree(shape: Sequence[Any], wanted: Sequence[int | None]) -> bool:
    """Same rank, and the same length wherever both say one (a name or None is any length)."""
    if len(shape) != len(wanted):
        return False
    pairs = zip(shape, wanted, strict=True)
    return all(not isinstance(a, int) or b is None or a == b for a, b in pairs)
