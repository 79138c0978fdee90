"""`pinjoin encoders`: list, describe and add the networks that look at pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pinjoin.features.cards import Card

_workspace = click.option(
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also look in (or add to) this workspace's own encoders.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def encoders() -> None:
    """List, describe and add the networks that look at pictures."""


def _folders(workspace: Path | None) -> list[Path]:
    from pinjoin.features.shelf import workspace_folder

    return [workspace_folder(workspace)] if workspace else []


@encoders.command("list")
@_workspace
@_json
def list_(workspace: Path | None, as_json: bool) -> None:
    """Show every encoder that can be named."""
    from pinjoin.features.shelf import list_encoders

    rows = [(path, card) for path, card in list_encoders(_folders(workspace))]
    if as_json:
        _print_json([_describe(path, card) for path, card in rows])
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table("name", "input", "bits", "classes", "licence", Column("file", overflow="fold"))
    for column in table.columns[:-1]:
        column.no_wrap = True
    for path, card in rows:
        height, width = card.input.size
        classes = str(card.fc8.classes) if card.fc8 else "–"
        size = f"{height} × {width}"
        table.add_row(card.name, size, str(card.bits), classes, card.licence, str(path))
    Console().print(table)


@encoders.command()
@click.argument("name")
@_workspace
@_json
def info(name: str, workspace: Path | None, as_json: bool) -> None:
    """Show the card of the encoder NAME (a name, or an ONNX file)."""
    from pinjoin.features.cards import read_card
    from pinjoin.features.shelf import find_encoder

    path = find_encoder(name, _folders(workspace))
    about = _describe(path, read_card(path.with_suffix(".json")))
    if as_json:
        _print_json(about)
        return
    _print_lines(about)


@encoders.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Its card; by default the file beside MODEL with the ending .json.",
)
@click.option("--name", help="What to call it; by default the card's name.")
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Pictures of yours: the medians (rule medians) or the centre (rule hyperplanes) of its "
    "embedding are measured on up to 2,000 of them and written into the card.",
)
@_workspace
def add(
    model: Path, card: Path | None, name: str | None, images: Path | None, workspace: Path | None
) -> None:
    """Check the ONNX file MODEL and its card, and keep a copy of both.

    They go to your own data folder, or to the workspace given.
    """
    from pinjoin.features.shelf import add_encoder, user_folder, workspace_folder

    folder = workspace_folder(workspace) if workspace else user_folder()
    path = add_encoder(model, card or model.with_suffix(".json"), folder, name=name, images=images)
    click.echo(f"Added {path.stem}: {path}")


def _describe(path: Path, card: Card) -> dict[str, Any]:
    from dataclasses import asdict

    about = {"file": str(path), "bits": card.bits, **asdict(card)}
    for key in ("medians", "centre"):  # one number a unit says nothing to a reader
        values = about["fc6"][key]
        about["fc6"][key] = values and f"{len(values)} values"
    return about


def _print_json(content: object) -> None:
    import json

    click.echo(json.dumps(content, ensure_ascii=False, indent=2))


def _print_lines(content: dict[str, Any], indent: str = "") -> None:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            click.echo(f"{indent}{key}:")
            _print_lines(value, indent + "  ")
        elif isinstance(value, tuple | list):
            click.echo(f"{indent}{key}: {'; '.join(map(str, value)) or '–'}")
        else:
            click.echo(f"{indent}{key}: {'–' if value in (None, '', {}) else value}")
