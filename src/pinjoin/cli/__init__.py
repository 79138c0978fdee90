"""One module per command; imports happen inside commands, so `--help` is instant."""

from __future__ import annotations

import logging
import sys
from importlib import import_module

import click

COMMANDS = {
    "build": "Turn tables of pins and boards into a workspace.",
    "demo": "Build the shipped catalogue and look at it.",
    "encoders": "List the image encoders, describe one, add one's own.",
    "evaluate": "Hide pins and see how well rankers find them.",
    "events": "Check a log of impressions and actions.",
    "export": "Stream what a workspace holds to files others read.",
    "models": "See, compare and choose trained rankers.",
    "related": "Show what belongs next to an item.",
    "serve": "Serve a workspace over HTTP: an API, and pages.",
    "show": "Show everything known of an item.",
    "snapshots": "See, check, go back to and remove snapshots.",
    "train": "Learn to rank from logs of what people did, or from boards.",
    "stats": "Describe a catalogue, as numbers or as a report.",
}
"""Each command lives in the module of its name; its one-line help stands here to be instant."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"pinjoin.cli.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pinjoin", message="pinjoin %(version)s")
@click.option("--verbose", is_flag=True, help="Say more of what is done, and show tracebacks.")
def cli(verbose: bool) -> None:
    """Related items for any catalogue people curate."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(message)s", stream=sys.stderr
    )


def main() -> None:
    """The `pinjoin` command. Exit codes: 0 done, 1 the work failed, 2 wrong usage."""
    from pinjoin.core.errors import PinjoinError

    try:
        status = cli.main(prog_name="pinjoin", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; what was good before still is.", err=True)
        sys.exit(130)
    except PinjoinError as error:
        if "--verbose" in sys.argv:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)
