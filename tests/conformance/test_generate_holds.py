"""Random directed schedules: what they are made of, and what becomes of those that a real kernel does not repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import trio

from ksmactors.conformance.compare import ScenarioComparison, Side, compare
from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.generate_holds import (
    AFTER,
    HELD_AT,
    HELD_WITH_FAILURES,
    generate_with_holds,
)
from ksmactors.conformance.language import Scenario, parse
from ksmactors.conformance.places import place_named
from ksmactors.conformance.transcript import Transcript


def text(scenario: Scenario) -> str:
    return "\n".join(operation.text for operation in scenario.operations)


def test_every_place_is_one_that_kernels_have() -> None:
    """So a random schedule is not skipped by every kernel."""
    places = [place.split(" ")[0] for several in HELD_AT.values() for place in several]
    assert all(place_named(place).kernels for place in places)
    assert set(places) >= AFTER
    assert set(HELD_WITH_FAILURES) == set(HELD_AT)


def test_a_schedule_depends_on_its_seed_number_and_nodes() -> None:
    """Nothing else; and one node needs no second one."""
    assert text(generate_with_holds(3, 5, nodes=2)) == text(generate_with_holds(3, 5, nodes=2))
    others = [
        generate_with_holds(3, 6, nodes=2),
        generate_with_holds(4, 5, nodes=2),
        generate_with_holds(3, 5, nodes=1),
    ]
    assert text(generate_with_holds(3, 5, nodes=2)) not in [text(other) for other in others]
    for number in range(30):
        assert not any(word in text(generate_with_holds(0, number, nodes=1)) for word in (" node ", "migrate", "nodes"))


def test_tasks_are_held_and_all_end() -> None:
    """In half of the schedules or more a task is held; in some another one waits for it; none is left behind."""
    counted: Counter[str] = Counter()

    async def run() -> None:
        for number in range(20):
            scenario = generate_with_holds(1, number, nodes=2)
            lines = (await perform(scenario, Setting("v6.12", 2))).lines
            states = [line.split(": ", 1)[1] for line in lines if line.startswith("= ") and ": " in line]
            counted.update({state.split(" ")[0] for state in states})
            assert not any("is busy" in line for line in lines), scenario.name

    trio.run(run)
    assert counted["held"] >= 10
    assert counted["blocked:"] >= 1


HOLD = "set run 1\nproc A\nmap A r 1\nhold ksmd at get_ksm_page\ncounters\n"


def compared(scenario: Scenario, kernel: Iterator[Transcript], emulated: Transcript) -> ScenarioComparison:
    async def real(_: Scenario) -> Transcript:
        return next(kernel)

    async def emulator(_: Scenario) -> Transcript:
        return emulated

    async def run() -> ScenarioComparison:
        return await compare(scenario, Side("guest", real, live=True), Side("emulator", emulator))

    return trio.run(run)


def test_a_kernel_that_does_not_repeat_itself_is_not_comparable() -> None:
    """With holds: who was faster decided. The same difference twice is one, and so is one without holds."""
    held, plain = (
        parse(HOLD, name="x", origin="x"),
        parse(HOLD.replace("hold ksmd at get_ksm_page\n", ""), name="x", origin="x"),
    )
    once, again, emulated = (Transcript(held, ("> counters", f"= counters shared={n}")) for n in (1, 2, 3))
    found = compared(held, iter([once, again]), emulated)
    assert (found.verdict, found.found) == ("not comparable", "")
    assert found.not_comparable == "does not end alike twice on the kernel: -= counters shared=1"
    assert compared(held, iter([once, once]), emulated).verdict == "different"
    assert compared(plain, iter([once, again]), emulated).verdict == "different"
    crashed = Transcript(held, ("> counters",), crash="kernel crashed: NULL dereference")
    assert compared(held, iter([once, crashed]), emulated).verdict == "different"


def test_what_a_kernel_skips_is_not_comparable() -> None:
    """It lacks a place; the emulator goes on."""
    held = parse(HOLD, name="x", origin="x")
    skipped = Transcript(held, ("> hold ksmd at get_ksm_page", "= skip: no function get_ksm_page here"))
    emulated = Transcript(held, ("> hold ksmd at get_ksm_page", "= ok"))
    found = compared(held, iter([skipped, skipped]), emulated)
    assert (found.verdict, found.not_comparable) == (
        "not comparable", "is skipped: no function get_ksm_page here",
    )  # fmt: skip
    assert compared(held, iter([skipped, skipped]), skipped).verdict == "same"
