"""`pinjoin models`: see, compare and choose the rankers of a workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pinjoin.ranking.model import Model
    from pinjoin.ranking.store import Change, ModelInfo

_WORKSPACE = click.argument("workspace", type=click.Path(path_type=Path))
_LISTED = 3  # metrics; `show` has all
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def models() -> None:
    """See, compare and choose the rankers of a workspace."""


@models.command("list")
@_WORKSPACE
@_JSON
def list_command(workspace: Path, as_json: bool) -> None:
    """List the models of WORKSPACE, the latest first; * is in use."""
    from pinjoin.ranking.store import list_models

    found = list_models(workspace)
    if as_json:
        _print_json([_info(info) for info in found])
    elif not found:
        click.echo(f"{workspace} has no models: run `pinjoin train {workspace} …`.")
    else:
        rows = [_row(info) for info in found]
        _print_table(("", "model", "kind", "trained on", "created", "metrics"), rows)
        for info in found:
            if info.problem:
                click.echo(f"{info.name}: {info.problem}")


@models.command()
@_WORKSPACE
@click.argument("name", required=False)
@_JSON
def show(workspace: Path, name: str | None, as_json: bool) -> None:
    """Show the model NAME of WORKSPACE (default: the one in use), the strongest features first."""
    from pinjoin.ranking.model import LinearModel, to_json
    from pinjoin.ranking.store import load_model

    model = load_model(workspace, name)
    if as_json:
        click.echo(to_json(model), nl=False)
        return
    about = model.about
    click.echo(f"{about.name}: {model.kind}, trained on {about.trained_on}, {about.created_at}")
    for title, pairs in (("metrics", about.metrics), ("config", about.config)):
        if pairs:
            click.echo(f"{title}: " + ", ".join(f"{k} {_short(v)}" for k, v in pairs.items()))
    if not isinstance(model, LinearModel):
        click.echo(f"{len(model.features)} features: {', '.join(model.features)}")
        return
    effects = model.weights * model.scales
    order = sorted(range(len(effects)), key=lambda i: -abs(effects[i]))
    columns = ("feature", "effect", "weight", "mean", "scale")
    numbers = (effects, model.weights, model.means, model.scales)
    _print_table(columns, [[model.features[i], *(f"{n[i]:.4g}" for n in numbers)] for i in order])


@models.command()
@_WORKSPACE
@click.argument("name")
def use(workspace: Path, name: str) -> None:
    """Rank with the model NAME of WORKSPACE from now on."""
    from pinjoin.ranker import open_ranker
    from pinjoin.ranking.store import COUNT, use_model
    from pinjoin.recommender import open_workspace
    from pinjoin.snapshot.workspace import current_name

    if current_name(workspace) is not None:  # it must fit what is served
        open_ranker(open_workspace(workspace, model=COUNT), name)
    use_model(workspace, name)
    click.echo(f"The model in use is now {name}.")


@models.command()
@_WORKSPACE
@click.argument("before")
@click.argument("after", required=False)
@_JSON
def diff(workspace: Path, before: str, after: str | None, as_json: bool) -> None:
    """Show how the weights of model AFTER (default: the one in use) differ from those of BEFORE."""
    from dataclasses import asdict

    from pinjoin.ranking.store import diff_models, load_model

    old, new = load_model(workspace, before), load_model(workspace, after)
    changes = diff_models(old, new)
    if as_json:
        metrics = {"before": dict(old.about.metrics), "after": dict(new.about.metrics)}
        _print_json({"metrics": metrics, "changes": [asdict(change) for change in changes]})
        return
    _print_metrics(old, new)
    if not changes:
        click.echo("The weights are the same.")
        return
    columns = ("feature", "effect before", "after", "weight before", "after")
    _print_table(columns, [_change(change) for change in changes])


def _print_metrics(old: Model, new: Model) -> None:
    for name in dict.fromkeys([*old.about.metrics, *new.about.metrics]):
        values = (_short(m.about.metrics.get(name, "–")) for m in (old, new))
        click.echo(f"{name}: {' → '.join(values)}")


def _change(change: Change) -> list[str]:
    numbers = (change.effect_before, change.effect_after, change.before, change.after)
    return [change.feature, *("–" if n is None else f"{n:.4g}" for n in numbers)]


def _row(info: ModelInfo) -> list[str]:
    mark = "*" if info.current else ""
    if info.model is None:
        return [mark, info.name, "", "", "", "damaged"]
    about = info.model.about
    metrics = ", ".join(f"{k} {_short(v)}" for k, v in list(about.metrics.items())[:_LISTED])
    return [mark, info.name, info.model.kind, about.trained_on, about.created_at, metrics]


def _info(info: ModelInfo) -> dict[str, Any]:
    from dataclasses import asdict

    about = asdict(info.model.about) if info.model else {}
    kind = info.model.kind if info.model else None
    about.pop("name", None)
    state = {"current": info.current, "kind": kind, "problem": info.problem}
    return {"name": info.name, **state, **about}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print_json(content: Any) -> None:
    click.echo(json.dumps(content, ensure_ascii=False, indent=2))


def _print_table(columns: tuple[str, ...], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in columns:
        table.add_column(title, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # a pipe has no width to fold a line for
        console.width = 1000
    console.print(table)
