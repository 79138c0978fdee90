"""An encoder's card: the JSON beside its ONNX file that says how to use it and what it is.

Facts about weights travel with the weights: what goes in, what comes out, how activations
become bits, whose work it is and under which licence. Unknown keys are refused, missing ones
named, so a card that loads works.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pinjoin.core.errors import InputError
from pinjoin.data.images import Fit, Resample

FORMAT = 1
NAME_RULE = "Allowed are letters, digits, -, . and _, not - or . first."
Rule = Literal["threshold", "medians", "hyperplanes"]

_Section = TypeVar("_Section")


@dataclass(frozen=True)
class InputCard:
    """The picture that the model wants."""

    size: tuple[int, int]
    """Height, width in pixels."""
    mean: tuple[float, float, float]
    """Subtracted per channel, in the unit of `pixels`, in the order of `channels`."""
    std: tuple[float, float, float]
    """Divided by per channel, after the mean."""
    pixels: Literal["0-255", "0-1"]
    """Range of pixel values before mean and std."""
    channels: Literal["RGB", "BGR"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    fit: Fit = "crop"
    crop: float = 1.0
    """With fit "crop": the part of the largest possible cut that is shown."""
    resample: Resample = "bicubic"


@dataclass(frozen=True)
class Fc6Card:
    """The embedding and how it becomes bits."""

    output: str
    """Name of the model's output, (n, units)."""
    units: int
    rule: Rule = "threshold"
    """threshold: one bit a unit, > `threshold`. medians: one bit a unit, > its own median.
    hyperplanes: `bits` random hyperplanes (`seed`) through `centre`."""
    threshold: float = 0.0
    medians: tuple[float, ...] | None = None
    """One a unit; for the rule "medians"."""
    bits: int = 1024
    """For the rule "hyperplanes"."""
    seed: int = 0
    centre: tuple[float, ...] | None = None
    """One a unit; the origin if absent. For the rule "hyperplanes"."""


@dataclass(frozen=True)
class Fc8Card:
    """The classes seen and how they become a sparse vector."""

    output: str
    classes: int
    values: Literal["logits", "probabilities"] = "logits"
    power: float = 1 / 3
    """What is kept is probability to this power, which decides how much the lesser classes say."""
    keep: int = 32
    """Number of largest values that are kept."""
    labels: str | None = None
    """File beside the card: a JSON list of the classes' names."""


@dataclass(frozen=True)
class Card:
    """Everything that is said of one encoder."""

    format: int
    name: str
    licence: str
    source: Any
    """Where the weights come from: packages with versions, addresses, authors."""
    input: InputCard
    fc6: Fc6Card
    fc8: Fc8Card | None = None
    description: str = ""
    model_sha256: str | None = None
    """Checksum of the ONNX file; checked if given."""
    citations: tuple[str, ...] = ()
    quality: Mapping[str, Any] = field(default_factory=dict)
    """What was measured with it, and how."""

    @property
    def bits(self) -> int:
        """Length of the binary code."""
        return self.fc6.bits if self.fc6.rule == "hyperplanes" else self.fc6.units

    def functional(self) -> dict[str, Any]:
        """The part that decides what comes out: two cards that agree in it are one encoder."""
        parts = {"format": self.format, "input": asdict(self.input), "fc6": asdict(self.fc6)}
        parts["fc8"] = asdict(self.fc8) if self.fc8 else None
        return parts


def read_card(path: Path) -> Card:
    """Read and check a card. Raises InputError that names the file and key."""
    return parse_card(read_json(path), str(path))


def read_json(path: Path) -> dict[str, Any]:
    """A card's content, not yet checked. Raises InputError when missing or no JSON object."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file. An encoder is an ONNX file and a card of the same name with "
            f"the ending .json. {_needed()}"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise InputError(f"{path}: is not JSON ({problem}).") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be a JSON object. Got {content!r:.60} instead.")
    return content


def parse_card(content: object, where: str) -> Card:
    """Check a card's content, already parsed from JSON. `where` is what errors call it."""
    if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
        raise InputError(
            f"{where}: format is {content['format']!r}; this version of pinjoin reads {FORMAT}. "
            "Upgrade pinjoin."
        )
    parts = dict(_section(content, Card, where))
    parts["input"] = _make(InputCard, parts["input"], f"{where}: input")
    parts["fc6"] = _make(Fc6Card, parts["fc6"], f"{where}: fc6")
    if parts.get("fc8") is not None:
        parts["fc8"] = _make(Fc8Card, parts["fc8"], f"{where}: fc8")
    parts["citations"] = tuple(parts.get("citations", ()))
    card = Card(**parts)
    _check_values(card, where)
    return card


def _make(kind: type[_Section], content: object, where: str) -> _Section:
    parts = _section(content, kind, where)
    return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in parts.items()})


