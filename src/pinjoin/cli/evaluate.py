"""`pinjoin evaluate`: how well rankers find what was hidden from boards."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pinjoin.experiments.intervals import Estimate
    from pinjoin.experiments.offline import Evaluation
    from pinjoin.experiments.scorers import Factory

_CATEGORIES = 5  # that have a column in the second table
_LOG_WIDTH = 180  # where there is no terminal, whose width tables fit into


@click.command()
@click.argument("workspace", type=click.Path(path_type=Path))
@click.option("--scorer", "names", multiple=True, metavar="NAME", help="Only this; repeatable.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the split.")
@click.option("--share", default=0.5, show_default=True, help="Of the boards that hide a pin.")
@click.option("--after", metavar="DATE", help="Hide what was saved from then on (2024-06-01).")
@click.option("--category", metavar="NAME", help="Only ask with images of it.")
@click.option("--most", default=5_000, show_default=True, help="Boards that hide a pin, at most.")
@click.option("--against", default="count", show_default=True, help="Whose nDCG is 1 in ratios.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    workspace: Path,
    names: tuple[str, ...],
    seed: int,
    share: float,
    after: str | None,
    category: str | None,
    most: int,
    against: str,
    as_json: bool,
) -> None:
    """Hide pins of WORKSPACE's boards, and see how well rankers find them from another pin of the
    same board (docs/evaluation.md)."""
    from pinjoin.cli.kernels import announce_compilation
    from pinjoin.core.progress import reporter
    from pinjoin.experiments.asked import EvaluationConfig
    from pinjoin.experiments.offline import SCORERS
    from pinjoin.experiments.offline import evaluate as compare
    from pinjoin.ranking.store import COUNT
    from pinjoin.recommender import open_workspace

    config = EvaluationConfig(
        seed=seed,
        share=share,
        after=None if after is None else _seconds(after),
        category=category,
        most=most,
        against=_named(SCORERS, against),
    )
    scorers = _chosen(SCORERS, names)
    opened = open_workspace(workspace, model=COUNT)
    with announce_compilation():
        found = compare(opened, config, scorers, progress=reporter())
    if as_json:
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    else:
        print_evaluation(found)


def print_evaluation(found: Evaluation) -> None:
    """Two tables for people, best first: all queries, and the largest categories."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pinjoin.experiments.offline import METRICS

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    console.print(
        f"{found.queries:,} queries, {found.eligible:,} images compete. [ ]: 95 % intervals.",
        markup=False,
    )
    largest = [name for name in list(found.categories)[:_CATEGORIES] if len(found.categories) > 1]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    by_category = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"{METRICS[0]} by category")
    table.add_column("ranker")
    by_category.add_column("ranker")
    ratio = f"× {found.config.against}"
    for name in (METRICS[0], ratio, *METRICS[1:], "coverage", "popularity", "ms"):
        table.add_column(name, justify="right")
    for name in largest:
        by_category.add_column(f"{name} ({found.categories[name]:,})", justify="right")
    for one in found.results:
        label = Text(f"{one.name} ({one.note})" if one.note else one.name)
        table.add_row(
            label,
            _shown(one.means[METRICS[0]], interval=True),
            "" if one.ratio is None else _shown(one.ratio, interval=True),
            *(_shown(one.means[name]) for name in METRICS[1:]),
            f"{one.coverage:.2f}",
            "–" if one.popularity is None else f"{one.popularity:.2f}",
            f"{one.ms:.1f}",
        )
        by_category.add_row(Text(one.name), *(_shown(one.by_category[name]) for name in largest))
    console.print(table)
    if largest:
        console.print(by_category)
    for name, why in found.not_run.items():
        console.print(f"{name}: not run, {why}.", markup=False)


def _shown(one: Estimate, interval: bool = False) -> str:
    text = f"{one.value:.3f}"
    return f"{text} [{one.low:.3f}, {one.high:.3f}]" if interval else text


def _chosen(known: Mapping[str, Factory], names: tuple[str, ...]) -> Mapping[str, Factory]:
    """Those named, in the order of the table; all if none is."""
    wanted = [_named(known, name) for name in names] or known
    return {name: make for name, make in known.items() if name in wanted}


def _named(known: Mapping[str, Factory], given: str) -> str:
    """The scorer meant, typed on any keyboard: case, kinds of dashes and Greek do not matter."""
    by_key = {_key(name): name for name in known}
    if _key(given) not in by_key:
        raise click.BadParameter(f"There is no {given!r}. There are: {'; '.join(known)}.")
    return by_key[_key(given)]


def _key(name: str) -> str:
    return name.casefold().replace("–", "-").replace("β", "beta")


def _seconds(date: str) -> int:
    """Unix seconds of a day or a time, UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(date)
    except ValueError:
        raise click.BadParameter(
            f"{date!r} is no date. Write 2024-06-01, or 2024-06-01T12:00."
        ) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
