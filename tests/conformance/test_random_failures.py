"""Random scenarios in which memory fails: where they are drawn, what becomes of killed processes, both roads."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from ksmactors.cli.conform_sides import hunt_for
from ksmactors.conformance.compare import Side, compare
from ksmactors.conformance.contents import ExpectedContents, wrong_checks
from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.generate import generate
from ksmactors.conformance.generate_holds import generate_with_holds
from ksmactors.conformance.language import Scenario, parse
from ksmactors.conformance.live import LOSING, Live
from ksmactors.errors import ScenarioError
from ksmactors.guest.machine import Guest

GENERATORS = {"plain": generate, "holds": generate_with_holds}


def failures_in(scenario: Scenario) -> int:
    return sum(operation.done.name in LOSING for operation in scenario.operations)


# -- where they are drawn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GENERATORS)
def test_memory_fails_where_it_may(kind: str) -> None:
    """In every fourth scenario or more; in none without being asked."""
    made = [GENERATORS[kind](1, number, nodes=2, failures=True) for number in range(60)]
    assert sum(bool(failures_in(scenario)) for scenario in made) >= 15
    assert not any(failures_in(GENERATORS[kind](1, number, nodes=2)) for number in range(60))


def test_the_zero_page_never_fails() -> None:
    """A guest has one for all scenarios: what fails has been written, and not with zeros."""
    failed = 0
    for number in range(60):
        contents = ExpectedContents()
        for operation in generate(2, number, nodes=2, failures=True).operations:
            if operation.name == "hwpoison":
                assert contents.processes[operation.process][operation.region][operation.first] > 0
                failed += 1
            contents.apply(operation)
    assert failed >= 20


def test_a_live_host_is_never_asked_to_lose_memory(tmp_path: Path) -> None:
    """With --live none of the scenarios has a failure; with a guest, and with the emulator alone, they have."""
    live, guest = Live.__new__(Live), Guest.__new__(Guest)
    live.release, guest.release, guest.swap, guest.kvm = "6.12.1", "6.12.1", True, True
    live.nodes = 2
    for machine, fails in ((live, False), (guest, True), (None, True)):
        for holds in (False, True):
            hunt = hunt_for(Setting("v6.12", 2), machine, 0, tmp_path, holds=holds)
            made = [hunt.generate(0, number, nodes=2, swap=True) for number in range(30)]
            assert any(map(failures_in, made)) == fails


# -- what becomes of killed processes ---------------------------------------------------------------------------------

AFTER_A_KILL = """\
set run 1
proc A
map A r 2
fillseq A r 0 2 7
pin A r 1
fork A B
fork A K
hwpoison K r 0
pin B r 0
unpin B r 0
check B r 1 8
check B r 0 7
fork B C
fill C r 0 3
exit C
unpin B r 0
bg migrate B r 0 0
bg fork B D
check D r 0 3
check A r 1 8
"""


async def test_a_killed_process_does_nothing_more() -> None:
    """Nor does its child, which it could not have; a pin that was refused is not undone."""
    scenario = parse(AFTER_A_KILL)
    lines = (await perform(scenario, Setting("v6.12"))).lines
    answers = [after for line, after in pairwise(lines) if line.startswith("> ")]
    assert answers[7:] == [
        "= killed SIGBUS", "= EFAULT", "= ENOENT", "= ok", "= killed SIGBUS", *["= error ESRCH"] * 7, "= ok",
    ]  # fmt: skip
    assert wrong_checks(scenario, lines) == []


async def test_an_unpin_without_a_pin_is_refused() -> None:
    """A mistake in a scenario is no answer."""
    with pytest.raises(ScenarioError, match="pin A r 0 was not done before"):
        await perform(parse("proc A\nmap A r 1\nfill A r 0 1\nunpin A r 0\n"), Setting("v6.12"))


@pytest.mark.parametrize(
    ("answers", "wrong"),
    [
        (("killed SIGBUS", "killed SIGBUS", "error ESRCH"), []),
        (("killed SIGBUS", "ok", "ok"), []),
        (("killed SIGBUS", "killed SIGBUS", "ok"), ["line 8: check A r 0 7: 'ok', must be 'error ESRCH'"]),
        (("killed SIGBUS", "BAD 1", "ok"), ["line 7: check A r 0 7: 'BAD 1', must be 'ok'"]),
    ],
)
def test_who_shares_failed_memory_is_up_to_the_kernel(answers: tuple[str, ...], wrong: list[str]) -> None:
    """A check may end its process once memory has failed; another content is wrong, and so is life after death."""
    scenario = parse(
        "proc A\nmap A r 1\nfill A r 0 7\ncheck A r 0 7\nfork A K\nhwpoison K r 0\ncheck A r 0 7\ncheck A r 0 7\n"
    )
    every = ("ok",) * 5 + answers
    lines = [line for one, answer in zip(scenario.operations, every, strict=True)
             for line in (f"> {one.text}", f"= {answer}")]  # fmt: skip
    assert wrong_checks(scenario, lines) == wrong
    early = [*lines[:7], "= killed SIGBUS"]  # nothing has failed yet
    assert wrong_checks(scenario, early) == ["line 4: check A r 0 7: 'killed SIGBUS', must be 'ok'"]


# -- both roads -------------------------------------------------------------------------------------------------------


async def both_roads(kernel: str, kind: str, scenarios: int) -> Counter[str]:
    """Compare the emulator with itself, its trees searched by index and entry by entry; count what was seen."""
    index = Side("index", partial(perform, setting=Setting(kernel)))
    walking = Side("walking", partial(perform, setting=Setting(kernel, walking=True)))
    counted: Counter[str] = Counter()
    for number in range(scenarios):
        scenario = GENERATORS[kind](5, number, nodes=2, failures=True)
        comparison = await compare(scenario, index, walking, checked=True)
        assert (comparison.verdict, comparison.diff, comparison.wrong) == ("same", (), ()), scenario.name
        counted["failures"] += failures_in(scenario)
        counted["killed"] += sum("killed SIGBUS" in line for line in comparison.performed.lines)
    return counted


@pytest.mark.slow
@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("kernel", ["v6.1", "v6.12"])
async def test_both_roads_are_one(kernel: str, kind: str) -> None:
    """The same lines, and no content that nobody has written."""
    counted = await both_roads(kernel, kind, 6)
    assert counted["failures"]
    assert counted["killed"] or kernel == "v6.1"


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("kernel", ["series", "v3.9", "v6.1", "v6.12", "v6.18", "v7.3"])
async def test_both_roads_are_one_at_length(kernel: str, kind: str) -> None:
    """Some hundreds of scenarios."""
    counted = await both_roads(kernel, kind, 300)
    assert counted["failures"] >= 100
    assert counted["killed"]


# -- what random scenarios have shown ---------------------------------------------------------------------------------


async def test_two_failures_of_a_frame_at_once_are_no_data_race() -> None:
    """The flag is tested and set in one atomic (on v3.9, which takes no lock for it)."""
    process = "proc A\nmap A r 1\nfill A r 0 7\nmergeable A r\n"
    both = "scan 2\nbg hwpoison A r 0\nbg hwpoison B r 0\nshared A r 0\n"
    scenario = parse(f"set run 1\n{process}{process.replace('A', 'B')}{both}")
    transcript = await perform(scenario, Setting("v3.9", watchers=("happens_before", "lockset")))
    assert (transcript.failure, transcript.lines[-1]) == (None, "= ksm hwpoison n=2 node=0: A.r.0 B.r.0")


@pytest.mark.parametrize("kernel", ["series", "v6.12"])
async def test_a_migration_keeps_the_page_tables_of_a_process_that_exits(kernel: str) -> None:
    """move_pages has a reference on the address space, which is torn down by who puts the last one."""
    scenario = parse(
        "requires nodes 2\nproc C\nmap C r 1\nfill C r 0 1\nhold migrate at migrate_page_copy\n"
        "bg migrate C r 0 1\nbg exit C\nrelease migrate\nframes\n"
    )
    transcript = await perform(scenario, Setting(kernel))
    assert transcript.failure is None
    assert [line for line in transcript.lines if line.startswith(("= C", "= migrate"))] == [
        "= migrate: held at migrate_page_copy", "= C: done ok", "= migrate: done ret=0 status=1",
    ]  # fmt: skip
