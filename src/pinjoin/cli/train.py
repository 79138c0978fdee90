"""`pinjoin train`: learn to rank."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pinjoin.core.progress import Progress
    from pinjoin.data.event_log import EventLog
    from pinjoin.data.events import EventSource
    from pinjoin.data.rejects import Rejects
    from pinjoin.features.pairs import PairConfig
    from pinjoin.live.store import Store
    from pinjoin.ranking.model import Model
    from pinjoin.recommender import Workspace
    from pinjoin.training.from_logs import Learned

_EPILOG = """\b
  pinjoin train shop --events logs/2024-*.csv
  pinjoin train shop --live --control-groups visual,text,category,cross,cooccurrence,quality
  pinjoin train shop --from-boards
"""
DATABASE = "PINJOIN_DATABASE"  # the variable that names the live database
_OF_TRIPLETS = ("min_query_impressions", "min_impressions", "pairs", "doubt")
_OF_LOGS = ("database", "maps", "encoding", "control_groups", "model", "c", *_OF_TRIPLETS)


@click.command(epilog=_EPILOG)
@click.argument("workspace", type=click.Path(path_type=Path))
@click.argument("more", nargs=-1, metavar="[FILE]…")
@click.option("--from-boards", is_flag=True, help="From the catalogue's own boards.")
@click.option("--events", multiple=True, metavar="FILE…", help="From a log: files and globs.")
@click.option("--live", is_flag=True, help="From the events of the live database.")
@click.option(
    "--database",
    metavar="FILE_OR_URL",
    help="Implies --live; $PINJOIN_DATABASE, or else WORKSPACE/live.db, if not told.",
)
@click.option(
    "--map", "maps", multiple=True, metavar="COLUMN=COLUMN", help="Your column for one of ours."
)
@click.option("--encoding", help="Of text files; default UTF-8.")
@click.option("--name", help="Of the model; by default after the time.")
@click.option("--groups", metavar="GROUP,…", help="Only features of these groups.")
@click.option("--without", multiple=True, metavar="FEATURE", help="Not this one; repeatable.")
@click.option("--control-groups", metavar="GROUP,…", help="Learn NAME-control of these as well.")
@click.option(
    "--model",
    type=click.Choice(["ranksvm", "lambdamart"]),
    help="What is learned from a log; default ranksvm.",
)
@click.option("--C", "c", type=float, help="Of RankSVM; by default by cross-validation.")
@click.option("--min-query-impressions", type=int, help="A query needs so many; default 100.")
@click.option("--min-impressions", type=int, help="So does a candidate of it; default 10.")
@click.option("--pairs", type=int, help="Of best and worst candidates of a query; default 5.")
@click.option("--doubt", type=float, help="Imagined actions of a candidate; default 1.")
@click.option("--seed", default=0, show_default=True, type=int, help="Of what is drawn.")
@click.option("--no-use", is_flag=True, help="Keep ranking as before.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def train(workspace: Path, from_boards: bool, no_use: bool, as_json: bool, **given: Any) -> None:
    """Learn to rank WORKSPACE: from what people did with what they were shown, or from its own
    boards, of which images are hidden to be found again (docs/ranking.md)."""
    from pinjoin.cli.kernels import announce_compilation
    from pinjoin.core.progress import reporter, silent
    from pinjoin.ranking.store import COUNT, require_new
    from pinjoin.recommender import open_workspace

    _check_usage(from_boards, given)
    source = "boards" if from_boards else "logs"
    name = given["name"] or _dated(source)
    require_new(workspace, name, *([f"{name}-control"] if given["control_groups"] else []))
    opened = open_workspace(workspace, model=COUNT)
    progress = silent if as_json else reporter()
    learn = _learn_from_boards if from_boards else _learn_from_logs
    with announce_compilation():
        models, paths = learn(opened, name, given, not no_use, progress, silently=as_json)
    if as_json:
        click.echo(json.dumps(_plain(models, not no_use), ensure_ascii=False, indent=2))
        return
    click.echo(f"Kept as {' and '.join(map(str, paths))}.")
    click.echo(f"`pinjoin models use {workspace} {name}` uses it." if no_use else "It ranks now.")


def learn_from_log(workspace: Path, source: EventSource, progress: Progress, silently: bool) -> str:
    """As `pinjoin train WORKSPACE --events FILE…`: the name of the model, which ranks now."""
    from pinjoin.data.event_log import read_log
    from pinjoin.data.rejects import Rejects
    from pinjoin.ranking.store import COUNT
    from pinjoin.recommender import open_workspace
    from pinjoin.training.from_logs import train_from_logs

    opened, lost, name = open_workspace(workspace, model=COUNT), Rejects(None), _dated("logs")
    log = read_log(source, lost, progress)
    if not silently:
        _tell_lost(lost)
    learned = train_from_logs(opened, log, name=name, progress=progress)
    if not silently:
        _tell(learned)
    learned.save(opened, True)
    return name


def _dated(source: str) -> str:
    """The name of a model that is given none."""
    from datetime import UTC, datetime

    return f"{source}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def _check_usage(from_boards: bool, given: dict[str, Any]) -> None:
    given["live"] |= given["database"] is not None
    if given["more"] and not given["events"]:
        raise click.UsageError(f"Got {given['more'][0]!r}; the files of a log follow --events.")
    if from_boards == bool(given["events"] or given["live"]):
        raise click.UsageError("Say what to learn from: --events FILE…, --live or --from-boards.")
    for option in _OF_LOGS if from_boards else ():
        if given[option] not in (None, ()):
            dashed = {"maps": "map", "c": "C"}.get(option, option).replace("_", "-")
            raise click.UsageError(f"--{dashed} is for logs; leave it or --from-boards out.")


def _features(groups: str | None, without: tuple[str, ...]) -> PairConfig | None:
    """None: the default ones."""
    from pinjoin.features.pairs import PairConfig

    if groups is None:
        return PairConfig(without=without) if without else None
    named = [one.strip() for one in groups.split(",")]
    return PairConfig([one for one in named if one], without)


def _learn_from_boards(
    opened: Workspace,
    name: str,
    given: dict[str, Any],
    use: bool,
    progress: Progress,
    silently: bool,
) -> tuple[list[Model], list[Path]]:
    """The model, and where it is kept."""
    from pinjoin.ranking.store import save_model
    from pinjoin.training.from_boards import BoardTraining, train_from_boards

    pairs = _features(given["groups"], given["without"])
    config = BoardTraining(seed=given["seed"])
    model = train_from_boards(opened, config, pairs, name=name, progress=progress)
    metrics = model.about.metrics
    if not silently:
        click.echo(
            f"Learned from {metrics['queries']:,} hidden saves; nDCG@100 of others, estimated: "
            f"{metrics['ndcg_100']:.3f}."
        )
    return [model], [save_model(opened.path, model, use=use)]


def _learn_from_logs(
    opened: Workspace,
    name: str,
    given: dict[str, Any],
    use: bool,
    progress: Progress,
    silently: bool,
) -> tuple[list[Model], list[Path]]:
    """The model and maybe its control, and where they are kept."""
    from dataclasses import replace

    from pinjoin.training.from_logs import train_from_logs
    from pinjoin.training.log_config import LogTraining

    usual = LogTraining()
    asked = {name: given[name] for name in _OF_TRIPLETS if given[name] is not None}
    config = LogTraining(
        model=given["model"] or usual.model,
        C=given["c"],
        triplets=replace(usual.triplets, **asked),
        seed=given["seed"],
    )
    control = given["control_groups"]
    learned = train_from_logs(
        opened,
        _read(opened.path, given, progress, silently),
        config,
        _features(given["groups"], given["without"]),
        None if control is None else _features(control, given["without"]),
        name=name,
        progress=progress,
    )
    if not silently:
        _tell(learned)
    return learned.models, learned.save(opened, use)


def _read(workspace: Path, given: dict[str, Any], progress: Progress, silently: bool) -> EventLog:
    """The impressions of files and of the live database, with what was done to them."""
    from contextlib import ExitStack
    from itertools import chain

    from pinjoin.cli.events import parse_map
    from pinjoin.data.event_log import join_events, number_events
    from pinjoin.data.events import open_events
    from pinjoin.data.rejects import Rejects

    parts, lost = [], Rejects(None)
    with ExitStack() as stack:
        if given["events"]:
            files = [*given["events"], *given["more"]]
            source = open_events(files, parse_map(given["maps"]), encoding=given["encoding"])
            parts.append(source.batches(lost, progress))
        if given["live"]:
            store = open_events_of(workspace, given["database"] or os.environ.get(DATABASE))
            parts.append(stack.enter_context(store).event_batches())
        log = join_events(number_events(chain.from_iterable(parts)))
    if not silently:
        _tell_lost(lost)
    return log


def open_events_of(workspace: Path, database: str | None) -> Store:
    """The live database of a workspace. InputError where there is none."""
    from pinjoin.core.errors import InputError
    from pinjoin.live import live_database
    from pinjoin.live.store import open_store

    where = live_database(workspace, database)
    if isinstance(where, Path) and not where.exists():
        raise InputError(
            f"There is no live database {where}: `pinjoin serve {workspace}` makes it. Name the "
            "one that has the events (--database FILE_OR_URL), or a log (train --events FILE…)."
        )
    return open_store(where)


def _tell_lost(lost: Rejects) -> None:
    for reason, count in lost.by_reason.items():
        click.echo(f"rejected: {count:,} rows: {reason}")


def _tell(learned: Learned) -> None:
    logged, metrics = learned.logged, learned.model.about.metrics
    if logged.left_out:
        such = f", such as {', '.join(map(repr, logged.unknown))}" if logged.unknown else ""
        click.echo(
            f"Left out: {logged.left_out:,} impressions, of images for themselves or with one of "
            f"{logged.n_unknown:,} ids that are not in the catalogue{such}."
        )
    click.echo(
        f"Learned from {metrics['triplets']:,} triplets of {metrics['queries']:,} queries with "
        f"{len(logged.log):,} impressions."
    )
    if "engaged_in_order" in metrics:
        _tell_order(learned)
    if "later_in_order" in metrics:
        before, after = (metrics[f"later_in_order{k}"] for k in ("_without_navboost", ""))
        click.echo(
            f"What was done for the very query: {before:.1%} → {after:.1%} of {metrics['later']:,} "
            "later pairs in order."
        )


def _tell_order(learned: Learned) -> None:
    """How well candidates are ordered, of queries that were not learned from."""
    metrics = learned.model.about.metrics
    ways = {
        "this model": metrics["engaged_in_order"],
        "shared boards": metrics["engaged_in_order_by_count"],
        "clicks as they are": metrics.get("engaged_in_order_by_raw_clicks"),
    }
    if learned.control is not None:
        ways["the control"] = learned.control.about.metrics["engaged_in_order"]
    click.echo(f"In order, of {metrics['engaged']:,} pairs of queries that it did not learn from:")
    for way, share in ways.items():
        if share is not None:
            error = 1.96 * (share * (1 - share) / metrics["engaged"]) ** 0.5
            click.echo(f"  {way:20s} {share:6.1%} ± {error:.1%}")
    if metrics["engaged_in_order"] <= metrics["engaged_in_order_by_count"]:
        click.echo("caution: it is no better than the number of shared boards.")


def _plain(models: list[Model], in_use: bool) -> dict[str, Any]:
    found = [
        {"name": one.about.name, "kind": one.kind, "metrics": dict(one.about.metrics),
         "data_hash": one.about.data_hash, "features": len(one.features)}
        for one in models
    ]  # fmt: skip
    return {"in_use": in_use, "models": found}
