"""The commands put together, and what happens when one fails."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from eorestore import __version__
from eorestore.cli import data, model
from eorestore.cli.ablate import ablate
from eorestore.cli.cache import cache
from eorestore.cli.compare import compare
from eorestore.cli.compress import compress, decompress, export
from eorestore.cli.demo import demo
from eorestore.cli.doctor import doctor
from eorestore.cli.evaluate import evaluate
from eorestore.cli.info import info
from eorestore.cli.report import report
from eorestore.cli.restore import restore
from eorestore.cli.train import train, watch
from eorestore.cli.view import view
from eorestore.cli.zero_shot import zero_shot
from eorestore.errors import EXIT_INTERRUPTED, EXIT_USAGE, EorestoreError

COMMAND_LINE_ERROR: type[typer.BadParameter] = typer.BadParameter.__mro__[2]
"""What typer raises for a wrong command line: ClickException, of click itself or of the copy that typer carries."""

app = typer.Typer(
    name="eorestore",
    help="Restore Earth-observation images: clouds out of Sentinel-2 with Sentinel-1, more detail, SAR in few bytes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    demo, restore, zero_shot, compress, decompress, export, cache, train, watch, evaluate, compare, ablate, report,
    view, info, doctor,
):  # fmt: skip
    app.command()(command)
app.add_typer(model.app, name="model")
app.add_typer(data.app, name="data")


@app.callback()
def common(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Options that stand before the command."""
    level = logging.ERROR if quiet else logging.INFO
    _log_to_stderr(context, logging.DEBUG if debug else level)
    if version:
        typer.echo(f"eorestore {__version__}")
        raise typer.Exit


def _log_to_stderr(context: typer.Context, level: int) -> None:
    """Let the package's log speak for as long as the command runs; the caller's logging is left as it was."""
    logger, handler = logging.getLogger("eorestore"), logging.StreamHandler(sys.stderr)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    context.call_on_close(lambda: logger.removeHandler(handler))
    context.call_on_close(lambda: logger.setLevel(before))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors go to stderr as one line and a fix."""
    try:
        code = app(list(arguments), standalone_mode=False)
    except EorestoreError as error:
        if "--debug" in arguments:
            raise
        typer.echo(f"error: {error.message}\nfix: {error.fix}", err=True)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("interrupted; --resume goes on where it stopped", err=True)
        return EXIT_INTERRUPTED
    except COMMAND_LINE_ERROR as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "eorestore")
        typer.echo(f"error: {error.format_message()}\nfix: {path} --help lists what is possible", err=True)
        return EXIT_USAGE
    return int(code or 0)
