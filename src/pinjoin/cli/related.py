"""`pinjoin related`: what belongs next to an item."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pinjoin.core.types import Related
    from pinjoin.recommender import Workspace

_NAMED = 4  # features of a result, those that moved it most


@click.command()
@click.argument("workspace", type=click.Path(path_type=Path))
@click.argument("id", metavar="ID_OR_FILE")
@click.option("-n", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--exclude", multiple=True, metavar="ID", help="Not this one; may be repeated.")
@click.option("--filter", "expression", metavar="EXPR", help="Only what fulfils a condition.")
@click.option("--pin", "pinned", multiple=True, metavar="ID", help="First, whatever its score.")
@click.option("--diversity", default=0.0, type=click.FloatRange(0, 1), help="0 to 1: how unlike.")
@click.option("--recent", multiple=True, metavar="ID", help="Looked at just before; repeatable.")
@click.option("--phrase", metavar="WORDS", help="What the person searched for.")
@click.option("--locale", help="Whom it is for, as the pins' column `locale` has it.")
@click.option("--model", metavar="NAME", help='Another model; "count": most shared boards first.')
@click.option("--explain", is_flag=True, help="Say of each why: pictures and words, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--snapshot", metavar="NAME", help="Another snapshot than the current one.")
def related(
    workspace: Path,
    id: str,
    n: int,
    exclude: tuple[str, ...],
    expression: str | None,
    pinned: tuple[str, ...],
    diversity: float,
    recent: tuple[str, ...],
    phrase: str | None,
    locale: str | None,
    model: str | None,
    explain: bool,
    as_json: bool,
    snapshot: str | None,
) -> None:
    """Show the N items of WORKSPACE that belong next to one: a pin id, a signature, an image of
    the catalogue, or a picture file from anywhere.

    --recent, --phrase and --locale count where the model has learned them (docs/ranking.md).
    """
    import json

    from pinjoin.cli.kernels import announce_compilation
    from pinjoin.recommender import open_workspace

    with announce_compilation():
        opened = open_workspace(workspace, snapshot, model=model)
        found = opened.related(
            id, n, exclude=exclude, filter=expression, pinned=pinned, diversity=diversity,
            recent=recent, phrase=phrase, locale=locale,
        )  # fmt: skip
        query = opened.query(id)
    _note_unlearned(opened, {"recent": recent, "phrase": phrase, "locale": locale})
    if as_json:
        click.echo(json.dumps(as_object(opened, query, found), ensure_ascii=False, indent=2))
    else:
        print_related(query, found, explain)


def _note_unlearned(opened: Workspace, said: dict[str, Any]) -> None:
    """Say which of what was said of the person made no difference."""
    learned = [] if opened.ranker is None else opened.ranker.contextual
    lost = [f"--{name}" for name, value in said.items()
            if value and not any(f".{name}" in one for one in learned)]  # fmt: skip
    if lost:
        click.echo(
            f"The model {opened.model} has not learned what {' and '.join(lost)} may say, so it "
            "makes no difference: docs/ranking.md.",
            err=True,
        )


def as_object(opened: Workspace, query: dict[str, Any], found: list[Related]) -> dict[str, Any]:
    """The one shape of an answer, here and over HTTP."""
    from dataclasses import asdict

    return {
        "query": query,
        "snapshot": opened.snapshot.name,
        "model": opened.model,
        "results": [asdict(one) for one in found],
    }


def print_related(query: dict[str, Any], found: list[Related], explain: bool = False) -> None:
    """A table for people: what, where it comes from, on how many shared boards, and why."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    name = query["title"] or query["image"]
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(f"Next to {name}  ({query['pin_id'] or 'from outside'})"),
        title_justify="left",
        title_style="bold",
    )
    table.add_column("#", justify="right", style="dim")
    table.add_column("title", ratio=3)
    table.add_column("image", style="dim", ratio=2, overflow="ellipsis", no_wrap=True)
    table.add_column("from", style="dim", ratio=2)
    table.add_column("boards", justify="right")
    table.add_column("why", ratio=4, style="dim")
    for place, one in enumerate(found, 1):
        table.add_row(
            str(place),
            Text(one.title or "–"),
            Text(one.image),
            one.source,
            f"{one.shared_boards:,}",
            Text(_why(one, explain)),
        )
    console = Console()
    console.print(table)
    if not found:
        console.print(Text("The catalogue has no other image."))


def _why(one: Related, explain: bool) -> str:
    reasons = one.reasons
    boards = dict.fromkeys(b["title"] or b["board_id"] for b in reasons.get("boards", ()))
    parts = list(boards)
    if explain or not parts:
        if alike := reasons.get("visual_similarity"):
            like = reasons.get("both_look_like")
            parts.append(f"pictures {alike:.0%} alike" + (f" ({like})" if like else ""))
        if words := reasons.get("words"):
            parts.append("words: " + ", ".join(words))
        if explain and (added := reasons.get("contributions")):
            most = sorted(added, key=lambda name: -abs(added[name]))[:_NAMED]
            parts.append("score: " + ", ".join(f"{name} {added[name]:+.2f}" for name in most))
    return " · ".join(parts)
