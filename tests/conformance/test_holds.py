"""Holding tasks at places: what is refused, what is printed, and what is not waited for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from ksmactors.cli import main
from ksmactors.conformance.emulator import Around, Setting, Transcript, perform
from ksmactors.conformance.language import parse
from ksmactors.conformance.places import FORMER_NAMES, atomic, inlined, place_named, places
from ksmactors.conformance.recording import differences
from ksmactors.errors import USAGE, ScenarioError
from ksmactors.history.checkpoints import CHECKPOINTS
from ksmactors.kernels import KERNELS, kernel_class

HERE = Path(__file__).parent
RACES = HERE / "races" / "scenarios"

SHARED = """\
set run 1
proc A
map A r 1
fill A r 0 7
mergeable A r
proc B
map B r 1
fill B r 0 7
mergeable B r
scan 2
"""
"""A and B share a page, on any kernel after two scans."""


async def performed(text: str, kernel: str = "v6.12") -> Transcript:
    return await perform(parse(SHARED + text, name="holds"), Setting(kernel))


async def answers(text: str, kernel: str = "v6.12") -> list[str]:
    """What the lines behind SHARED answered, without their echoes."""
    lines = (await performed(text, kernel)).lines
    return [line for line in lines[lines.index("> scan 2") + 2 :] if not line.startswith("> ")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hold ksmd at get_ksm_pag", "no place 'get_ksm_pag'; near it: get_ksm_page"),
        ("hold ksmd at xyz", "no place 'xyz'; near it: "),
        ("hold Z at break_ksm", "no task 'Z' here; there are ksmd, migrate, set, reclaim, A"),
        ("hold ksmd on break_ksm", "'on' is not at or after; write: hold TASK at|after PLACE [NTH] [in FUNC]"),
        ("hold ksmd at break_ksm 0", "NTH counts from 1"),
        ("hold ksmd at break_ksm -1", "'-1' is one argument too many"),
        ("hold ksmd at memcmp_pages in migrate.W5", "migrate.W5 is a step, not a function"),
        ("hold ksmd at memcmp_pages in nowhere", "no function 'nowhere'"),
        ("hold ksmd at memcmp_pages in", "too few arguments"),
        ("release Z", "no task 'Z' here"),
        ("bg", "too few arguments; write: bg OPERATION"),
        ("bg counters", "counters cannot be done in the background; these can: step, scan, migrate"),
        ("bg bg step 1", "bg cannot be done in the background"),
        ("bg nonsense", "unknown operation 'nonsense'"),
        ("bg fill A r 9 1", "region A r has no page 9"),
        ("proc set\nhold set at break_ksm", "set is a task of the kernel and a process"),
        ("exit A\nhold A at break_ksm", "no task 'A' here"),
        ("prctl A maybe", "'maybe' is not on or off"),
        ("mremap A r s 0 5", "region A r has no page 4"),
        ("device floppy", "'floppy' is not sync or async"),
    ],
)
def test_a_wrong_line_is_refused(line: str, message: str) -> None:
    """One line, with the place and what there is instead, before anything is run."""
    with pytest.raises(ScenarioError) as caught:
        parse(f"proc A\nmap A r 4\n{line}", origin="x.txt")
    assert str(caught.value).partition(": ")[2].startswith(message)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == USAGE


def test_an_exited_process_can_still_be_released() -> None:
    """Its exit may be what is in the background."""
    parse("proc A\nhold A at exit_mmap\nbg exit A\nrelease A\nsignal A\ndisarm A")


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_place_is_somewhere(kernel: str) -> None:
    """What the table calls a function is one of some kernel; each kernel has nearly all places."""
    known = {name for one in KERNELS for name in dir(kernel_class(kernel=one))}
    for place in places().values():
        assert place.functions or place.checkpoints
        assert {*place.functions, *filter(None, (place.scope, place.outside, place.visitor))} <= known, place.name
    here = kernel_class(kernel=kernel)
    names = [[*place.functions, *(one.inside for one in place.checkpoints)] for place in places().values()]
    assert sum(any(hasattr(here, name) for name in some) for some in names) >= len(places()) - 3
    assert set(atomic(kernel)) <= set(places())
    assert set(inlined(kernel)) <= known


def test_the_table_has_all_checkpoints() -> None:
    """Directed schedules and scenarios have the same places."""
    assert set(CHECKPOINTS) <= set(places())


@pytest.mark.parametrize(("former", "name"), FORMER_NAMES.items())
async def test_a_place_has_a_former_name(former: str, name: str) -> None:
    """A scenario with the name that a place had once gives the recorded answers, which have that name."""
    assert former not in places()
    assert place_named(former) is places()[name]
    text = "proc C\nmap C r 1\nfill C r 0 7\nmergeable C r\nscan 1\nhold ksmd at {0}\nbg step 3\nrelease ksmd\n"
    answer = await answers(text.format(name))
    assert await answers(text.format(former)) == [line.replace(name, former) for line in answer]
    assert (f"= ksmd: held at {name}" in answer) == (name not in {"get_ksm_page.GK6", "insert.GK4"})


async def test_a_kernel_without_the_place_skips() -> None:
    """No chains, no function of theirs: the scenario ends there."""
    lines = (await performed("hold ksmd at stable_node_dup\ncounters\n", "v3.9")).lines
    assert lines[-2:] == ("> hold ksmd at stable_node_dup", "= skip: no function stable_node_dup here")


async def test_a_task_is_held_released_and_done() -> None:
    """Only what is new is printed; a task that waits for a held one says for what."""
    text = (
        "hold migrate at move_to_new_page\nbg migrate A r 0 1\nbg fill A r 0 9\nsettle\ncounters\nframes\n"
        "release migrate\nrelease migrate\n"
    )
    assert await answers(text) == [
        "= ok",
        "= migrate: held at move_to_new_page",
        "= A: blocked: migration entry",
        "= counters shared=1 sharing=1 unshared=0 volatile=0 full_scans=2 chains=0 dups=0 scanned=4 skipped=0 zero=0",
        "= frames",
        "=   moving n=2: A.r.0 B.r.0",
        "= migrate: done ret=0 status=1",
        "= A: done ok",
        "= error not held",
    ]


async def test_holds_of_one_task_are_met_in_their_order() -> None:
    """The second counts from when the first was met: where the task is then does not count."""
    text = (
        "hold set at break_ksm\nhold set at break_ksm\nhold set after break_ksm\nbg set run 2\nrelease set\n"
        "release set\nrelease set\n"
    )
    assert await answers(text, "v6.12") == [
        "= ok", "= ok", "= ok", "= set: held at break_ksm", "= set: held at break_ksm", "= set: done ok now=2",
        "= error not held", "# a hold was not met: set after break_ksm",
    ]  # fmt: skip


def test_recordings_that_do_not_name_the_hold_are_equal() -> None:
    """What follows the words is for people; that a hold was not met is compared."""
    old, new = ["= ok", "# a hold was not met"], ["= ok", "# a hold was not met: ksmd at f, set after g"]
    assert differences(old, new, ("old", "new")) == []
    assert differences(old[:1], new, ("old", "new")) != []


async def test_the_nth_time_is_counted() -> None:
    """Of two pages the second; a third never comes, and that is said at the end."""
    assert (await answers("hold set at break_ksm 2\nbg set run 2\nrelease set\n"))[1:] == [
        "= set: held at break_ksm", "= set: done ok now=2",
    ]  # fmt: skip
    assert (await answers("hold set at break_ksm 3\nbg set run 2\n"))[1:] == [
        "= set: done ok now=2", "# a hold was not met: set at break_ksm",
    ]  # fmt: skip
    assert (await answers("hold set at break_ksm 3\ndisarm set\nbg set run 2\n"))[1:] == [
        "= ok",
        "= set: done ok now=2",
    ]


async def test_the_caller_is_told() -> None:
    """`in` is about the function that called; what kernels inline is passed over."""
    third = "proc C\nmap C r 1\nfill C r 0 7\nmergeable C r\nscan 1\nstep 2\n"
    walk = await answers(f"{third}hold ksmd at memcmp_pages in ksm_do_scan\nbg step 1\nfill C r 0 8\nrelease ksmd\n")
    merge = await answers(f"{third}hold ksmd at memcmp_pages in try_to_merge_one_page\nbg step 1\nrelease ksmd\n")
    assert walk[-3:] == ["= ksmd: held at memcmp_pages", "= ok", "= ksmd: done scanned=1"]
    assert merge[-2:] == ["= ksmd: held at memcmp_pages", "= ksmd: done scanned=1"]
    never = await answers(f"{third}hold ksmd at memcmp_pages in break_ksm\nbg step 1\n")
    assert never[-2:] == ["= ksmd: done scanned=1", "# a hold was not met: ksmd at memcmp_pages"]


@pytest.mark.parametrize(
    ("kernel", "hold", "operation", "reason"),
    [
        ("v6.12", "A at wp.set", "fill A r 0 9", "it holds a spinlock, so it must not sleep"),
        ("v6.1", "ksmd at calc_checksum", "step 3", "the page is mapped atomically there"),
    ],
)
async def test_a_hold_where_sleeping_is_forbidden_is_refused(
    kernel: str, hold: str, operation: str, reason: str
) -> None:
    """The task goes on, the reason is in the log, and at the end it is said that a hold was not met."""
    third = "proc C\nmap C r 1\nfill C r 0 8\nmergeable C r\nscan 1\n"
    lines = await answers(f"{third}hold {hold}\nbg {operation}\nrelease {hold.split(maxsplit=1)[0]}\n", kernel)
    task, _, place = hold.partition(" ")
    assert any(line.startswith(f"# log {task}: not held {place}: {reason}") for line in lines)
    assert lines[-2:] == ["= error not held", f"# a hold was not met: {task} at {place.removeprefix('at ')}"]


async def test_a_task_that_is_at_work_is_busy() -> None:
    """In the background, and for what would have to wait for it."""
    text = "hold set at break_ksm\nbg set run 2\nbg set run 1\nhold A at break_ksm\nbg unmergeable A r\nfill A r 0 1\n"
    lines = await answers(text)
    assert lines[2] == "= error set is busy"
    assert "= error A is busy" in lines[3:]


async def test_what_waits_for_a_held_task_must_be_in_the_background() -> None:
    """It would wait for ever: the line is named, and the remedy."""
    with pytest.raises(ScenarioError, match=r"13: it needs what a held task has .*; start it with: bg fill A r 0 1"):
        await performed("hold migrate at move_to_new_page\nbg migrate A r 0 1\nfill A r 0 1\n")
    with pytest.raises(ScenarioError, match=r"13: ksmd waits: ksm_thread_mutex; start it with: bg step"):
        await performed("hold set at break_ksm\nbg set run 2\nstep 1\n")


async def test_a_signal_ends_what_can_be_interrupted() -> None:
    """run=2 ends with EINTR when it goes on; run stays what it was made by it."""
    lines = await answers("hold set at break_ksm\nbg set run 2\nsignal set\nrelease set\nget run\n")
    assert lines[1:] == [
        "= set: held at break_ksm",
        "= ok",
        "= set: held at break_ksm",
        "= set: done EINTR now=0",
        "= 0",
    ]


async def test_a_scan_in_the_background_ends_as_many_scans_as_it_is_asked_for() -> None:
    """Each is a batch of its own; what they scanned is counted together."""
    assert (await answers("bg scan 3\ncounters\n"))[0] == "= ksmd: done scanned=6"


@pytest.mark.parametrize("seed", range(3))
async def test_a_schedule_around_is_a_function_of_its_seed(seed: int) -> None:
    """Twice the same end, whatever it is."""
    scenario = parse((RACES / "r90_live_node_freed.txt").read_text(), name="r90")
    setting = Setting("v6.12", watchers=("lifetime", "naming"))
    first, second = [await perform(scenario, setting, Around("portfolio", seed)) for _ in range(2)]
    assert first.lines == second.lines
    assert str(first.failure) == str(second.failure)


def test_around_finds_what_the_holds_lead_to(capsys: pytest.CaptureFixture[str]) -> None:
    """H1 among schedules around the window that r90 holds open, with the command that shows it again; r01 has none."""
    file = str(RACES / "r90_live_node_freed.txt")
    assert main(["conform", file, "--kernel", "v6.12", "--around", "4"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("r90_live_node_freed: naming/freed_while_named@free_stable_node in ")
    command = out.splitlines()[1].removeprefix("  again: ksmactors ")
    assert err == "r90_live_node_freed: 4 schedules around it: 1 kind of finding\n"
    assert main(command.split()) == 1
    assert "naming/freed_while_named@free_stable_node in 1 of 1 schedule" in capsys.readouterr().out
    assert (
        main(["conform", str(RACES / "r01_search_second_look_migrated.txt"), "--kernel", "v6.12", "--around", "5"]) == 0
    )
    assert capsys.readouterr().out == ""


def test_around_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same, for programs."""
    file = str(RACES / "r90_live_node_freed.txt")
    assert main(["conform", file, "--kernel", "v6.12", "--around", "4", "--json"]) == 1
    (report,) = orjson.loads(capsys.readouterr().out)["scenarios"]
    assert (report["name"], report["kernel"], report["schedules"]) == ("r90_live_node_freed", "v6.12", 4)
    assert [finding["signature"] for finding in report["findings"]] == ["naming/freed_while_named@free_stable_node"]
    assert 0 < report["findings"][0]["schedules"] <= 4


