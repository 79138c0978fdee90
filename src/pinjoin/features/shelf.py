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
from typing import Any

from pinjoin.core.errors import InputError
from pinjoin.features.cards import NAME_RULE, Card, is_name, read_card, read_json

PACKAGED = Path(__file__).parent / "encoders"
_SAMPLE = 2_000  # pictures that a median or a mean is measured on


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


def find_encoder(name_or_path: str | os.PathLike[str], folders: Sequence[Path] = ()) -> Path:
    """The ONNX file of a name, or the path itself. Raises InputError when there is none."""
    given = Path(name_or_path)
    if given.suffix == ".onnx" or len(given.parts) > 1:
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
    or the centre. Raises InputError when model and card do not fit, or the name is taken.
    """
    from pinjoin.features.visual import load_encoder

    content = read_json(card)
    content["name"] = name or content.get("name", model.stem)
    if not is_name(content["name"]):
        raise InputError(f"{content['name']!r} is no name of an encoder. {NAME_RULE}")
    content["model_sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()
    labels = _labels(content, card)
    if labels is not None:
        content["fc8"]["labels"] = f"{content['name']}.labels.json"
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".adding-") as scratch:
        trial = Path(scratch) / "model.onnx"
        shutil.copyfile(model, trial)
        if labels is not None:
            shutil.copyfile(labels, trial.with_name(content["fc8"]["labels"]))
        if images is not None:
            _measure(content, trial, images)
        _write_json(trial.with_suffix(".json"), content)
        _ = load_encoder(trial).labels  # model, card and names: what is wrong is found now
        return _move(trial, content, folder)


def _measure(content: dict[str, Any], trial: Path, images: Path) -> None:
    from pinjoin.features.embedding import raw_fc6
    from pinjoin.features.visual import load_encoder, median_thresholds

    rule: Any = content.get("fc6")
    needs = {"medians": "medians", "hyperplanes": "centre"}
    wanted = needs.get(rule.get("rule", "")) if isinstance(rule, dict) else None
    if rule is None or wanted is None:
        return  # a threshold needs no pictures; what else is wrong, the card's reader says
    asked = dict(rule)
    rule.update(rule="threshold", medians=None, centre=None)
    _write_json(trial.with_suffix(".json"), content)
    paths = sorted(path for path in images.rglob("*") if path.is_file())
    step = max(1, len(paths) // _SAMPLE)
    fc6 = raw_fc6(paths[::step][:_SAMPLE], load_encoder(trial))
    if len(fc6) == 0:
        raise InputError(f"{images}: no picture in it could be decoded.")
    found = median_thresholds(fc6) if wanted == "medians" else fc6.mean(axis=0)
    rule.update({**asked, wanted: [float(value) for value in found]})


def _move(trial: Path, content: dict[str, Any], folder: Path) -> Path:
    """Out of the scratch folder; the model last, as a name is found by its model."""
    target = folder / f"{content['name']}.onnx"
    if target.exists():
        raise InputError(f"{target}: already exists. Give another name or remove it.")
    for path in trial.parent.glob("*.labels.json"):
        path.replace(folder / path.name)
    trial.with_suffix(".json").replace(target.with_suffix(".json"))
    trial.replace(target)
    return target


def _labels(content: dict[str, Any], card: Path) -> Path | None:
    fc8 = content.get("fc8")
    name = fc8.get("labels") if isinstance(fc8, dict) else None
    if name is None:
        return None
    path = card.parent / str(name)
    if not path.is_file():
        raise InputError(f"{card}: fc8.labels names {name!r}, but {path} is no file.")
    return path


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")
