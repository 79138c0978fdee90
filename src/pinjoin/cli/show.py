"""`pinjoin show`: everything known of one item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("workspace", type=click.Path(path_type=Path))
@click.argument("id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--snapshot", metavar="NAME", help="Another snapshot than the current one.")
def show(workspace: Path, id: str, as_json: bool, snapshot: str | None) -> None:
    """Show the PinJoin of ID in WORKSPACE: its image, pins, boards, words, categories, topics
    and neighbours. ID is a pin id, a signature or an image."""
    import json

    from pinjoin.cli.kernels import announce_compilation
    from pinjoin.recommender import open_workspace

    with announce_compilation():
        opened = open_workspace(workspace, snapshot)
        known = opened.show(opened.find(id))
    if as_json:
        click.echo(json.dumps(known, ensure_ascii=False, indent=2, default=str))
    else:
        print_known(known)


_SHOWN = 8  # pins, boards and neighbours; --json has them all


def print_known(known: dict[str, Any]) -> None:
    """A page of text for people."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    title = known["title"] or known["image"]
    console.print(Text(title, style="bold"), Text(f"  {known['signature']}", style="dim"))
    for name in ("image", "file"):
        if known.get(name):
            console.print(f"{name:<12}", Text(str(known[name])), sep="")
    for name, lines in _sections(known):
        if lines:
            console.print(Text(f"\n{name}", style="bold"))
            for line in lines:
                console.print(Padding(Text(line), (0, 0, 0, 2)))


def _sections(known: dict[str, Any]) -> list[tuple[str, list[str]]]:
    def weighted(pairs: list[dict[str, Any]]) -> list[str]:
        return [f"{one['weight']:.2f}  {one['name']}" for one in pairs[:_SHOWN]]

    pins, boards = known["pins"], known["boards"]
    return [
        (f"{len(pins):,} pins", _some(pins, lambda p: _join(p["pin_id"], p["title"]))),
        (f"{len(boards):,} boards", _some(boards, lambda b: _join(b["board_id"], b["title"]))),
        ("words", weighted(known["annotations"])),
        ("categories", weighted(known["categories"])),
        ("topics", weighted(known["topics"])),
        ("looks like", weighted(known["looks_like"])),
        (
            "next to it",
            [_join(n["source"], n["title"] or n["image"]) for n in known["neighbours"][:_SHOWN]],
        ),
    ]


def _some(rows: list[dict[str, Any]], line: Any) -> list[str]:
    more = [f"… and {len(rows) - _SHOWN:,} more"] if len(rows) > _SHOWN else []
    return [line(row) for row in rows[:_SHOWN]] + more


def _join(first: str, second: str | None) -> str:
    return f"{first}  {second}" if second else first
