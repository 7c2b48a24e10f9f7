"""`conform --guest` on the command line, with a machine that is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ksmactors.cli import conform as command
from ksmactors.cli import main
from ksmactors.conformance.language import Scenario
from ksmactors.conformance.recording import read_recording
from ksmactors.conformance.transcript import Transcript
from ksmactors.guest.image import KernelImage
from ksmactors.guest.machine import Guest

CONFORMANCE = Path(__file__).parent.parent / "conformance"
H2 = CONFORMANCE / "confirmed" / "scenarios" / "h2_unstable_root_left.txt"
CRASH = "kernel crashed: NULL dereference in down_read"


class MadeGuest(Guest):
    """A guest that answers what its kernel did when it was recorded, and then crashes."""

    cut = 0

    def __init__(self, image: KernelImage, nodes: int, *_: Any) -> None:
        self.image, self.nodes, self.release, self.swap = image, nodes, image.release, True

    @contextmanager
    def taken(self) -> Iterator[None]:
        yield

    def perform(self, scenario: Scenario) -> Transcript:
        lines = read_recording(CONFORMANCE / "confirmed" / "results" / "v6.12" / f"{scenario.name}.out").lines
        return Transcript(scenario, lines[: len(lines) - self.cut], crash=CRASH, console="/consoles/h2")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> type[MadeGuest]:
    """The command takes it for a guest; the kernel is not looked at."""
    guest = type("Made", (MadeGuest,), {})
    monkeypatch.setattr(command, "Guest", guest)
    monkeypatch.setattr(command, "find", lambda path: KernelImage(path, "6.12.117+made", None))
    return guest


class BootsLater(MadeGuest):
    """A guest whose swap is known when it has booted. It performs nothing, and keeps what it was asked for."""

    asked: list[Scenario]
    kvm = False

    def __init__(self, image: KernelImage, nodes: int, *_: Any) -> None:
        super().__init__(image, nodes)
        self.swap = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        self.swap = True
        yield

    def perform(self, scenario: Scenario) -> Transcript:
        self.asked.append(scenario)
        return Transcript(scenario, (), missing="was not run")


@pytest.mark.parametrize(("words", "operation"), [([], "trace"), (["--holds"], "hold")])
def test_random_scenarios_are_made_for_the_guest_that_has_booted(
    words: list[str],
    operation: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """It has swap, so none of them is without; those with holds have holds; what was not run is counted."""
    asked: list[Scenario] = []
    guest = type("Later", (BootsLater,), {"asked": asked})
    monkeypatch.setattr(command, "Guest", guest)
    monkeypatch.setattr(command, "find", lambda path: KernelImage(path, "6.12.117+made", None))
    words = ["--random", "6", *words, "--guest", "k.deb", "--nodes", "2", "--out", str(tmp_path)]
    assert main(["conform", *words]) == 4
    assert capsys.readouterr().err.endswith("6 scenarios: 6 not run\n")
    texts = [[one.text for one in scenario.operations] for scenario in asked]
    assert not any("device none" in text for text in texts)
    assert all(any(line.startswith(operation) for line in text) for text in texts)


@pytest.mark.usefixtures("made")
def test_a_crash_where_the_emulator_stops_is_no_difference(capsys: pytest.CaptureFixture[str]) -> None:
    """What crashed, where the console is, and where the emulator stops are said."""
    assert main(["conform", str(H2), "--guest", "k.deb"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"h2_unstable_root_left {CRASH} (its console: /consoles/h2)" in err
    assert "the emulator stops at a memory error, where the kernel crashed: lifetime" in err
    assert main(["conform", str(H2), "--guest", "k.deb", "--json"]) == 0
    (scenario,) = json.loads(capsys.readouterr().out)["scenarios"]
    assert (scenario["verdict"], scenario["kernel"], scenario["nodes"]) == ("same", "v6.12", 2)
    assert scenario["console"] == "/consoles/h2"
    assert scenario["reason"].startswith(f"{CRASH}; the emulator stops at a memory error")


def test_a_crash_elsewhere_is_a_difference(made: type[MadeGuest], capsys: pytest.CaptureFixture[str]) -> None:
    """The kernel has crashed before the emulator stops."""
    made.cut = 4
    assert main(["conform", str(H2), "--guest", "k.deb"]) == 1
    out, err = capsys.readouterr()
    assert "+++ ksmactors v6.12" in out
    assert CRASH in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--guest", "k", "--live"], "--live takes this machine's kernel, and --guest another one"),
        (["--guest", "k", "--around", "3"], "--around compares nothing, it looks for findings; leave --guest out"),
        (["--guest", "k", "--against", str(H2), "--kernel", "v6.12"], "--guest --against compares a real kernel"),
        (["--holds"], "--holds is for random scenarios; add --random N, or write holds into a scenario file"),
        (["--guest", "/absent"], "--guest /absent: cannot be read (No such file or directory)"),
    ],
)
def test_what_does_not_go_together_is_refused(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """In one line, before anything is booted."""
    assert main(["conform", str(H2), *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_live_host_has_no_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """Its tasks cannot be held; that is refused before any knob is looked at."""
    assert main(["conform", "--random", "3", "--holds", "--live"]) == 2
    err = capsys.readouterr().err
    assert "--holds needs a kernel whose tasks can be held, which this machine's cannot; take --guest" in err
    assert err.count("\n") == 1