def _section(content: object, kind: type[Any], where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InputError(f"{where}: must be a JSON object. Got {content!r:.60} instead.")
    known = {item.name for item in fields(kind)}
    unknown = sorted(set(content) - known)
    if unknown:
        allowed = ", ".join(sorted(known))
        raise InputError(f"{where}: unknown key {unknown[0]!r}. Allowed are {allowed}.")
    missing = [name for name in _required(kind) if name not in content]
    if missing:
        raise InputError(f"{where}: lacks {', '.join(missing)}. {_needed()}")
    return content


def _required(kind: type[Any]) -> list[str]:
    return [
        item.name
        for item in fields(kind)
        if item.default is MISSING and item.default_factory is MISSING
    ]


def _needed() -> str:
    sections = (("", Card), ("input.", InputCard), ("fc6.", Fc6Card), ("fc8.", Fc8Card))
    keys = [f"{prefix}{key}" for prefix, kind in sections for key in _required(kind)]
    plain = [key for key in keys if key not in ("input", "fc6")]
    return f"A card needs {', '.join(plain)} (fc8 only if the model has one)."


def _check_values(card: Card, where: str) -> None:
    given, fc6, fc8 = card.input, card.fc6, card.fc8

    def require(holds: bool, key: str, allowed: str, got: object) -> None:
        if not holds:
            raise InputError(f"{where}: {key} must be {allowed}. Got {got!r} instead.")

    def one_of(key: str, got: object, choices: tuple[str, ...]) -> None:
        require(got in choices, key, f"one of {', '.join(choices)}", got)

    for key in ("licence", "description"):
        require(isinstance(getattr(card, key), str), key, "text", getattr(card, key))
    require(is_name(card.name), "name", f"a name. {NAME_RULE}", card.name)
    require(_numbers(given.size, 2, int), "input.size", "[height, width]", given.size)
    require(min(given.size) >= 1, "input.size", "at least 1 × 1", given.size)
    require(_numbers(given.mean, 3), "input.mean", "three numbers", given.mean)
    require(_numbers(given.std, 3), "input.std", "three numbers", given.std)
    require(min(given.std) > 0, "input.std", "three numbers above 0", given.std)
    one_of("input.pixels", given.pixels, ("0-255", "0-1"))
    one_of("input.channels", given.channels, ("RGB", "BGR"))
    one_of("input.layout", given.layout, ("NCHW", "NHWC"))
    one_of("input.fit", given.fit, get_args(Fit))
    one_of("input.resample", given.resample, get_args(Resample))
    require(_number(given.crop) and 0 < given.crop <= 1, "input.crop", "in (0, 1]", given.crop)
    require(isinstance(fc6.output, str), "fc6.output", "the name of an output", fc6.output)
    require(_positive(fc6.units), "fc6.units", "a positive integer", fc6.units)
    one_of("fc6.rule", fc6.rule, get_args(Rule))
    require(_number(fc6.threshold), "fc6.threshold", "a number", fc6.threshold)
    require(_positive(fc6.bits), "fc6.bits", "a positive integer", fc6.bits)
    require(isinstance(fc6.seed, int) and fc6.seed >= 0, "fc6.seed", "0 or more", fc6.seed)
    for key, values in (("fc6.medians", fc6.medians), ("fc6.centre", fc6.centre)):
        fits = values is None or _numbers(values, fc6.units)
        require(fits, key, f"{fc6.units} numbers", values and f"{len(values)} values")
    if fc6.rule == "medians" and fc6.medians is None:
        raise InputError(
            f"{where}: the rule 'medians' needs fc6.medians, one a unit. "
            "`pinjoin encoders add … --images FOLDER` measures them on pictures of yours."
        )
    if fc8 is None:
        return
    require(isinstance(fc8.output, str), "fc8.output", "the name of an output", fc8.output)
    require(_positive(fc8.classes), "fc8.classes", "a positive integer", fc8.classes)
    require(fc8.classes <= 65_536, "fc8.classes", "at most 65,536", fc8.classes)
    one_of("fc8.values", fc8.values, ("logits", "probabilities"))
    require(_number(fc8.power) and fc8.power > 0, "fc8.power", "above 0", fc8.power)
    require(_positive(fc8.keep), "fc8.keep", "a positive integer", fc8.keep)
    require(fc8.keep <= fc8.classes, "fc8.keep", "at most fc8.classes", fc8.keep)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _numbers(values: object, count: int, kind: type = float) -> bool:
    if not isinstance(values, tuple) or len(values) != count:
        return False
    return all(_number(v) and (kind is float or isinstance(v, int)) for v in values)


def is_name(name: object) -> bool:
    """Whether this can name an encoder, and so its files."""
    return isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) is not None
