"""The command line: one module a command, loaded when it is asked for.

`ksmactors --help` and `--version` must answer at once: the group below knows the commands' names and a line
about each, and imports a command only to run it or to print its own help. What goes wrong becomes one line and
an exit status here, for all commands alike.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from shlex import join
from typing import Any, Final

import click

from ksmactors.cli.screen import echo, notice
from ksmactors.errors import INTERNAL, INTERRUPTED, USAGE, EmulatorBug, KsmActorsError

COMMANDS: Final = {
    "run": "Run one schedule of a workload and show its log.",
    "stress": "Run many schedules with randomized interleavings.",
    "explore": "Run all schedules that can differ, and say whether that was all.",
    "replay": "Run a finding or a schedule again, exactly.",
    "shrink": "Cut a finding to the bone, and tell it as a story.",
    "analyze": "Say what a log says: races, contention, findings; SQL.",
    "corpus": "Show the known defects, and how soon they are found.",
    "conform": "Run scenario files, and compare with recordings of a kernel.",
    "estimate": "Say what KSM would save on files, cores or processes.",
    "list": "List what there is, plug-ins included.",
}

_HOMES: Final = {"list": "listing"}
"""The module, and function, of a command where it does not bear its name: a module `list` would hide Python's."""

EXIT_STATUSES: Final = """\b
Exit status:
  0    nothing found
  1    something found: a finding, a mismatch, a diverging replay
  2    usage
  3    an internal error, or a workload that crashed
  4    inconclusive: out of steps, or out of budget
  130  interrupted: what was done so far is kept and summarised"""

CLOSED_PIPE: Final = 141
"""What a shell reports for a command that died of SIGPIPE."""


class _Commands(click.Group):
    """A group that imports a command's module only when the command is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        home = _HOMES.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f"ksmactors.cli.{home}"), home)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from ksmactors.errors import unknown

            raise click.UsageError(unknown("command", args[0], list(COMMANDS)), ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click itself would end on a closed pipe with 1, which means "found" here."""
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            return _closed_pipe()
        return status


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        python = ".".join(map(str, sys.version_info[:3]))
        echo(f"ksmactors {version('ksmactors')} (Python {python}, trio {version('trio')})")
        ctx.exit()


@click.group(cls=_Commands, epilog=EXIT_STATUSES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Print the versions of ksmactors, Python and trio.",
)  # fmt: skip
def cli() -> None:
    """Emulate the concurrency of Linux KSM, and find what an interleaving breaks."""


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    stdout = sys.stdout
    _take_sigterm_as_ctrl_c()
    try:
        status = cli.main(args=None if args is None else list(args), prog_name="ksmactors", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _misused(error)
    except SystemExit as error:  # rich, and click, which exchanges stdout, end with 1 ("found") when nobody reads
        if isinstance(error.__context__, BrokenPipeError) or sys.stdout is not stdout:
            return _closed_pipe()
        raise
    except click.Abort:
        notice("interrupted")
        return INTERRUPTED
    except EmulatorBug:
        return _our_bug()
    except KsmActorsError as error:
        notice(str(error))
        return error.exit_status
    except Exception as error:  # whatever is left is our defect, and says so
        if isinstance(error, OSError) and error.filename is None and error.errno in _NO_OUTPUT:
            notice(f"standard output cannot be written: {error.strerror}")
            _closed_pipe()
            return USAGE
        if isinstance(error.__cause__, KeyboardInterrupt):  # Python itself wraps what interrupts it in __set_name__
            notice("interrupted")
            return INTERRUPTED
        return _our_bug()
    return status if isinstance(status, int) else 0


_NO_OUTPUT: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def _take_sigterm_as_ctrl_c() -> None:
    """Who is told to end, by `timeout` or a CI, keeps what was found until then, as with Ctrl-C.

    Not where Ctrl-C is ignored (in the background of a shell without job control), since trio would not hear of it.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def _misused(error: click.ClickException) -> int:
    """What click refuses is told like everything else: in one line."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    more = f"; see `{ctx.command_path} --help`" if ctx is not None else ""
    message = " ".join(error.format_message().split()).rstrip(".")
    notice(f"{message}{more}")
    return error.exit_code


def _our_bug() -> int:
    from traceback import format_exception

    error = sys.exception()
    assert error is not None
    echo("".join(format_exception(error)), err=True, nl=False)
    again = join(["ksmactors", *sys.argv[1:]])
    notice(f"this is a defect of ksmactors; please report it, with: {again}")
    return INTERNAL


def _closed_pipe() -> int:
    """Leave quietly: nobody reads, and the interpreter's own last flush must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return CLOSED_PIPE
