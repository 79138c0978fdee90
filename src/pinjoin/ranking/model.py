"""A ranker as a file a person can read: what it weighs, what it learned from, how good it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

import pinjoin
from pinjoin.core.errors import ConfigError, InputError, check

FORMAT_VERSION = 1

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.floating[Any]]

Schema: TypeAlias = Sequence[str] | Mapping[str, str]
"""Feature names in the order of a matrix's columns; as a mapping, each with what it is made by
(an encoder's name and version, say), which a model then holds the features to as well."""


@dataclass(frozen=True)
class About:
    """What is known of a model besides its numbers."""

    name: str
    created_at: str  # ISO 8601, UTC
    trained_on: str  # "logs", "boards" …
    data_hash: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    pinjoin_version: str = ""

    @staticmethod
    def now(
        name: str,
        trained_on: str,
        data_hash: str,
        metrics: Mapping[str, float] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> About:
        """With the time and this version of pinjoin filled in."""
        time = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        version = pinjoin.__version__
        return About(name, time, trained_on, data_hash, metrics or {}, config or {}, version)


class Model(Protocol):
    """Anything that scores documents by their features. `LinearModel`, `lambdamart.TreeModel`."""

    kind: ClassVar[str]

    @property
    def about(self) -> About:
        """What is known of it."""

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns it reads, in order."""

    @property
    def definitions(self) -> tuple[str, ...]:
        """What each is made by; '' where it does not say."""

    def score(self, X: Matrix) -> Floats:  # noqa: N803
        """The score of each document, (documents, features) → float64 (documents,)."""

    def contributions(self, X: Matrix) -> Floats:  # noqa: N803
        """What each feature adds, float64 (documents, features); rows sum to `score`."""

    def numbers(self) -> dict[str, Any]:
        """What belongs to the kind of model, as JSON."""


@dataclass(frozen=True)
class LinearModel:
    """score = Σ weight × (feature − mean): 0 is a document that is average in every feature.

    weights, means, scales float64 (features,): weights are for features as they are; scales are
    the deviations in training, so |weight| × scale tells which features matter.
    """

    kind: ClassVar[str] = "linear"
    about: About
    features: tuple[str, ...]
    weights: Floats
    means: Floats
    scales: Floats
    definitions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.features)
        check(n > 0, "features", "LinearModel", "one name at least", self.features)
        distinct = len(set(self.features)) == n
        check(distinct, "features", "LinearModel", "names that differ", self.features)
        for name in ("weights", "means", "scales"):
            values = np.asarray(getattr(self, name), np.float64)
            good = values.shape == (n,) and bool(np.isfinite(values).all())
            check(good, name, "LinearModel", f"{n} finite numbers, one per feature", values)
            object.__setattr__(self, name, values)
        object.__setattr__(self, "definitions", tuple(self.definitions) or ("",) * n)

    def score(self, X: Matrix) -> Floats:  # noqa: N803
        """See `Model.score`."""
        X = _matrix(X, self.features)  # noqa: N806
        scores: Floats = X @ self.weights - self.means @ self.weights
        return scores

    def contributions(self, X: Matrix) -> Floats:  # noqa: N803
        """w_i · (Φ_i − mean_i), which sum to the score (design: "Why")."""
        X = _matrix(X, self.features)  # noqa: N806
        parts: Floats = (X - self.means) * self.weights
        return parts

    def numbers(self) -> dict[str, Any]:
        """One object per feature."""
        columns = zip(
            self.features, self.weights, self.means, self.scales, self.definitions, strict=True
        )
        return {
            "features": [
                {"name": name, "weight": float(w), "mean": float(m), "scale": float(s)}
                | ({"definition": definition} if definition else {})
                for name, w, m, s, definition in columns
            ]
        }


def from_ranksvm(svm: Any, schema: Schema, about: About) -> LinearModel:
    """The model of a fitted `RankSVM`, whose columns were `schema`."""
    if not hasattr(svm, "coef_"):
        raise InputError("This RankSVM has no weights yet: call fit(better, worse) first.")
    names, definitions = split_schema(schema)
    about = replace(about, config={"C": float(svm.C), **about.config})
    return LinearModel(about, names, svm.coef_, svm.mean_, svm.scale_, definitions)


def _matrix(X: Any, features: Sequence[str]) -> Matrix:  # noqa: N803
    X = np.asarray(X)  # noqa: N806
    if X.ndim != 2 or X.shape[1] != len(features):
        raise InputError(
            f"The features must be (documents, {len(features)}), in the model's order "
            f"({', '.join(features[:3])}, …). Got an array of shape {X.shape}."
        )
    matrix: Matrix = X
    return matrix


def split_schema(schema: Schema) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names, definitions), '' where there is none."""
    if isinstance(schema, Mapping):
        return tuple(schema), tuple(schema.values())
    return tuple(schema), ("",) * len(schema)


def schema_hash(schema: Schema) -> str:
    """SHA-256 (hex) of the features' names, order and definitions.

    >>> schema_hash(["a", "b"]) == schema_hash({"a": "", "b": ""}) != schema_hash(["b", "a"])
    True
    """
    names, definitions = split_schema(schema)
    text = json.dumps([names, definitions], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def model_schema(model: Model) -> dict[str, str]:
    """The features a model was trained on, with their definitions."""
    return dict(zip(model.features, model.definitions, strict=True))


def require_schema(model: Model, schema: Schema) -> None:
    """InputError, naming the features that differ, unless `schema` is the model's."""
    ours = model_schema(model)
    names, definitions = split_schema(schema)
    if schema_hash(ours) == schema_hash(schema):
        return
    theirs = dict(zip(names, definitions, strict=True))
    lacking = [name for name in ours if name not in theirs]
    unknown = [name for name in theirs if name not in ours]
    changed = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    parts = [
        f"the model has {_some(lacking)}, which the catalogue lacks" if lacking else "",
        f"the catalogue has {_some(unknown)}, which the model does not know" if unknown else "",
        *(f"{n} was made by {ours[n]!r} and is by {theirs[n]!r}" for n in changed[:5]),
        f"and {len(changed) - 5} more are made otherwise" if len(changed) > 5 else "",
    ]
    differ = "; ".join(p for p in parts if p) or "the features are in another order"
    raise InputError(
        f"The model {model.about.name!r} does not fit the features of this catalogue: {differ}. "
        "Train again (`pinjoin train WORKSPACE …`), use another model "
        "(`pinjoin models list WORKSPACE`), or build with the features it was trained on."
    )


def _some(names: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def to_json(model: Model) -> str:
    """A model as text: one line per feature, so that two versions can be compared by eye."""
    about = model.about
    content = {
        "format_version": FORMAT_VERSION,
        "kind": model.kind,
        "name": about.name,
        "created_at": about.created_at,
        "pinjoin_version": about.pinjoin_version,
        "trained_on": about.trained_on,
        "data_hash": about.data_hash,
        "schema_hash": schema_hash(model_schema(model)),
        "metrics": dict(about.metrics),
        "config": dict(about.config),
        **model.numbers(),
    }
    lines = [f"  {json.dumps(key)}: {_value(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _value(value: Any) -> str:
    try:
        if isinstance(value, list):
            inside = ",\n".join(
                f"    {json.dumps(one, ensure_ascii=False, allow_nan=False)}" for one in value
            )
            return f"[\n{inside}\n  ]" if value else "[]"
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ConfigError(
            "A model's metrics and settings must be finite numbers, text and lists of them. "
            f"Got {value!r}."
        ) from error


def from_json(text: str, where: str) -> Model:
    """Read a model; `where` is the file to name in errors.

    Raises InputError if it is no model, damaged, of a format or kind this version does not read,
    or if its features do not hash to what it says.
    """
    try:
        content = json.loads(text)
        version, kind = content["format_version"], content["kind"]
    except (ValueError, TypeError, KeyError):
        raise _damaged(where, "it is not a model") from None
    if version != FORMAT_VERSION:
        raise InputError(
            f"{where} is a model of format {version!r}; pinjoin {pinjoin.__version__} reads "
            f"format {FORMAT_VERSION}. Use the version that wrote it "
            f"({content.get('pinjoin_version', 'unknown')}) or a later one, or train again."
        )
    try:
        model = _of_kind(kind, content, where)
        recorded = content["schema_hash"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(where, f"{type(error).__name__}: {error}") from error
    if recorded != schema_hash(model_schema(model)):
        raise _damaged(where, "its features are not those it was saved with (schema_hash)")
    return model


def _of_kind(kind: str, content: Mapping[str, Any], where: str) -> Model:
    about = About(
        content["name"], content["created_at"], content["trained_on"], content["data_hash"],
        dict(content["metrics"]), dict(content["config"]), content["pinjoin_version"],
    )  # fmt: skip
    features = content["features"]
    names = tuple(f["name"] for f in features)
    definitions = tuple(f.get("definition", "") for f in features)
    if kind == LinearModel.kind:
        weights, means, scales = (
            np.array([float(f[key]) for f in features]) for key in ("weight", "mean", "scale")
        )
        return LinearModel(about, names, weights, means, scales, definitions)
    if kind == "lambdamart":
        from pinjoin.ranking.lambdamart import TreeModel

        trees, base = tuple(content["trees"]), float(content["base"])
        linear = tuple(float(f.get("linear", 0)) for f in features)
        return TreeModel(about, names, trees, base, definitions, linear)
    raise InputError(
        f"{where} is a model of kind {kind!r}; pinjoin {pinjoin.__version__} knows linear and "
        "lambdamart. Use a later version, or train again."
    )


def _damaged(where: str, why: str) -> InputError:
    return InputError(
        f"{where} cannot be used as a model: {why}. Choose another one "
        "(`pinjoin models list WORKSPACE`), or train again."
    )


def read_model(path: Path, schema: Schema | None = None) -> Model:
    """The model in a file; refused (InputError) if it is not for the features `schema`."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise InputError(f"There is no model {path}. Check the name.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(str(path), str(error)) from error
    model = from_json(text, str(path))
    if schema is not None:
        require_schema(model, schema)
    return model
