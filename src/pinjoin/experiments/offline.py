"""Board completion: how well each ranker finds what was hidden from boards, in one table.

All rankers see the same catalogue without the hidden pins and rank the same images for the same
queries. Nothing of what they see may tell which image is wanted: see `pinjoin.data.splits` and
`pinjoin.experiments.scorers.Rebuilt`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import NO_ROW, UInt32s
from pinjoin.data.splits import Held
from pinjoin.experiments import metrics
from pinjoin.experiments.asked import EvaluationConfig, categories_of, choose
from pinjoin.experiments.baselines import BASELINES
from pinjoin.experiments.content import CONTENT
from pinjoin.experiments.intervals import Estimate, bootstrap_means, estimate, ratio
from pinjoin.experiments.learned import LEARNED
from pinjoin.experiments.peers import PEERS
from pinjoin.experiments.scorers import Factory, NotRun, Split, check_lists, rank_all
from pinjoin.recommender import Workspace

SCORERS: Mapping[str, Factory] = {**LEARNED, **BASELINES, **CONTENT, **PEERS}
"""Everything that is compared, by its name in the table."""

METRICS = ("ndcg@100", "recall@10", "recall@100", "mrr", "triplets")
"""What is averaged over queries; results are ordered by the first."""

SHOWN = 10
"""How much of a list counts for coverage, popularity and Gini."""


@dataclass(frozen=True)
class Result:
    """One ranker: how well it did."""

    name: str
    note: str  # settings that were chosen for it
    means: dict[str, Estimate]  # METRICS
    ratio: Estimate | None  # of the first of them to that of `against`
    coverage: float  # of the first SHOWN of its lists, as in `pinjoin.experiments.metrics`
    popularity: float | None  # None where nothing is listed
    gini: float
    ms: float  # of a query
    by_category: dict[str, Estimate]  # the first of METRICS


@dataclass(frozen=True)
class Evaluation:
    """The table, best first."""

    snapshot: str
    config: EvaluationConfig
    queries: int
    eligible: int  # images that compete
    categories: dict[str, int]  # queries of each, most first
    results: list[Result]
    not_run: dict[str, str]  # why, by name

    def to_dict(self) -> dict[str, Any]:
        """As plain data, ready for JSON."""
        return asdict(self)


def evaluate(
    workspace: Workspace,
    config: EvaluationConfig | None = None,
    scorers: Mapping[str, Factory] = SCORERS,
    *,
    progress: Progress = silent,
) -> Evaluation:
    """Hide, let every scorer rank, and compare.

    Raises InputError where nothing can be hidden, ConfigError for an unknown category and for a
    scorer that breaks its contract. One that cannot run is listed with its reason.
    """
    config = config or EvaluationConfig()
    check(len(scorers) >= 1, "scorers", "evaluate", "at least one", scorers)
    known = {**SCORERS, **scorers}
    allowed = f"one of {'; '.join(known)}"
    check(config.against in known, "against", "evaluate", allowed, config.against)
    categories = categories_of(workspace)
    held = choose(workspace, categories, config)
    split = Split(workspace, held, config.seed, progress=progress)
    ran: dict[str, _Ran] = {}
    not_run: dict[str, str] = {}
    for name, make in scorers.items():
        try:
            ran[name] = _run(name, make, split, config, progress)
        except NotRun as why:
            not_run[name] = str(why)
    results = _results(ran, categories[held.queries], config)
    return Evaluation(
        workspace.snapshot.name,
        config,
        len(held),
        int(held.eligible.sum()),
        dict(Counter(categories[held.queries].tolist()).most_common()),
        sorted(results, key=lambda one: -one.means[METRICS[0]].value),
        not_run,
    )


@dataclass(frozen=True)
class _Ran:
    """values: (queries, METRICS) float64."""

    note: str
    values: metrics.Floats
    coverage: float
    popularity: float | None
    gini: float
    ms: float


def _run(
    name: str,
    make: Factory,
    split: Split,
    config: EvaluationConfig,
    progress: Progress,
) -> _Ran:
    held, eligible = split.held, split.held.eligible
    scorer = make(split)
    with progress(f"evaluating {name}", len(held)) as advance:
        start = time.perf_counter()
        lists = rank_all(name, scorer, held, config.depth, advance)
        seconds = time.perf_counter() - start
    check_lists(name, lists, held)
    shown = lists[:, :SHOWN]
    return _Ran(
        scorer.note,
        _measure(lists, held),
        metrics.coverage(shown, eligible),
        metrics.popularity(shown, split.incidence.degrees, eligible),
        metrics.gini(shown, eligible),
        seconds / len(held) * 1e3,
    )


def _measure(lists: UInt32s, held: Held) -> metrics.Floats:
    """(queries, METRICS)"""
    place = metrics.places(lists, held.hidden)
    listed = np.count_nonzero(lists != NO_ROW, axis=1)
    others = int(held.eligible.sum()) - 1 - held.eligible[held.queries]
    columns = (
        metrics.ndcg(place, 100),
        metrics.recall(place, 10),
        metrics.recall(place, 100),
        metrics.reciprocal_rank(place),
        metrics.in_order(place, listed, others),
    )
    return np.stack(columns, axis=1)


def _results(
    ran: Mapping[str, _Ran], category: npt.NDArray[np.object_], config: EvaluationConfig
) -> list[Result]:
    everyone = np.ones(len(category), bool)
    means, ratios = _estimates({name: one.values for name, one in ran.items()}, everyone, config)
    first = {name: one.values[:, :1] for name, one in ran.items()}
    parts = {part: _estimates(first, category == part, config)[0] for part in set(category)}
    return [
        Result(
            name,
            one.note,
            dict(zip(METRICS, means[name], strict=True)),
            ratios.get(name),
            one.coverage,
            one.popularity,
            one.gini,
            one.ms,
            {part: some[name][0] for part, some in parts.items()},
        )
        for name, one in ran.items()
    ]


def _estimates(
    values: Mapping[str, metrics.Floats], some: npt.NDArray[np.bool_], config: EvaluationConfig
) -> tuple[dict[str, list[Estimate]], dict[str, Estimate | None]]:
    """Of each scorer its means over some of the queries, and the ratios of the first of them.

    The draws depend on the seed and the number of queries alone.
    """
    means, drawn = {}, {}
    for name, columns in values.items():
        rng = np.random.default_rng([config.seed, 3])
        means[name] = columns[some].mean(axis=0)
        drawn[name] = bootstrap_means(columns[some], rng, config.resamples)
    estimates = {
        name: [estimate(*pair) for pair in zip(means[name], drawn[name].T, strict=True)]
        for name in values
    }
    if config.against not in values:
        return estimates, {}
    base = float(means[config.against][0]), drawn[config.against][:, 0]
    ratios = {name: ratio(float(means[name][0]), drawn[name][:, 0], *base) for name in values}
    return estimates, ratios
