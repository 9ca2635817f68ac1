"""The `maskvd` command. Nothing heavy is imported here: `maskvd --help` must answer at once."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from maskvd_cli import __version__
from maskvd_cli.commands.compare import compare
from maskvd_cli.commands.convert import convert
from maskvd_cli.commands.doctor import doctor
from maskvd_cli.commands.film import film
from maskvd_cli.commands.get import get
from maskvd_cli.commands.heatmap import heatmap
from maskvd_cli.commands.ls import ls
from maskvd_cli.commands.mask import mask
from maskvd_cli.commands.report import report
from maskvd_cli.commands.schema import schema
from maskvd_cli.commands.score import score
from maskvd_cli.commands.streams import install
from maskvd_cli.commands.sweep import sweep
from maskvd_cli.commands.synth import synth
from maskvd_cli.commands.terminal import say
from maskvd_cli.commands.train import train
from maskvd_cli.commands.tune import tune
from maskvd_cli.commands.validate import validate
from maskvd_cli.commands.verify import verify
from maskvd_cli.commands.watch import watch
from maskvd_cli.core.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, MaskvdError, RecipeError
from maskvd_cli.core.registry import Registry
from maskvd_cli.core.shown import shown


class _Commands(TyperGroup):
    """Turns errors that a user can mend into lines on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return self._flushed(ctx)
        except RecipeError as error:
            for problem in error.problems:
                print(shown(problem), file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except MaskvdError as error:
            print(f"error: {shown(str(error))}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError:
            # The reader, `head` for instance, has seen enough; nothing is left to flush at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit from None
        except OSError as error:
            if error.filename is not None:
                reason = f"{error.filename}: {error.strerror}; check the path and its permissions"
                print(f"error: {shown(reason)}", file=sys.stderr)
                raise typer.Exit(EXIT_BAD_INPUT) from error
            if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
                raise
            print(f"error: cannot write output ({error.strerror}); free space", file=sys.stderr)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(EXIT_BAD_INPUT) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None

    def _flushed(self, ctx: Any) -> Any:
        """Run the command and write out all it printed, whatever its exit code."""
        try:
            return super().invoke(ctx)
        finally:
            if not sys.stdout.closed:
                sys.stdout.flush()


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"maskvd {__version__}")
        raise typer.Exit


@app.callback()
def maskvd(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Compare methods that skip tokens of video detectors: mAP50, latency, GMACs, memory.

    annotations -> maskvd heatmap -> maskvd mask; recipe -> maskvd sweep -> maskvd report

    Exit codes: 0 ok, 1 bug, 2 bad input, 3 some points failed, 4 regression, 130 interrupted.
    """
    # A plug-in that cannot be imported costs only itself.
    Registry.on_broken = _warn


def _warn(error: MaskvdError) -> None:
    say(f"warning: {error}")


for command in (
    heatmap,
    mask,
    sweep,
    validate,
    report,
    compare,
    watch,
    film,
    score,
    verify,
    ls,
    doctor,
    get,
    convert,
    synth,
    train,
    tune,
    schema,
):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    install()
    app()
