"""The command line as a whole: help, version, usage errors, and what they cost."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from ksmactors.cli import COMMANDS, cli, main
from ksmactors.errors import EmulatorBug, StepLimit, UsageError
from ksmactors.run.subject import watchers_of
from tests.helpers.ready import ksmactors_line

HEAVY = ("trio", "anyio", "structlog", "rich", "duckdb")


@pytest.mark.parametrize("words", ["--help", "--version", "list workloads"])
def test_what_runs_no_schedule_imports_nothing_heavy(words: str) -> None:
    """Help and lists of what can be run import neither trio nor anything else that costs tens of milliseconds."""
    code = (
        "import sys; from ksmactors.cli import main; status = main(sys.argv[1:]); "
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    line = [sys.executable, "-c", code, *words.split()]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n"
    assert "ksmactors" in done.stdout or "vm_fleet" in done.stdout


UNUSED = {
    "--help": ("difflib", "importlib.metadata", "ksmactors.plugins"),
    "list workloads": ("ksmactors.run", "ksmactors.history", "ksmactors.later"),
    "docs ST3d": ("ksmactors.run", "ksmactors.injection", "ksmactors.events.catalogue"),
    "stress --seeds 1 -q": (
        "structlog", "rich", "ksmactors.litmus", "ksmactors.model", "workloads.litmus", "ksmactors.ci.github",
        "ksmactors.ci.user_places", "ksmactors.history.cases", "ksmactors.estimate.files",
        "ksmactors.later.profit", "ksmactors.history.foll_migration", "ksmactors.history.mutants.keyhole",
    ),
}  # fmt: skip
"""What a command does not use, and would take a percent of its time or more to load."""


@pytest.mark.parametrize("words", UNUSED)
def test_a_command_loads_what_it_uses(words: str, tmp_path: Path) -> None:
    """No command waits for modules of other commands, or of options that were not given."""
    code = (
        "import sys; from ksmactors.cli import main; status = main(sys.argv[1:]); "
        f"print([m for m in {UNUSED[words]!r} if m in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    line = [sys.executable, "-c", code, *words.split()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    environment |= {"XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert done.stderr == "[]\n"


def test_version_names_what_decides_about_a_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` says the versions of ksmactors, Python and trio in one line."""
    assert main(["--version"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in out
    assert "trio 0." in out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of the group has a line for each command, and the exit statuses."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in out
    assert "130" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    """No command and no option is without a line of help."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_works(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`ksmactors COMMAND --help` prints its usage and succeeds."""
    assert main([name, "--help"]) == 0
    assert f"Usage: ksmactors {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["stres"], "did you mean stress"),
        (["stress", "--bogus"], "No such option"),
        (["list"], "Choose from: workloads, strategies"),
        (["list", "nothing"], "'nothing'"),
        (["stress", "--seeds", "9:3"], "no seed in that range"),
        (["stress", "--seeds", "many"], "--seeds must be N or A:B"),
        (["explore", "classic.lost", "--seconds", "nan"], "'nan' is not a time"),
        (["stress", "fork_strom"], "did you mean fork_storm"),
        (["run", "fork_storm", "-p", "page=3"], "did you mean pages"),
        (["run", "fork_storm", "-p", "pages=x"], "whole number"),
        (["run", "fork_storm", "-p", "pages"], "KEY=VALUE"),
        (["run", "fork_storm", "--kernel", "v3.8"], "v3.9"),
        (["run", "fork_storm", "--without", "nonsense"], "nonsense"),
        (["run", "fork_storm", "--with", "nonsense"], "nonsense"),
        (["run", "fork_storm", "--strategy", "randon"], "did you mean random"),
        (["run", "fork_storm", "--strategy", "pct:depths=3"], "depths"),
        (["run", "fork_storm", "--watch", "shadows"], "shadow"),
        (["run", "fork_storm", "--watch", "all,none"], "--watch all,none: none stands alone"),
        (["run", "fork_storm", "--nodes", "0"], "--nodes"),
        (["run", "fork_storm", "--json", "--log", "-"], "standard output"),
        (["run", "nowhere.py:Class"], "nowhere.py"),
        (["replay", "no/such/file"], "no/such/file"),
        (["replay", ""], "an empty name"),
        (["replay", "/dev/null"], "finding file /dev/null: is not a regular file"),
        (["replay"], "Missing argument 'FILE|DIR|SCHEDULE'; see `ksmactors replay --help`"),
    ],
)
def test_bad_input_is_one_clear_line(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the user got wrong is told without a traceback, with status 2."""
    assert main(args) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("ksmactors: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    "args",
    [
        "analyze NAME", "conform NAME", "conform . --against NAME", "reproduce NAME", "shrink - --scenario NAME",
        "report NAME --html x", "run NAME.py:X", "run classic.lost --with NAME.py:X", "campaign NAME", "replay NAME",
        "estimate NAME", "conform . --guest NAME", "run scenario -p file=NAME",
    ],
)  # fmt: skip
def test_a_name_that_no_file_can_have(args: str, capsys: pytest.CaptureFixture[str]) -> None:
    """pathlib raises where it is asked whether there is a file of such a name, or of one that the user may not see."""
    assert main(args.replace("NAME", "x" * 300).split()) == 2
    err = capsys.readouterr().err
    assert err.startswith("ksmactors: ")
    assert err.count("\n") == 1


def test_watchers_may_be_listed_with_spaces() -> None:
    """White space around the names in a list of watchers does not matter."""
    assert watchers_of("naming, rmap ") == watchers_of("naming,rmap") == ("naming", "rmap")


def test_ctrl_c_while_a_class_is_made(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Python 3.11 wraps an interruption of __set_name__ in a RuntimeError: it is an interruption all the same."""
    wrapped = RuntimeError("Error calling __set_name__")
    wrapped.__cause__ = KeyboardInterrupt()
    _break(monkeypatch, wrapped)
    assert main(["list", "events"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("error", "status"), [(UsageError("so not"), 2), (StepLimit("too long"), 4)])
def test_our_errors_are_one_line_and_their_status(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of ours that reaches the top is one line; its class says the exit status."""
    _break(monkeypatch, error)
    assert main(["list", "events"]) == status
    assert capsys.readouterr().err == f"ksmactors: {error}\n"


@pytest.mark.parametrize("error", [EmulatorBug("impossible"), ZeroDivisionError("ours")])
def test_a_defect_of_ours_asks_for_a_report(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anything else is our defect: a traceback, a request to report it with the command, status 3."""
    _break(monkeypatch, error)
    monkeypatch.setattr(sys, "argv", ["ksmactors", "list", "events"])
    assert main(["list", "events"]) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "please report it, with: ksmactors list events" in err


def _break(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> None:
        raise error

    module = import_module("ksmactors.cli.listed")
    monkeypatch.setitem(module._LISTS, "events", fail)


def test_a_closed_pipe_is_quiet() -> None:
    """`ksmactors list events | head -1` ends without a complaint."""
    command = f"{shlex.join(ksmactors_line('list', 'events', '--json'))} | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "["
    assert done.stderr == ""


@pytest.mark.parametrize("args", [["--help"], ["list", "commits"], ["corpus", "S1a"]], ids=" ".join)
def test_nobody_reads(args: list[str]) -> None:
    """A reader that has gone before the first line is no finding: the status is that of SIGPIPE."""
    with subprocess.Popen(ksmactors_line(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141
