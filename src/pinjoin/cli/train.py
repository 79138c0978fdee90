"""`pinjoin train`: learn to rank."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("workspace", type=click.Path(path_type=Path))
@click.option("--from-boards", is_flag=True, required=True, help="From the catalogue's own boards.")
@click.option("--name", help="Of the model; by default after the time.")
@click.option("--group", "groups", multiple=True, help="Only features of this group; repeatable.")
@click.option("--without", multiple=True, metavar="FEATURE", help="Not this one; repeatable.")
@click.option("--seed", default=0, show_default=True, help="Of what is hidden.")
@click.option("--no-use", is_flag=True, help="Keep ranking as before.")
def train(
    workspace: Path,
    from_boards: bool,
    name: str | None,
    groups: tuple[str, ...],
    without: tuple[str, ...],
    seed: int,
    no_use: bool,
) -> None:
    """Hide images of many boards of WORKSPACE, and learn to find them again."""
    from datetime import UTC, datetime

    from pinjoin.core.progress import reporter
    from pinjoin.features.pairs import PairConfig
    from pinjoin.ranking.store import COUNT, save_model
    from pinjoin.recommender import open_workspace
    from pinjoin.training.from_boards import BoardTraining, train_from_boards

    chosen = PairConfig(without=without)
    if groups:
        chosen = PairConfig(groups=groups, without=without)
    opened = open_workspace(workspace, model=COUNT)
    model = train_from_boards(
        opened,
        BoardTraining(seed=seed),
        chosen,
        name=name or f"boards-{datetime.now(UTC):%Y%m%dT%H%M%SZ}",
        progress=reporter(),
    )
    path = save_model(workspace, model, use=not no_use)
    metrics = model.about.metrics
    click.echo(
        f"Learned from {metrics['queries']:,} hidden saves; nDCG@100 of others, estimated: "
        f"{metrics['ndcg_100']:.3f}. Kept as {path}."
    )
    click.echo("It ranks now." if not no_use else f"`pinjoin models use {workspace} …` uses it.")
