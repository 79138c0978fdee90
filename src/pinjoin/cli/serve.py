"""`pinjoin serve`: a workspace over HTTP, for programs and for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_EPILOG = """\b
  pinjoin serve shop
  pinjoin serve shop --host 0.0.0.0 --write-keys keys.txt --workers 4
  pinjoin serve shop --experiment ranker --arm control=count --arm treatment=clicks-7
"""

_KEYS = "with NAME:SECRET a line; else what is in"


@click.command(epilog=_EPILOG)
@click.argument("workspace", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, envvar="PORT",
              type=click.IntRange(0, 65535), help="0: any that is free.")  # fmt: skip
@click.option("--database", metavar="FILE_OR_URL", envvar="PINJOIN_DATABASE",
              help="Of live saves and events; WORKSPACE/live.db if not told.")  # fmt: skip
@click.option("--read-only", is_flag=True, help="Take no saves, events and takedowns.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64),
              help="Processes that share the port.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="That rank, a process; a core each.")
@click.option("--model", metavar="NAME", help='Another than the one in use; "count" is one.')
@click.option("--experiment", metavar="NAME", help="Spread users over arms.")
@click.option("--arm", "arms", multiple=True, metavar="ARM=MODEL", help="An arm of it.")
@click.option("--read-keys", type=click.Path(path_type=Path), metavar="FILE",
              help=f"Who may read: a file {_KEYS} PINJOIN_READ_KEYS.")  # fmt: skip
@click.option("--write-keys", type=click.Path(path_type=Path), metavar="FILE",
              help=f"Who may write and read: a file {_KEYS} PINJOIN_WRITE_KEYS.")  # fmt: skip
@click.option("--open-writes", is_flag=True, help="Let everyone write who reaches this server.")
@click.option("--allow-origin", "origins", multiple=True, metavar="ORIGIN",
              help="Pages of it may call, as in https://shop.example.")  # fmt: skip
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME",
              help="Another name that this server is called by; *: any.")  # fmt: skip
@click.option("--read-rate", type=click.FloatRange(0), metavar="N",
              help="Requests a second of one key or address; 0: any.")  # fmt: skip
@click.option("--write-rate", type=click.FloatRange(0), metavar="N", help="Likewise, that write.")
@click.option("--no-pages", is_flag=True, help="The API alone.")
@click.option("--trace", is_flag=True, help="Send OpenTelemetry a span for each request.")
@click.option("--quiet", is_flag=True, help="Log no requests, only what goes wrong.")
def serve(
    workspace: Path,
    arms: tuple[str, ...],
    read_keys: Path | None,
    write_keys: Path | None,
    workers: int,
    no_pages: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Serve WORKSPACE over HTTP: the API under /v1, pages for people, until Ctrl-C or SIGTERM.

    Without keys, all who reach it may read; others than this machine may write with a key only.
    """
    import logging

    from pinjoin.serving.config import ServeConfig
    from pinjoin.serving.keys import READ, WRITE
    from pinjoin.serving.keys import read_keys as keys_of
    from pinjoin.serving.logs import write_json_lines
    from pinjoin.serving.running import serve as run

    told = {name: value for name, value in settings.items() if value is not None}
    config = ServeConfig(
        arms=_arms(arms),
        read_keys=keys_of(read_keys, READ),
        write_keys=keys_of(write_keys, WRITE),
        pages=not no_pages,
        **told,
    )
    level = logging.WARNING if quiet else logging.INFO
    write_json_lines(level)
    run(workspace, config, workers, _announce, level)


def _arms(given: tuple[str, ...]) -> dict[str, str]:
    arms: dict[str, str] = {}
    for one in given:
        arm, equals, model = one.partition("=")
        if not (arm and equals and model) or arm in arms:
            raise click.UsageError(f"--arm must be ARM=MODEL, each arm once. Got {one!r}.")
        arms[arm] = model
    return arms


def _announce(address: str) -> None:
    click.echo(f"Serving on {address}  (Ctrl-C ends it)", err=True)