@pytest.mark.parametrize("option", [["--against", "x"], ["--live"], ["--random", "3"], ["--out", "x"]])
def test_around_compares_nothing(capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    """What is about comparing does not go with it."""
    assert main(["conform", str(RACES / "r90_live_node_freed.txt"), "--around", "1", *option]) == USAGE
    assert "--around compares nothing" in capsys.readouterr().err


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.nightly)])
async def test_everything_around_ends(every: int) -> None:
    """Every recorded interleaving can be stressed around: no schedule is without an end or breaks the emulator. By
    default a quarter of them is, every night all are; as they are, `test_interleavings` performs all."""
    paths = sorted(RACES.glob("*.txt"))
    assert len(paths) > 50
    for path in paths[::every]:
        scenario = parse(path.read_text(), name=path.stem)
        await perform(scenario, Setting("v7.3"), Around("portfolio", 0))


async def test_nothing_of_holds_depends_on_how_often_it_is_done() -> None:
    """A scenario with holds prints the same each time: no order of sets, no addresses."""
    scenario = parse((RACES / "r58_exit_before_break_cow.txt").read_text(), name="r58")
    runs = [(await perform(scenario, Setting("v6.12"))).lines for _ in range(3)]
    assert runs[0]
    assert all(one == other for one, other in pairwise(runs))


async def test_a_chain_without_nodes_does_not_pass_remove_stable_node() -> None:
    """run=2 leaves an emptied chain, which 6.12.117 frees in remove_stable_node_chain; a node of a page that is in use
    comes to remove_stable_node."""
    again = "set run 2\nset max_page_sharing 2\nset run 1\n"
    full = f"{again}proc C\nmap C r 2\nfill C r 0 7\nfill C r 1 7\nmergeable C r\nscan 2\n"
    run = "hold set at remove_stable_node\nbg set run 2\n"
    emptied = await answers(f"{full}trees\n{run}")
    assert any("chain:" in line for line in emptied)
    assert emptied[-2] == "= set: done ok now=2"
    kept = await answers(f"pin A r 0\n{run}release set\n")
    assert "= set: held at remove_stable_node" in kept
