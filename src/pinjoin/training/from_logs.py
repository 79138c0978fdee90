"""A ranker from what people did: impressions and actions → COEC → triplets → weights (§IV.B).

A model is judged on queries that it did not learn from, beside the number of shared boards and a
model that took clicks at their face value. How much it counts what was done for the very query
(Navboost, §VI) is tuned on the latest requests, by what was done before them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pinjoin.core.progress import Progress, silent
from pinjoin.data.event_log import EventLog
from pinjoin.features.pair_schema import CONTEXT, GROUPS
from pinjoin.features.pairs import PairConfig, PairFeatures
from pinjoin.ranker import NAVBOOST, feature_config
from pinjoin.ranking.lambdamart import TreeModel
from pinjoin.ranking.model import About, LinearModel, Model
from pinjoin.ranking.navboost import Navboost, tune_gamma
from pinjoin.ranking.navboost_store import save_navboost
from pinjoin.ranking.store import save_model
from pinjoin.ranking.triplets import ENGAGED
from pinjoin.recommender import Workspace
from pinjoin.training.described import Pairs, describe_triplets
from pinjoin.training.learners import Learner, out_of_fold
from pinjoin.training.log_config import LEAST, LogTraining
from pinjoin.training.log_triplets import IN_CONTEXT, LATER, LEARNED, RAW, LoggedTriplets, draw
from pinjoin.training.logged import Logged, in_rows
from pinjoin.training.people import People

_LOG_RATIO = "navboost.log_ratio"


@dataclass(frozen=True)
class Learned:
    """What a log taught.

    control: the model of other features on the same triplets, if one was asked for. navboost:
    what was done in the whole log; None where no model counts it.
    """

    model: Model
    control: Model | None
    navboost: Navboost | None
    logged: Logged

    @property
    def models(self) -> list[Model]:
        """The model and, if there is one, its control."""
        return [self.model, *([] if self.control is None else [self.control])]

    def save(self, workspace: Workspace, use: bool = True) -> list[Path]:
        """Keep everything with the workspace, and (by default) rank by the model; the files of
        its models. Raises as `save_model` and `save_navboost` do."""
        path = workspace.path
        if self.navboost is not None:
            names, snapshot = workspace.signatures(), workspace.snapshot.name
            save_navboost(path, self.model.about.name, self.navboost, names, snapshot)
        controls = [save_model(path, one, use=False) for one in self.models[1:]]
        return [save_model(path, self.model, use=use), *controls]


def train_from_logs(
    workspace: Workspace,
    log: EventLog,
    config: LogTraining | None = None,
    pairs: PairConfig | None = None,
    control: PairConfig | None = None,
    *,
    name: str = "logs",
    progress: Progress = silent,
) -> Learned:
    """Learn to rank a catalogue from a log of impressions and actions.

    log: as read, of ids. pairs: the features; None: all, and of a request's context those that
    the log tells of. control: those of a second model, NAME-control, on the same triplets.
    Deterministic. Raises InputError where nothing in the log is of the catalogue, or too little
    to learn from; ConfigError where LambdaMART is wanted and LightGBM is missing.
    """
    config = config or LogTraining()
    logged = in_rows(workspace, log, config.actions)
    logged = logged.at_face_value() if config.face_value else logged
    people = People(workspace, logged.log, logged.worth)
    configs = [pairs or _features_for(people), *([] if control is None else [control])]
    known = people.known if any("context" in one.groups for one in configs) else None
    triplets = draw(logged, known, workspace.n_images, config)
    sets = [workspace.pair_features(one) for one in configs]
    described, counts = describe_triplets(workspace, triplets, people.of, sets, progress)
    learning = _Learning(
        config, triplets, counts, _boosts(logged, triplets, config),
        _hash(workspace.snapshot.name, logged, triplets), name,
    )  # fmt: skip
    models = [
        learning.model(features, given, own)
        for features, given, own in zip(sets, described, (name, f"{name}-control"), strict=False)
    ]
    counted = any(NAVBOOST in model.about.config for model in models)
    boost = Navboost.at_rates(logged.log, logged.rates.rates, config.navboost) if counted else None
    return Learned(models[0], models[1] if control else None, boost, logged)


def _features_for(people: People) -> PairConfig:
    """All but what the log cannot teach."""
    lost = people.unknown_features
    return PairConfig() if set(lost) == set(CONTEXT) else PairConfig(GROUPS, lost)


def _boosts(logged: Logged, triplets: LoggedTriplets, config: LogTraining) -> Pairs:
    """Of the later triplets, what was done before them: (later triplets,)."""
    earlier, _ = logged.log.split_by_time(config.earlier)
    boost = Navboost.at_rates(earlier, logged.rates.rates, config.navboost)
    asked = triplets.where(triplets.use == LATER).triplets
    values = [
        boost.values(int(query), np.array(both))
        for query, *both in zip(asked.query, asked.better, asked.worse, strict=True)
    ]
    better, worse = np.array(values, np.float64).reshape(-1, 2).T
    return Pairs(better, worse)


def _hash(snapshot: str, logged: Logged, triplets: LoggedTriplets) -> str:
    """SHA-256 (hex) of what was learned from: the same for a model and its control."""
    table, learned = logged.table, triplets.where(triplets.use == LEARNED).triplets
    digest = hashlib.sha256(snapshot.encode())
    columns = (table.query, table.candidate, table.actions, table.expected)
    for column in (*columns, learned.query, learned.better, learned.worse, learned.kind):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Learning:
    """Models of several sets of features from the same triplets."""

    config: LogTraining
    triplets: LoggedTriplets
    counts: Pairs  # scores by shared boards
    boosts: Pairs  # of the later triplets
    hash: str
    navboost: str  # the name that what people did is kept under

    def model(self, features: PairFeatures, given: Pairs, name: str) -> Model:
        """given: features of all triplets."""
        use, fold, config = self.triplets.use, self.triplets.fold, self.config
        mine, raw, later = (use == one for one in (LEARNED, RAW, LATER))
        learner = Learner(config.model, features.schema, config.C, seed=config.seed)
        chosen, models = learner.validated(given.where(mine), fold[mine], config.folds)
        ways = {
            "": out_of_fold(models, given.where(mine), fold[mine]),
            "_by_count": self.counts.where(mine),
        }
        if np.count_nonzero(raw) >= LEAST:
            _, naive = learner.validated(given.where(raw), fold[raw], config.folds)
            ways["_by_raw_clicks"] = out_of_fold(naive, given.where(mine), fold[mine])
        metrics = self._metrics(ways)
        settings: dict[str, Any] = {**config.plain(), **feature_config(features.config)}
        gamma = 0.0
        if later.any() and _LOG_RATIO in features.schema:
            gamma, tuned = self._tuned(out_of_fold(models, given.where(later), fold[later]))
            metrics |= tuned
        if gamma:
            settings[NAVBOOST] = self.navboost
        about = About.now(name, "logs", self.hash, metrics, settings)
        model = chosen.fit(given.where(mine), about)
        return _with_gamma(_centred(model), gamma, self.boosts) if gamma else _centred(model)

    def _metrics(self, ways: Mapping[str, Pairs]) -> dict[str, float]:
        """ways: scores of the triplets learned from, by what follows `in_order` in a name."""
        kind = self.triplets.triplets.kind[self.triplets.use == LEARNED]
        engaged, in_context = kind == ENGAGED, kind == IN_CONTEXT
        query = self.triplets.triplets.query[self.triplets.use == LEARNED]
        metrics: dict[str, float] = {
            "queries": len(np.unique(query)),
            "triplets": int(np.sum(~in_context)),
            "in_order": ways[""].where(~in_context).in_order(),
            "engaged": int(np.sum(engaged)),
        }
        for way, found in ways.items() if engaged.any() else ():
            metrics[f"engaged_in_order{way}"] = found.where(engaged).in_order()
        if in_context.any():
            metrics["in_context"] = int(np.sum(in_context))
            metrics["in_context_in_order"] = ways[""].where(in_context).in_order()
            metrics["in_context_in_order_by_count"] = ways["_by_count"].where(in_context).in_order()
        return metrics

    def _tuned(self, scores: Pairs) -> tuple[float, dict[str, float]]:
        """How much Navboost counts, and what it does for the later triplets."""
        boosts = self.boosts
        choice = tune_gamma(scores.better, scores.worse, boosts.better, boosts.worse)
        return choice.gamma, {
            "later": len(scores),
            "later_in_order": choice.shares[choice.gamma],
            "later_in_order_without_navboost": choice.shares[0.0],
        }


def _centred(model: Model) -> Model:
    """What a request does not say, or nobody did, adds nothing."""
    if not isinstance(model, LinearModel):
        return model
    usual = np.isin(model.features, [*CONTEXT, _LOG_RATIO])
    return replace(model, means=np.where(usual, 0, model.means))


def _with_gamma(model: Model, gamma: float, boosts: Pairs) -> Model:
    """score += γ · nb."""
    here = np.array(model.features) == _LOG_RATIO
    if isinstance(model, TreeModel):
        return replace(model, linear=tuple(np.where(here, gamma, 0.0).tolist()))
    if not isinstance(model, LinearModel):
        return model
    deviation = np.std([boosts.better, boosts.worse])
    weights, scales = np.where(here, gamma, model.weights), np.where(here, deviation, model.scales)
    return replace(model, weights=weights, scales=scales)
