"""The models of a workspace.

WORKSPACE/models/<name>.json       one model each, never changed
WORKSPACE/models/current           the name of the one in use
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pinjoin.core.errors import ConfigError, InputError, PinjoinError
from pinjoin.ranking.model import LinearModel, Model, Schema, read_model, to_json

COUNT = "count"
"""In place of a model's name: no model ranks, most shared boards come first (§IV.A)."""

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class ModelInfo:
    """One model of a workspace; `problem` says why it cannot be used (then model is None)."""

    name: str
    current: bool
    model: Model | None
    problem: str | None = None


@dataclass(frozen=True)
class Change:
    """How one feature's weight differs; None where a model does not have the feature.

    `effect` is weight × scale: what one deviation of the feature is worth.
    """

    feature: str
    before: float | None
    after: float | None
    effect_before: float | None
    effect_after: float | None


def models_folder(workspace: Path) -> Path:
    """Where the models lie."""
    return workspace / "models"


def save_model(workspace: Path, model: Model, use: bool = True) -> Path:
    """Keep a model under its name, and (by default) switch to it; both atomically.

    Raises ConfigError for a name that is taken or is no plain file name, InputError if the disk
    refuses.
    """
    name = model.about.name
    require_new(workspace, name)
    folder = models_folder(workspace)
    path = folder / f"{name}.json"
    text = to_json(model)
    with _disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, text, replace=False)
    if use:
        use_model(workspace, name)
    return path


def require_new(workspace: Path, *names: str) -> None:
    """ConfigError unless models may be kept under these names: better before long work."""
    for name in names:
        if not MODEL_NAME.fullmatch(name) or name in ("current", COUNT):
            raise ConfigError(
                "A model's name must be up to 100 letters, digits, dots, - and _, beginning with a "
                f"letter or digit, and not 'current' or 'count'. Got {name!r}."
            )
        if (models_folder(workspace) / f"{name}.json").exists():
            raise _taken(name)


def _taken(name: str) -> ConfigError:
    return ConfigError(
        f"There is a model {name!r} already, and models are not overwritten. "
        "Give the new one another name."
    )


def use_model(workspace: Path, name: str, schema: Schema | None = None) -> Model | None:
    """Switch to a model, after reading it; InputError if it cannot be used. None for "count"."""
    model = None if name == COUNT else load_model(workspace, name, schema)
    current = models_folder(workspace) / "current"
    with _disk_errors(current):
        _write(current, f"{name}\n", replace=True)
    return model


def load_model(workspace: Path, name: str | None = None, schema: Schema | None = None) -> Model:
    """The model of that name; by default the one in use.

    Raises InputError, naming what differs, if `schema` is not what it was trained on; and for
    what is missing or damaged.
    """
    if name is None:
        name = current_model(workspace)
        if name is None:
            raise InputError(
                f"{workspace} uses no model. Train one with `pinjoin train {workspace} …`."
            )
    path = models_folder(workspace) / f"{name}.json"
    if not MODEL_NAME.fullmatch(name) or not path.is_file():
        raise _unknown(workspace, name)
    return read_model(path, schema)


def current_model(workspace: Path) -> str | None:
    """The name of the model in use; None if there is none."""
    try:
        name = (models_folder(workspace) / "current").read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{models_folder(workspace) / 'current'} cannot be read: {error}. "
            f"Choose a model with `pinjoin models use {workspace} NAME`."
        ) from error
    return name or None


def list_models(workspace: Path) -> list[ModelInfo]:
    """All models, the latest first; damaged ones with what is wrong."""
    current = current_model(workspace)
    found = [_info(workspace, name, name == current) for name in model_names(workspace)]
    return sorted(found, key=lambda i: (i.model.about.created_at if i.model else "", i.name))[::-1]


def model_names(workspace: Path) -> list[str]:
    """The names of all models."""
    names = (path.stem for path in models_folder(workspace).glob("*.json"))
    return sorted(name for name in names if MODEL_NAME.fullmatch(name))


def diff_models(before: Model, after: Model) -> list[Change]:
    """The features whose weight differs between two linear models, the largest change first.

    Raises ConfigError for a model that has no weights.
    """
    weights = []
    for model in (before, after):
        if not isinstance(model, LinearModel):
            raise ConfigError(
                f"The model {model.about.name!r} is of kind {model.kind}, which has no weights "
                "to compare. Compare their metrics instead."
            )
        columns = zip(model.features, model.weights, model.scales, strict=True)
        weights.append({f: (float(w), float(w * s)) for f, w, s in columns})
    old, new = weights
    changes = []
    for feature in dict.fromkeys([*old, *new]):
        a, b = old.get(feature), new.get(feature)
        if a != b:
            changes.append(
                Change(feature, a and a[0], b and b[0], a and a[1], b and b[1])
            )  # fmt: skip
    return sorted(changes, key=lambda c: -abs((c.effect_after or 0) - (c.effect_before or 0)))


def _info(workspace: Path, name: str, current: bool) -> ModelInfo:
    try:
        return ModelInfo(name, current, load_model(workspace, name))
    except PinjoinError as error:
        return ModelInfo(name, current, None, str(error))


def _unknown(workspace: Path, name: str) -> InputError:
    names = model_names(workspace)
    close = get_close_matches(name, names, n=2)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    there = f"There: {', '.join(names[:8])}." if names else "Train one with `pinjoin train`."
    return InputError(f"{workspace} has no model {name!r}. {hint}{there}")


def _write(path: Path, text: str, replace: bool) -> None:
    """Write a file whole and durably, or not at all; without `replace`, only if there is none."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        if replace:
            Path(temporary).replace(path)
        else:
            path.hardlink_to(temporary)
    except FileExistsError:
        raise _taken(path.stem) from None
    finally:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"Writing {path} failed: {error.strerror or error}. Make room, or allow this user to "
            "write there; the models before are untouched."
        ) from error
