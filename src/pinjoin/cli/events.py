"""`pinjoin events`: look over logs of what was shown and what people did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pinjoin.data.event_checks import EventReport


@click.group()
def events() -> None:
    """Look over logs of impressions and actions."""


@events.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--map", "maps", multiple=True, metavar="COLUMN=COLUMN", help="Your column for one of ours."
)
@click.option("--encoding", help="Of text files; default UTF-8.")
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the rows that cannot be used here, one JSON object a line.",
)
@click.option("--strict", is_flag=True, help="Fail at the first row that cannot be used.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(
    files: tuple[str, ...],
    maps: tuple[str, ...],
    encoding: str | None,
    rejects: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Report what is odd in the event log FILE (several files or globs are one log).

    Columns: time, request_id, user_id, query, candidate, position (or row and column), device,
    surface, action (impression, click, clickthrough, save or hide).
    """
    import time

    from pinjoin.cli.kernels import announce_compilation
    from pinjoin.core.progress import reporter
    from pinjoin.data.event_checks import check_events
    from pinjoin.data.event_log import read_events
    from pinjoin.data.events import open_events
    from pinjoin.data.rejects import Rejects

    source = open_events(list(files), _parse_map(maps), encoding=encoding)
    with Rejects(rejects, strict) as lost, announce_compilation():
        read = read_events(source, lost, reporter())
        report = check_events(read, lost.count, time.time())
    if as_json:
        click.echo(json.dumps(_as_json(report, dict(lost.by_reason)), ensure_ascii=False, indent=2))
    else:
        _print(source.name, report, list(lost.by_reason.items()), source.missing)


def _parse_map(options: Sequence[str]) -> dict[str, str]:
    mapping = {}
    for option in options:
        ours, equals, theirs = option.partition("=")
        if not equals:
            raise click.BadParameter(f"{option!r} is not COLUMN=COLUMN (ours=yours).", None, None)
        mapping[ours.strip()] = theirs.strip()
    return mapping


def _as_json(report: EventReport, reasons: dict[str, int]) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(report), "rejected_by_reason": reasons}


def _print(
    name: str,
    report: EventReport,
    reasons: Sequence[tuple[str, int]],
    missing: Sequence[str],
) -> None:
    period = f", {report.first} to {report.last}" if report.first else ""
    click.echo(f"{name}: {report.events:,} events{period}")
    counted = ", ".join(f"{n:,} {a}s" for a, n in report.by_action.items() if n)
    click.echo(f"  {counted}")
    click.echo(
        f"  {report.requests:,} requests, {report.users:,} users, {report.queries:,} queries, "
        f"{report.pairs:,} (query, candidate) pairs, {report.cells:,} places shown at"
    )
    if missing:
        click.echo(f"  without {', '.join(missing)}")
    for reason, count in reasons:
        click.echo(f"rejected: {count:,} rows: {reason}")
    for finding in report.findings:
        click.echo(f"odd: {finding.count:,} {finding.what} [{finding.code}]")
        if finding.example:
            click.echo(f"     e.g. {finding.example}")
        click.echo(f"     {finding.remedy}")
    if not report.findings and not reasons:
        click.echo("Nothing odd.")
