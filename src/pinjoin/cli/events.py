"""`pinjoin events`: look over logs of what was shown and what people did, and learn from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pinjoin.data.event_checks import EventReport
    from pinjoin.experiments.counterfactual import PolicyValue


@click.group()
def events() -> None:
    """Look over logs of impressions and actions, and judge other policies by them."""


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
    surface, action (impression, click, clickthrough, save or hide), propensity, phrase, locale.
    """
    import time

    from pinjoin.cli.kernels import announce_compilation
    from pinjoin.core.progress import reporter
    from pinjoin.data.event_checks import check_events
    from pinjoin.data.event_log import read_events
    from pinjoin.data.events import open_events
    from pinjoin.data.rejects import Rejects

    source = open_events(list(files), parse_map(maps), encoding=encoding)
    with Rejects(rejects, strict) as lost, announce_compilation():
        read = read_events(source, lost, reporter())
        report = check_events(read, lost.count, time.time())
    if as_json:
        click.echo(json.dumps(_as_json(report, dict(lost.by_reason)), ensure_ascii=False, indent=2))
    else:
        _print(source.name, report, list(lost.by_reason.items()), source.missing)


@events.command()
@click.argument("workspace", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--database",
    metavar="FILE_OR_URL",
    envvar="PINJOIN_DATABASE",
    help="Of the live events; WORKSPACE/live.db if not told.",
)
def export(workspace: Path, file: Path, database: str | None) -> None:
    """Write the events of WORKSPACE's live database to FILE (Parquet), as a log with their arms.

    The other commands take it, and so does `train --events`.
    """
    import pyarrow.parquet as pq

    from pinjoin.cli.train import open_events_of
    from pinjoin.core.errors import InputError
    from pinjoin.core.whole_file import whole_file
    from pinjoin.live.reading import LIVE_EVENTS

    count = 0
    try:
        with (
            open_events_of(workspace, database) as store,
            whole_file(file) as unfinished,
            pq.ParquetWriter(unfinished, LIVE_EVENTS) as writer,
        ):
            for batch in store.event_batches():
                writer.write_batch(batch)
                count += batch.num_rows
    except OSError as error:
        raise InputError(f"Writing {file} failed: {error.strerror or error}.") from error
    click.echo(f"{count:,} events are in {file}.")


@events.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--policy",
    required=True,
    metavar="FILE",
    help="candidate, probability and any of query, position, device, surface.",
)
@click.option(
    "--action",
    "actions",
    multiple=True,
    type=click.Choice(["click", "clickthrough", "save", "hide"]),
    help="What counts as a reward; default click, clickthrough and save.",
)
@click.option("--clip", type=float, help="No weight counts more than this.")
@click.option("--resamples", type=int, default=1000, show_default=True, help="0: no intervals.")
@click.option("--confidence", type=float, default=0.95, show_default=True)
@click.option(
    "--least-effective",
    type=float,
    default=30,
    show_default=True,
    help="Effective impressions below which no estimate is given.",
)
@click.option(
    "--map", "maps", multiple=True, metavar="COLUMN=COLUMN", help="Your column for one of ours."
)
@click.option("--encoding", help="Of text files; default UTF-8.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def value(
    files: tuple[str, ...],
    policy: str,
    actions: tuple[str, ...],
    clip: float | None,
    resamples: int,
    confidence: float,
    least_effective: float,
    maps: tuple[str, ...],
    encoding: str | None,
    as_json: bool,
) -> None:
    """Estimate what another policy would have earned per impression of the event log FILE.

    The log needs the propensity of each impression. The policy has a row for each candidate that
    it may show in a context, with its probability.
    """
    from pinjoin.cli.kernels import announce_compilation
    from pinjoin.core.progress import reporter
    from pinjoin.data.event_log import read_log
    from pinjoin.data.events import open_events
    from pinjoin.data.policies import read_policy
    from pinjoin.data.rejects import Rejects
    from pinjoin.experiments.counterfactual import ValueConfig
    from pinjoin.experiments.policy_frames import impressions_table, policy_value
    from pinjoin.ranking.coec import ENGAGEMENT

    config = ValueConfig(
        clip=clip, resamples=resamples, confidence=confidence, least_effective=least_effective
    )
    shares = read_policy(policy, encoding=encoding)
    lost = Rejects(None)
    with announce_compilation():
        log = read_log(
            open_events(list(files), parse_map(maps), encoding=encoding), lost, reporter()
        )
    shown = impressions_table(log, actions or ENGAGEMENT)
    found = policy_value(
        shown, shares, reward="reward", unit="request", config=config, progress=reporter()
    )
    if as_json:
        answer = {**_plain(found), "rejected_by_reason": dict(lost.by_reason)}
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        _print_value(found, list(lost.by_reason.items()))


def parse_map(options: Sequence[str]) -> dict[str, str]:
    mapping = {}
    for option in options:
        ours, equals, theirs = option.partition("=")
        if not equals:
            raise click.BadParameter(f"{option!r} is not COLUMN=COLUMN (ours=yours).", None, None)
        mapping[ours.strip()] = theirs.strip()
    return mapping


def _plain(found: PolicyValue) -> dict[str, object]:
    """As JSON has it: NaN becomes null."""
    from dataclasses import asdict

    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {name: clean(part) for name, part in value.items()}
        return None if value != value else value

    return {name: clean(value) for name, value in asdict(found).items()}


def _print_value(found: PolicyValue, rejected: Sequence[tuple[str, int]]) -> None:
    click.echo(
        f"{found.impressions:,} impressions, {found.rewarded:,} rewarded; as many of the policy's "
        f"own: {found.overlap.effective_size:,.0f}, {found.overlap.effective_rewards:,.1f} rewarded"
    )
    for name, estimate in found.estimates.items():
        click.echo(f"  {name:14s} {estimate.value:.5f}  [{estimate.low:.5f}, {estimate.high:.5f}]")
    for reason, count in rejected:
        click.echo(f"rejected: {count:,} rows: {reason}")
    for caution in found.cautions:
        click.echo(f"caution: {caution}")


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
