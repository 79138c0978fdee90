"""Where encoders stand: those of the package, of the user, and of one workspace."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from pinjoin.core.errors import InputError
from pinjoin.features.cards import NAME_RULE, Card, is_name, parse_card, read_card, read_json

if TYPE_CHECKING:
    from pinjoin.features.visual import Encoder

PACKAGED = Path(__file__).parent / "encoders"
_SAMPLE = 2_000  # pictures that a median or a mean is measured on
_TRIED = 3  # pictures that a new model is tried on


def user_folder() -> Path:
    """The user's own encoders: XDG_DATA_HOME, else the platform's folder for such data."""
    home = os.environ.get("XDG_DATA_HOME")
    if home:
        base = Path(home)
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path.home() / ".local" / "share"
    return base / "pinjoin" / "encoders"


def workspace_folder(workspace: Path) -> Path:
    """A workspace's own encoders."""
    return workspace / "encoders"


def list_encoders(folders: Sequence[Path] = ()) -> Iterator[tuple[Path, Card]]:
    """ONNX file and card of every encoder found, by name; a name in an earlier folder wins.

    Searched in order: `folders`, the user's, the package's. A broken card raises InputError.
    """
    found: dict[str, Path] = {}
    for folder in (*folders, user_folder(), PACKAGED):
        for path in sorted(folder.glob("*.onnx")):
            found.setdefault(path.stem, path)
    for name in sorted(found):
        yield found[name], read_card(found[name].with_suffix(".json"))


def lasting(name_or_path: str | os.PathLike[str]) -> str:
    """A name as it is; a path so that it leads to the file from any folder."""
    given = Path(name_or_path)
    return os.path.abspath(given) if _is_path(given) else str(given)  # noqa: PTH100 - keep links


def _is_path(given: Path) -> bool:
    return given.suffix == ".onnx" or len(given.parts) > 1


def find_encoder(name_or_path: str | os.PathLike[str], folders: Sequence[Path] = ()) -> Path:
    """The ONNX file of a name, or the path itself. Raises InputError when there is none."""
    given = Path(name_or_path)
    if _is_path(given):
        if not given.is_file():
            raise InputError(f"{given}: no such file. An encoder is an ONNX file and its card.")
        return given
    for folder in (*folders, user_folder(), PACKAGED):
        path = folder / f"{given}.onnx"
        if path.is_file():
            return path
    names = sorted({p.stem for f in (*folders, user_folder(), PACKAGED) for p in f.glob("*.onnx")})
    raise InputError(
        f"There is no encoder named {str(given)!r}. Known are {', '.join(names) or 'none'}. "
        "Add one with `pinjoin encoders add MODEL.onnx`."
    )


def add_encoder(
    model: Path, card: Path, folder: Path, *, name: str | None = None, images: Path | None = None
) -> Path:
    """Check a model and its card and copy both into `folder` → the ONNX file's new path.

    The card gets the model's checksum, `name` if given, its class names' new file name and, with
    `images` (a folder of pictures), what its rule needs to know of the embedding: the medians,
    or the centre. Raises InputError when model and card do not fit, the model does not work, or
    the name is taken.
    """
    from pinjoin.features.visual import open_encoder, read_labels

    content = read_json(card)
    content["name"] = name or content.get("name", model.stem)
    if not is_name(content["name"]):
        raise InputError(f"{content['name']!r} is no name of an encoder. {NAME_RULE}")
    if images is not None:
        _measure(content, model, card, images)
    checked = parse_card(content, str(card))
    _try_out(open_encoder(model, checked))
    content["model_sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()
    labels = None
    if checked.fc8 is not None and checked.fc8.labels is not None:
        labels = card.parent / checked.fc8.labels
        read_labels(labels, checked.fc8.classes)
        content["fc8"]["labels"] = f"{checked.name}.labels.json"
    return _keep(model, content, labels, folder)


def _measure(content: dict[str, Any], model: Path, card: Path, images: Path) -> None:
    from pinjoin.features.embedding import raw_fc6
    from pinjoin.features.visual import median_thresholds, open_encoder

    rule: Any = content.get("fc6")
    needs = {"medians": "medians", "hyperplanes": "centre"}
    wanted = needs.get(rule.get("rule", "")) if isinstance(rule, dict) else None
    if rule is None or wanted is None:
        return  # a threshold needs no pictures; what else is wrong, the card's reader says
    plain = {**content, "fc6": {**rule, "rule": "threshold", "medians": None, "centre": None}}
    encoder = open_encoder(model, parse_card(plain, str(card)))
    paths = sorted(path for path in images.rglob("*") if path.is_file())
    step = max(1, len(paths) // _SAMPLE)
    fc6 = raw_fc6(paths[::step][:_SAMPLE], encoder)
    if len(fc6) == 0:
        raise InputError(f"{images}: no picture in it could be decoded.")
    found = median_thresholds(fc6) if wanted == "medians" else fc6.mean(axis=0)
    rule[wanted] = [float(value) for value in found]


def _try_out(encoder: Encoder) -> None:
    """Refuse a model that cannot take several pictures at once, or sees others then."""
    shape = (_TRIED, *encoder.card.input.size, 3)
    pictures = list(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    alone, together = encoder.encode(pictures[:1]), encoder.encode(pictures)
    for one, many in zip(alone, together, strict=True):
        if one is None or many is None:
            continue
        if not np.isfinite(many).all():
            raise InputError(f"{encoder.path}: gives numbers that are not finite.")
        if not np.allclose(one, many[:1], rtol=0.01, atol=0.01 * float(np.abs(many).max())):
            raise InputError(
                f"{encoder.path}: sees a picture differently when others are beside it. "
                "Export it for inference (model.eval()), so that any number can be given at once."
            )


def _keep(model: Path, content: dict[str, Any], labels: Path | None, folder: Path) -> Path:
    """Copy model, card and names, whole or not at all; the model last, as it makes the name."""
    from pinjoin.features.visual import load_encoder

    target = folder / f"{content['name']}.onnx"
    if target.exists():
        raise InputError(f"{target}: already exists. Give another name or remove it.")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".adding-") as scratch:
        trial = Path(scratch) / target.name
        shutil.copyfile(model, trial)
        _write_json(trial.with_suffix(".json"), content)
        try:
            load_encoder(trial)
        except InputError:
            raise InputError(
                f"{model}: keeps its weights in another file. Save them in it, as in "
                f"onnx.save(onnx.load({str(model)!r}), 'whole.onnx'), and add that."
            ) from None
        if labels is not None:
            shutil.copyfile(labels, folder / content["fc8"]["labels"])
        trial.with_suffix(".json").replace(target.with_suffix(".json"))
        trial.replace(target)
    return target


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")
