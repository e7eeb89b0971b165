"""The command line `rcm-cascade`: collects the commands, and says in one sentence what went wrong."""

import io
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rcm_cascade import __version__
from rcm_cascade.commands.annotate import annotate
from rcm_cascade.commands.batch import batch
from rcm_cascade.commands.check import check
from rcm_cascade.commands.demo import demo
from rcm_cascade.commands.evaluate import evaluate
from rcm_cascade.commands.import_labels import import_labels
from rcm_cascade.commands.phantom import phantom
from rcm_cascade.commands.report import report
from rcm_cascade.commands.review import review
from rcm_cascade.commands.train import train
from rcm_cascade.errors import InputError, JobsFailedError, explain_os_error

app = typer.Typer(
    name="rcm-cascade",
    help="Learns patterns in reflectance confocal mosaics of skin and annotates whole mosaics with them.",
    epilog="`rcm-cascade COMMAND --help` says more. Start with `rcm-cascade demo`.",
    add_completion=False,
    rich_markup_mode=None,  # plain text, which every terminal, pipe and pager shows alike
)
app.command()(demo)
app.command()(phantom)
app.command()(batch)
# The overrides are Hydra's, its flags too, in the order in which they are given; so is the help, which names the keys.
app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train)
app.command()(evaluate)
app.command()(annotate)
app.command()(review)
app.command()(report)
app.command("import")(import_labels)
app.command()(check)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"rcm-cascade {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns the exit status: see `exit_status`."""
    return exit_status(app, sys.argv[1:] if argv is None else argv)


def exit_status(program: typer.Typer, arguments: Sequence[str]) -> int:
    """Runs a program, and prints what the user did wrong, or what the system refused, as one sentence on stderr.

    Returns:
        0 done, 1 some mosaics or jobs failed, 2 the user's input was wrong, 130 interrupted.
    """
    warnings.formatwarning = _one_line
    for stream in (sys.stdout, sys.stderr):  # a name or sign that the terminal has not is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = typer.main.get_command(program).main(
            [_expanded(argument) for argument in arguments], prog_name=program.info.name, standalone_mode=False
        )
    except typer.TyperException as error:  # an option that does not exist, a value that is missing
        return _say(_usage(error), 2)
    except InputError as error:
        return _say(str(error), 2)
    except JobsFailedError as error:
        return _say(str(error), 1)
    except OSError as error:  # a full disk, a folder that may not be written
        return _say(explain_os_error(error), 2)
    if status == 130:  # Typer's, for Ctrl-C
        print("interrupted; the same command goes on from the last saved state", file=sys.stderr)
    return status or 0


def _say(sentence: str, status: int) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return status


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    more = f"; see `{context.command_path} --help`" if context is not None else ""
    return " ".join(error.format_message().split()).rstrip(".") + more


def _expanded(argument: str) -> str:
    """``~`` at the beginning of a path, where no shell expands it: after ``=``, or quoted."""
    return re.sub(r"^([^=]*=|)~(?=/|$)", lambda found: f"{found[1]}{Path.home()}", argument)


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Warnings as a sentence, without the line of code that raised them."""
    return f"warning: {message}\n"


if __name__ == "__main__":
    sys.exit(main())
