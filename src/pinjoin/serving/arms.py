"""Which model answers whom: asked for by name, by the arm of an experiment, or the one in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pinjoin.core.errors import ConfigError
from pinjoin.experiments.assignment import assign
from pinjoin.ranking.store import COUNT, model_names
from pinjoin.serving.errors import ApiError


class Chosen(NamedTuple):
    """Whose turn it is. model None: the one in use; experiment and arm None: in no experiment."""

    model: str | None
    experiment: str | None = None
    arm: str | None = None


NO_CHOICE = Chosen(None)


@dataclass(frozen=True)
class Arms:
    """The arms of an experiment, and the models that rank in them; no experiment: none."""

    experiment: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)

    def require_models(self, workspace: Path) -> None:
        """Raise a ConfigError if the workspace does not have the model of an arm."""
        known = [COUNT, *model_names(workspace)]
        for arm, model in self.models.items():
            if model not in known:
                raise ConfigError(
                    f"The arm {arm!r} has no model {model!r} to rank with. There are: "
                    f"{', '.join(known)}."
                )

    def choose(self, workspace: Path, model: str | None, user: str | None) -> Chosen:
        """A model that a request names comes before its user's arm.

        Raises ApiError for one that the workspace does not have.
        """
        if model is not None:
            known = [COUNT, *model_names(workspace)]
            if model not in known:
                message = f"There is no model {model[:100]!r}."
                raise ApiError(404, "unknown_model", message, models=known)
            return Chosen(model)
        if user is None or self.experiment is None:
            return Chosen(None)
        arm = assign(self.experiment, user, list(self.models))
        return Chosen(self.models[arm], self.experiment, arm)
