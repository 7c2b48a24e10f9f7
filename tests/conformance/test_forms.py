"""The forms of results, on small scenarios of our own: what no recording decides, and the one point each is about."""

from __future__ import annotations

import pytest

from ksmactors.conformance.emulator import Setting, Transcript, perform
from ksmactors.conformance.language import parse
from ksmactors.errors import ScenarioError, UsageError

PAIR = """\
proc A
proc B
map A r 2
map B r 2
fillrange A r 0 2 5
fillrange B r 0 2 5
mergeable A r
mergeable B r
"""


async def performed(text: str, setting: Setting | None = None) -> Transcript:
    return await perform(parse(text, name="small"), setting or Setting("v3.9"))


async def results(text: str, setting: Setting | None = None) -> list[str]:
    """What the last operation of a scenario printed."""
    lines = (await performed(text, setting)).lines
    last = max(index for index, line in enumerate(lines) if line.startswith("> "))
    return list(lines[last + 1 :])


async def test_results_start_with_what_was_run_where() -> None:
    """Name, kernel, nodes and the counters at the start; then the script with its comments."""
    performance = await performed("# why\nproc A\n", Setting("v3.9", 3))
    assert performance.lines == (
        "# scenario small",
        "# kernel ksmactors v3.9",
        "# nodes 3",
        "# start shared=0 sharing=0 unshared=0 volatile=0 full_scans=0 scanned=0",
        "# why",
        "> proc A",
        "= ok",
    )


@pytest.mark.parametrize(
    ("text", "result"),
    [("requires nodes 2", "= ok"), ("requires nodes 3", "= skip: no 3 nodes here"), ("requires knob run", "= ok"),
     ("requires knob smart_scan", "= skip: no smart_scan here"), ("requires swap", "= ok")],
)  # fmt: skip
async def test_requirements_end_the_scenario_if_unmet(text: str, result: str) -> None:
    """After a skip nothing follows."""
    lines = (await performed(f"{text}\nproc A\n")).lines
    assert lines[5] == result
    assert ("skip" in result) == (len(lines) == 6)


async def test_what_is_swapped_out_is_listed_last() -> None:
    """A swapped-out page is in a group of its own, without a node; reading brings it back to the region's node."""
    text = f"{PAIR}map A z 1\nreclaim 1G\nread A r 0 1\nframes\n"
    assert await results(text) == [
        "= frames", "=   alone n=1 node=0: A.r.0", "=   none n=1: A.z.0", "=   swap n=3: A.r.1 B.r.0-1",
    ]  # fmt: skip
    assert await results(f"{PAIR}reclaim 1G\nshared A r 0\nwhere A r 0\n") == ["= -ENOENT"]


async def test_reclaim_takes_the_bytes_it_is_asked_for() -> None:
    """Eight times 4 KiB of eight pages on the machine are all of them; half a page is none."""
    assert await results(f"{PAIR}reclaim 8192\nframes\n") == ["= frames", "=   swap n=4: A.r.0-1 B.r.0-1"]
    assert (await results(f"{PAIR}reclaim 2K\nframes\n"))[1:] == ["=   alone n=4 node=0: A.r.0-1 B.r.0-1"]


async def test_the_node_that_holds_the_kernel_cannot_go_offline() -> None:
    """Node 0 stays; another goes, its new pages come from elsewhere, and after online from it again."""
    assert await results(f"{PAIR}offline A r 0\n") == ["= EBUSY"]
    text = "proc A\nmap A r 2 node 1\nfill A r 0 1\noffline A r 0\nfill A r 1 1\nframes\n"
    assert await results(text) == ["= frames", "=   alone n=2 node=0: A.r.0-1"]
    assert await results(f"{text}online\nmap A s 1 node 1\nfill A s 0 1\nwhere A s 0\n") == ["= node 1"]


async def test_check_counts_the_pages_that_differ() -> None:
    """A page with another content, and one never touched (zeros), are bad; equal ones are not."""
    start = "proc A\nmap A r 3\nfillseq A r 0 2 7\n"
    assert await results(f"{start}checkseq A r 0 2 7") == ["= ok"]
    assert await results(f"{start}checkrange A r 0 3 7") == ["= BAD 2"]
    assert await results(f"{start}check A r 2 0") == ["= ok"]


async def test_frames_lists_shared_groups_first_then_lone_pages_by_node() -> None:
    """ksm and anon groups by first page, alone by node, then zero and none; processes by creation, not by name."""
    text = """\
proc Z
map Z z 1 node 1
map Z y 3
fill Z z 0 1
fill Z y 0 2
read Z y 1 2
proc A
map A r 2
fillrange A r 0 2 3
mergeable A r
set run 1
scan 2
fork A B
frames
"""
    assert await results(text) == [
        "= frames",
        "=   ksm n=4 node=0: A.r.0-1 B.r.0-1",
        "=   alone n=1 node=0: Z.y.0",
        "=   alone n=1 node=1: Z.z.0",
        "=   zero n=1: Z.y.1",
        "=   none n=1: Z.y.2",
    ]


async def test_a_page_shared_by_fork_is_anon() -> None:
    """An ordinary frame that is mapped twice is no KSM page, and is told from one that is mapped once."""
    text = "proc A\nmap A r 2\nfillseq A r 0 2 1\nfork A B\nfill B r 1 9\nframes"
    assert await results(text) == ["= frames", "=   anon n=2 node=0: A.r.0 B.r.0", "=   alone n=2 node=0: A.r.1 B.r.1"]


