"""The command line: one module a command, loaded when it is asked for.

`ksmactors --help` and `--version` must answer at once: the group below knows the commands' names and a line
about each, and imports a command only to run it or to print its own help. What goes wrong becomes one line and
an exit status here, for all commands alike.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TextIO

import click
from typing_extensions import override

from ksmactors import aside, interruption
from ksmactors.bytecode import damaged_bytecode
from ksmactors.cli.screen import echo, notice, report_error
from ksmactors.errors import CLOSED_PIPE, INTERNAL, INTERRUPTED, USAGE, EmulatorBug, KsmActorsError, unknown
from ksmactors.escaping import shortened

COMMANDS: Final = {
    "run": "Run one schedule of a workload and show its log.",
    "stress": "Run many schedules with randomized interleavings.",
    "explore": "Run all schedules that can differ, and report whether all were run.",
    "replay": "Run a finding or a schedule again, exactly.",
    "shrink": "Reduce a finding to a short schedule, and describe it in prose.",
    "analyze": "Summarize logs: races, contention, findings; SQL.",
    "report": "Export a finding or a log as a picture for a viewer.",
    "campaign": "Show what the store of a campaign says, or merge two.",
    "compare": "Run the same campaign with and without an idea, and show what differs.",
    "corpus": "Show the known defects, and how soon they are found.",
    "conform": "Run scenario files, and compare with recordings of a kernel.",
    "reproduce": "Write a C program that shows a defect on a real kernel.",
    "estimate": "Estimate what KSM would save on files, cores or processes.",
    "new": "Make a package for a workload, variant, watcher or strategy.",
    "list": "List workloads, strategies, variants and more, plug-ins included.",
    "docs": "Read the documents: the protocol, the kernel map, plug-ins.",
}

_HOMES: Final = {"list": "listing", "report": "report_command"}
"""The module, and function, of a command where it does not bear its name: a module `list` would hide Python's, and
`report` is what commands print."""

EXIT_STATUSES: Final = """\b
Exit status:
  0    nothing found
  1    something found: a finding, a mismatch, a diverging replay
  2    usage
  3    an internal error, or a workload that crashed
  4    inconclusive: out of steps, or out of budget
  130  interrupted (SIGINT, SIGTERM or SIGHUP): what was done so far is kept
       and summarised
  141  the reader of standard output has gone"""


class _Commands(click.Group):
    """A group that imports a command's module only when the command is wanted."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        home = _HOMES.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f"ksmactors.cli.{home}"), home)
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(unknown("command", args[0], list(COMMANDS)), ctx)
        return super().resolve_command(ctx, args)

    @override
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click itself would end with 1, which means "found" here, on a closed pipe."""
        try:
            status = super().invoke(ctx)
            aside.stdout().flush()
        except BrokenPipeError:
            return _closed_pipe()
        except KeyboardInterrupt:  # click would print an empty line
            return INTERRUPTED
        except EOFError as error:  # click would take it for an interruption
            return _status_of_failure(error)
        return status


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

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
    aside.begin()
    try:
        return _status_of(args)
    except OSError as error:  # a message that cannot be written
        return _no_output(error)
    finally:
        interruption.restore()
        if args is not None:  # else the process ends, and what a plug-in prints then is no result either
            aside.restore()


def _status_of(args: Sequence[str] | None) -> int:
    try:
        status = cli.main(args=None if args is None else list(args), prog_name="ksmactors", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _misused(error)
    except SystemExit as error:  # rich, and click, which wraps stdout, end with 1 ("found") when no reader is left
        if isinstance(error.__context__, BrokenPipeError) or not isinstance(sys.stdout, io.IOBase):
            return _closed_pipe()
        raise
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except EmulatorBug as error:
        return _our_bug(error)
    except KsmActorsError as error:
        report_error(str(error))
        return error.exit_status
    except Exception as error:
        return _status_of_failure(error)
    return status if isinstance(status, int) else 0


def _status_of_failure(error: Exception) -> int:
    """Say what has ended a command that is no error of ours; whatever is left is our defect."""
    if _is_closed(aside.stdout()):
        report_error("standard output was closed by code of a plug-in; that code must leave sys.stdout.buffer open")
        return INTERNAL
    if isinstance(error, OSError) and error.filename is None and error.errno in _NO_OUTPUT:
        return _no_output(error)
    if isinstance(error, OSError) and (refused := _refused(error)):
        report_error(refused)
        return USAGE
    if damaged := damaged_bytecode(error):
        report_error(damaged)
        return INTERNAL
    if isinstance(error.__cause__, KeyboardInterrupt):  # Python itself wraps what interrupts it in __set_name__
        return INTERRUPTED
    return _our_bug(error)


def _is_closed(stream: TextIO) -> bool:
    try:
        return stream.closed
    except ValueError:  # its buffer was detached
        return True


_NO_PATH: Final = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM)
"""What pathlib raises, before Python 3.14, where it is asked whether there is a file of a name that none can have, or
in a directory that the user may not search."""

_WAS_REMOVED: Final = "the working directory was removed; change to one that exists"

_NO_OUTPUT: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)


def _refused(error: OSError) -> str:
    """What the system has refused, for reasons that are not ours; empty if it may be a defect of ours."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{error.strerror}: raise the limit (ulimit -n) or give fewer --jobs"
    if error.filename is None:
        return _WAS_REMOVED if error.errno == errno.ENOENT and _has_no_directory() else ""
    if error.errno == errno.ENAMETOOLONG:  # of is_file() and others
        return f"{shortened(os.fsdecode(error.filename))}: {error.strerror}"
    return f"{os.fsdecode(error.filename)}: cannot be looked at ({error.strerror})" if error.errno in _NO_PATH else ""


def _has_no_directory() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _no_output(error: OSError) -> int:
    """Standard output or standard error cannot be written: say so if it can be said."""
    with suppress(OSError):
        notice(f"standard output cannot be written: {error.strerror}")
    _discard(aside.stdout().fileno)
    _discard(aside.stderr().fileno)
    return USAGE


def _misused(error: click.ClickException) -> int:
    """What click refuses is reported like everything else: in one line."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    more = f"; see `{ctx.command_path} --help`" if ctx is not None else ""
    message = " ".join(error.format_message().split()).rstrip(".")
    report_error(f"{message}{more}")
    return error.exit_code


def _our_bug(error: Exception) -> int:
    from shlex import join
    from traceback import format_exception

    echo("".join(format_exception(error)), err=True, nl=False)
    again = join(["ksmactors", *sys.argv[1:]])
    report_error(f"this is a defect of ksmactors; please report it, with: {again}")
    return INTERNAL


def _closed_pipe() -> int:
    """Leave quietly: there is no reader, and the interpreter's own last flush must not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for fd in (1, *aside.own_fds()):
        os.dup2(nowhere, fd)
    return CLOSED_PIPE


def _discard(fileno: Callable[[], int]) -> None:
    """What Python still holds for a stream must not fail again when the process ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), fileno())
