"""`replay --step` as a person and a script see it, and what it does with files of somebody else."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typing_extensions import override

from ksmactors.cli import main
from ksmactors.cli.stepper import COMMANDS, LINE_MAX
from tests.helpers.ready import ksmactors_line
from tests.helpers.stepping import SIGNATURE, environment, shrunk_finding
from tests.helpers.terminal import on_terminal

Capsys = pytest.CaptureFixture[str]

EVIL = "\x1b]0;title\x07\x1b[2J\u202egnp.exe"


@pytest.fixture(scope="module")
def finding(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The finding file of S5e, shrunk to one departure."""
    return str(shrunk_finding(tmp_path_factory.mktemp("s5e")))


def stepped(
    finding: str, *lines: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys, args: tuple[str, ...] = ()
) -> tuple[int, str]:
    """Walk through a finding by a script; returns the status and standard output."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    status = main(["replay", finding, "--step", *args])
    captured = capsys.readouterr()
    assert captured.err == ""
    return status, captured.out


def test_a_script_walks_forward_and_back(finding: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """To the departure, on until an object is touched, back, and to the end, where the finding is shown."""
    status, out = stepped(
        finding, "departure", "until stable node 1", "next 2", "back 2", "end", monkeypatch=monkeypatch, capsys=capsys
    )

    assert status == 1
    texts = [line.strip() for line in out.splitlines() if re.match(r" *\d+  \w", line)]
    assert texts[:6] == [
        "0  host begins",
        "235  departure: migrationd/1 is left before it writes content/1000000; ksmd runs",
        "248  ksmd reads kpfn/1 in get_ksm_page",
        "249  ksmd reads mapping/2 in get_ksm_page",
        "250  ksmd writes refcount/2 in get_ksm_page",
        "248  ksmd reads kpfn/1 in get_ksm_page",
    ]
    assert f"\n{SIGNATURE}\n" in out
    assert out.endswith("the end, at step 301: the same finding, event by event\n")


def test_what_there_is_is_printed(finding: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """Objects with all fields, who holds what and who waits for what, actors with their functions, trees, moments."""
    lines = ("until ksm_migrate_page", "print stable node 1", "p pfn/2", "who", "actors", "trees", "list 2", "quit")

    status, out = stepped(finding, *lines, monkeypatch=monkeypatch, capsys=capsys)

    assert status == 0, "the walk has been left before anything was found"
    assert re.search(r"^stable_node/1\n(  .*\n)*  kpfn +1000000\n", out, re.MULTILINE)
    assert re.search(r"^pfn/2\n(  .*\n)*  page_count +3\n", out, re.MULTILINE)
    assert "page lock of pfn 2: held by migrationd/1; waited for by ksmd\n" in out
    assert "waiting in merge_with_found < cmp_and_merge_page < ksm_do_scan\n" in out
    assert "root_stable_tree[0]:\n  stable_node/1 kpfn 1000000 on node 1\n" in out
    assert out.count("ksm_migrate_page        stable_node=1") == 2, "the event, and once more in the list"


NONSENSE = (
    "nonsense", "n 0", "n -1", "n x", "n 1 2", "n 99999999999999999999", "until", "print", "print nothing/7",
    "p pte/A", "explore", "explore 0", "explore 9999999", "explore 5 nosuch", "explore 5 pos 7", "who is", "e", "back",
    "x" * (LINE_MAX + 5), EVIL, "p \x00", "until 1_000",
)  # fmt: skip


def test_nonsense_is_one_line_and_the_walk_goes_on(
    finding: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """Each command that makes no sense is answered by one line; empty lines and comments by none."""
    for line in NONSENSE[:-1]:
        _, out = stepped(finding, line, "", "# a comment", monkeypatch=monkeypatch, capsys=capsys)
        first, answer = out.splitlines()
        assert first.strip() == "0  host begins"
        assert answer
        assert answer.isprintable()

    status, out = stepped(finding, *NONSENSE, monkeypatch=monkeypatch, capsys=capsys)

    assert status == 1, "the last one is an object that nothing touches, so that the walk has come to the end"
    assert "an operation on 1_000 does not come; this is the end\n" in out


def test_after_the_end_there_is_only_back(finding: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """Going on is refused, looking is not, and the finding is told in full once."""
    lines = ("end", "next", "departure", "explore 3", "print pfn/2", "back", "end")

    status, out = stepped(finding, *lines, monkeypatch=monkeypatch, capsys=capsys)

    assert status == 1
    assert out.count("the replay is over") == 3
    assert out.count(f"\n{SIGNATURE}\n") == 1
    assert out.count("the end, at step 301") == 2
    assert "  mapping                  NULL\n" in out


def test_the_end_of_input_quits(finding: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """Without a command the walk stops at its first moment, or where --until says, and ends there."""
    assert stepped(finding, monkeypatch=monkeypatch, capsys=capsys) == (0, "       0  host begins\n")
    status, out = stepped(finding, monkeypatch=monkeypatch, capsys=capsys, args=("--until", "235"))
    assert (status, out.split()[0]) == (0, "235")


def test_help_names_all_commands(finding: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """Each command is in the help, with its names; so are the kinds of objects, and the events."""
    _, out = stepped(finding, "help", "help objects", "? events", monkeypatch=monkeypatch, capsys=capsys)

    assert all(", ".join(command.names) in out for command in COMMANDS)
    assert "stable_node/..." in out
    assert "ksm_migrate_page, " in out


def test_continuations_at_the_prompt(finding: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """`explore` says how many fail, and the walk is where it was."""
    lines = ("until 258", "explore 5", "list 1", "explore 4 pos", "next")

    _, out = stepped(finding, *lines, monkeypatch=monkeypatch, capsys=capsys)

    assert "from step 258: 5 of 5 fail (100%; 95 % confidence interval 57% to 100%)\n" in out
    assert "from step 258: 4 of 4 fail" in out
    assert out.count("     258  ksmd") == 2, "when it came there, and as it was listed"
    assert "     259  ksmd" in out.splitlines()[-1]


def test_a_terminal_has_a_prompt_and_repeats(finding: str, tmp_path: Path) -> None:
    """On a terminal there is a prompt, and an empty line repeats the last command."""
    typed = "until 300\n\nn\n\n\nquit\n"
    status, got = on_terminal("replay", finding, "--step", cwd=tmp_path, typed=typed, TERM="dumb")

    assert status == 1
    assert got.count("(step) ") >= 4
    assert "the replay is over" in got
    assert SIGNATURE in got


def test_an_interruption_at_the_prompt(finding: str, tmp_path: Path) -> None:
    """SIGINT while the walk waits for a command ends it with 130, and no traceback; at a stop, and at the end."""
    for commands in (b"", b"end\n"):
        command = ksmactors_line("replay", finding, "--step")
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(tmp_path, PYTHONUNBUFFERED="1"),
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(commands)
            process.stdin.flush()
            wanted = b"the end" if commands else b"host begins"
            while wanted not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stderr is not None
            assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    "args",
    [
        ("--step", "--json"),
        ("--step", "--log", "x.jsonl"),
        ("--until", "3", "--detail"),
        ("--step", "--explore", "3"),
        ("--strategy", "pos"),
        ("--until", ""),
        ("--explore", "0"),
        ("--explore", "many"),
    ],
)
def test_what_does_not_go_together(finding: str, capsys: Capsys, args: tuple[str, ...]) -> None:
    """Options that contradict each other are a usage error of one line, and nothing is run."""
    assert main(["replay", finding, *args]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].isprintable()


def test_commands_and_finding_cannot_share_standard_input(capsys: Capsys) -> None:
    """`replay - --step` is refused."""
    assert main(["replay", "-", "--step"]) == 2
    assert "give the finding as a file" in capsys.readouterr().err


# -- files of somebody else --------------------------------------------------------------------------------------------

MODEL = f'''
from pathlib import Path

from ksmactors.model import Model, Table

Path(__file__).with_name("ran").touch()


class Counts(Model):
    """counts without a lock"""

    async def run(self, table: Table) -> None:
        count = table.variable("count" + {EVIL!r}, {EVIL!r})

        async def worker() -> None:
            await count.write(await count.read() + "x")

        await table.concurrent({{f"worker/{{number}}" + {EVIL!r}: worker() for number in range(3)}})
        table.check(len(count.value) == len({EVIL!r}) + 3, "lost", {EVIL!r})
'''


@pytest.fixture
def foreign(tmp_path: Path) -> str:
    """A finding that names a file of somebody who means no good."""
    (tmp_path / "model.py").write_text(MODEL)
    args = ["stress", f"{tmp_path}/model.py:Counts", "--seeds", "20", "--out", str(tmp_path / "out"), "--quiet"]
    done = subprocess.run(
        ksmactors_line(*args), capture_output=True, check=False, env=environment(tmp_path)
    )  # fmt: skip
    assert done.returncode == 1
    (tmp_path / "ran").unlink()
    (path,) = (tmp_path / "out").glob("*.json")
    return str(path)


def test_a_foreign_file_runs_no_code(foreign: str, tmp_path: Path) -> None:
    """Without --trust nothing that a finding names is loaded, however it is replayed."""
    for args in (["--step"], ["--until", "3"], ["--explore", "3"]):
        command = ksmactors_line("replay", foreign, *args)
        done = subprocess.run(
            command, capture_output=True, check=False, input=b"end\n", env=environment(tmp_path)
        )  # fmt: skip
        assert done.returncode == 2
        assert b"--trust" in done.stderr
        assert not (tmp_path / "ran").exists()


def test_what_a_foreign_file_names_is_escaped(foreign: str, tmp_path: Path) -> None:
    """Control characters in names and values are shown, never performed, at the prompt and at a point."""
    script = "d\nn 3\na\nw\nhelp objects\np count\\x1b\nlist 50\nend\n"
    for args, given in ((["--step"], script), (["--until", "3", "--explore", "5"], "")):
        command = ksmactors_line("replay", "--trust", foreign, *args)
        done = subprocess.run(
            command, capture_output=True, check=False, input=given, text=True, env=environment(tmp_path)
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert r"\x1b]0;title\x07" in done.stdout
        assert all(line.isprintable() for line in (done.stdout + done.stderr).split("\n"))


def test_standard_input_that_cannot_be_read(finding: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """One line, and no defect of ksmactors."""

    class Unreadable(io.StringIO):
        @override
        def readline(self, size: int | None = -1, /) -> str:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(sys, "stdin", Unreadable())
    assert main(["replay", finding, "--step"]) == 2
    assert capsys.readouterr().err == "ksmactors: standard input: cannot be read (Bad file descriptor)\n"