async def test_trees_show_scan_order_cursor_and_names_of_the_dead() -> None:
    """The operation lists processes and cursor first; an exited process keeps its names with a `!`."""
    text = f"{PAIR}set run 1\nscan 2\nstep 1\nexit B\ntrees\n"
    assert await results(text) == [
        "= trees",
        "=     processes A B!",
        "=     cursor A.r.1",
        "=     stable.0 node=0 len=4: B!.r.1 B!.r.0 A.r.1 A.r.0",
    ]


async def test_nothing_registered_leaves_no_trailing_blank() -> None:
    """A list that is empty ends its line with its name."""
    assert await results("trees\n") == ["= trees", "=     processes", "=     cursor start"]


async def test_a_trace_prints_frames_and_trees_only_when_they_change() -> None:
    """What t1 shows is compared with the state at the start of the command."""
    lines = await results(f"{PAIR}set run 1\nscan 2\ntrace 3 frames trees\n")
    assert [line.split(" ")[1] for line in lines] == ["t1", "t2", "t3"]
    lines = await results(f"{PAIR}set run 1\nscan 2\nfill A r 0 6\ntrace 1 frames trees\n")
    assert lines == [
        "= t1 shared=1 sharing=2 unshared=0 volatile=1 full_scans=2 scanned=9",
        "=     stable.0 node=0 len=3: B.r.1 B.r.0 A.r.1",
    ]


async def test_a_step_while_ksmd_waits_for_work_is_idle() -> None:
    """Before anything is registered, ksmd cannot be woken; a trace ends there whatever its length."""
    assert await results("set run 1\nstep 5\n") == ["= step asked=5 full_scans=+0 scanned=0 idle"]
    counters = "shared=0 sharing=0 unshared=0 volatile=0 full_scans=0 scanned=0"
    assert await results("set run 1\ntrace 4\n") == [f"= t1 {counters} idle"]
    assert await results("set run 1\nscan 3\n") == ["= scan full_scans=+0 scanned=0 idle"]


async def test_a_step_after_run_0_finds_ksmd_in_its_timed_sleep_once() -> None:
    """It wakes up, sees that it should not run, and then waits for work."""
    start = f"{PAIR}set run 1\nstep 1\nset run 0\n"
    assert await results(f"{start}step 1\n") == ["= step asked=1 full_scans=+0 scanned=0"]
    assert await results(f"{start}step 1\nstep 1\n") == ["= step asked=1 full_scans=+0 scanned=0 idle"]


async def test_an_hour_of_sleep_scans_nothing() -> None:
    """pages_to_scan is 0 between two steps, also when ksmd's own sleep ends."""
    assert await results(f"{PAIR}set run 1\nsleep 10000000\ncounters\n") == [
        "= counters shared=0 sharing=0 unshared=0 volatile=0 full_scans=0 scanned=0"
    ]


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ("set pages_to_scan 7", "= ok now=7"),
        ("set sleep_millisecs x", "= EINVAL now=3600000"),
        ("set pages_shared 1", "= EACCES now=0"),
        ("set smart_scan 1", "= absent"),
        ("get run", "= 0"),
        ("get max_page_sharing", "= absent"),
        ("procstat A", "="),
        ("ktrace", "= absent"),
        ("drain off", "= ok"),
        ("sleep 5", "= ok"),
        ("where A r 0", "= node 0"),
        ("where A s 0", "= -ENOENT"),
        ("migrate A r 0 1", "= ret=0 status=1"),
        ("migrate A s 0 1", "= ret=0 status=-ENOENT"),
        ("shared A r 1", "= alone n=1 node=0: A.r.1"),
        ("shared A s 0", "= none n=1: A.s.0"),
        ("read A s 0 1", "= ok"),
        ("munmap A r 0 1", "= ok"),
        ("mremap A r t", "= ok"),
    ],
)  # fmt: skip
async def test_one_result_line(operation: str, result: str) -> None:
    """Each operation says in one line what came of it."""
    assert await results(f"{PAIR}map A s 1\n{operation}\n") == [result]


async def test_access_to_what_was_unmapped_is_an_error() -> None:
    """The script goes on: an errno is a result."""
    start = f"{PAIR}munmap A r 1 2\n"
    assert await results(f"{start}fill A r 1 5") == ["= error EFAULT"]
    assert await results(f"{start}check A r 1 5") == ["= error EFAULT"]
    assert await results(f"{start}read A r 0 2") == ["= error EFAULT"]
    assert await results(f"{start}mergeable A r") == ["= error ENOMEM"]


async def test_a_node_that_is_not_there_is_named_with_its_line() -> None:
    """The parser cannot know the machine; the performer says the line."""
    with pytest.raises(ScenarioError, match=r"^scenario:2: there is no node 2; the machine has 2 \(--nodes\)"):
        await performed("proc A\nmap A r 1 node 2\n")


async def test_an_unknown_kernel_is_a_usage_error() -> None:
    """Before anything runs."""
    with pytest.raises(UsageError, match="v3\\.9"):
        await performed("proc A\n", Setting("v9.9"))


async def test_two_performances_are_equal() -> None:
    """The same scenario on the same setting gives the same lines, in one trio run."""
    text = f"{PAIR}set run 1\ntracescan 3 frames trees\n"
    assert (await performed(text)).lines == (await performed(text)).lines
