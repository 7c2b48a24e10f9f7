"""Random scenarios: what they are made of, what they must answer, and how those that differ are kept."""

from __future__ import annotations

import re
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import orjson
import pytest

from ksmactors.cli import conform_sides, main
from ksmactors.conformance.compare import ScenarioComparison, Side, compare
from ksmactors.conformance.contents import ExpectedContents, wrong_checks
from ksmactors.conformance.emulator import Setting, Transcript, perform
from ksmactors.conformance.fuzz import Hunt
from ksmactors.conformance.generate import generate
from ksmactors.conformance.language import Scenario, parse, read_scenario
from ksmactors.conformance.shrink import shrink
from ksmactors.errors import Finding


def text(scenario: Scenario) -> str:
    return "\n".join(operation.text for operation in scenario.operations)


# -- what they are made of --------------------------------------------------------------------------------------------


def test_a_scenario_depends_on_its_seed_number_and_nodes() -> None:
    """Nothing else: the same ones come on every machine and every Python."""
    assert text(generate(3, 5, nodes=2)) == text(generate(3, 5, nodes=2))
    others = [generate(3, 6, nodes=2), generate(4, 5, nodes=2), generate(3, 5, nodes=1)]
    others.append(generate(3, 5, nodes=2, swap=False))
    assert text(generate(3, 5, nodes=2)) not in [text(other) for other in others]
    assert blake2b(text(generate(0, 0, nodes=2)).encode(), digest_size=8).hexdigest() == "a0e9b6c7253d5fe3"


def test_one_node_asks_for_nothing_that_takes_two() -> None:
    """And two nodes are asked for where they are used, so that one node skips them."""
    for number in range(30):
        one, two = generate(0, number, nodes=1), generate(0, number, nodes=2)
        assert not any(word in text(one) for word in (" node ", "migrate", "requires"))
        assert text(two).startswith("requires nodes 2\n")


def test_the_mix_has_everything() -> None:
    """What the recorded random scenarios have, in all hundreds of them, and what they lack beside it."""
    counted: Counter[str] = Counter()
    for number in range(100):
        counted.update(operation.name for operation in generate(1, number, nodes=2).operations)
    recorded = {"requires", "fork", "tracescan", "trees", "exit", "dontneed", "munmap", "unmergeable", "step", "frames",
                "set", "proc", "scan", "migrate", "map", "mergeable", "counters", "trace", "fill"}  # fmt: skip
    added = {"read", "mremap", "migrate1", "procstat", "check", "mlock", "munlock", "prctl", "pin", "unpin",
             "process_vm_readv", "free", "swapout", "exec"}  # fmt: skip
    assert set(counted) == recorded | added
    assert min(counted.values()) >= 10


# -- what they must answer --------------------------------------------------------------------------------------------

STORY = """\
proc A
map A r 4
fillseq A r 0 3 5
fork A B
fill A r 0 9
exit A
dontneed B r 1 2
check B r 0 5
check B r 1 0
check B r 1 6
mremap B r s
munmap B s 2 3
checkrange B s 2 4 0
mremap B s t
"""


def test_contents_follow_the_script() -> None:
    """A fork keeps what its parent had, dropped pages are zeros, mremap takes contents along, unless it fails."""
    contents = ExpectedContents()
    answers = []
    for operation in parse(STORY).operations:
        if operation.name.startswith("check"):
            answers.append(contents.answer(operation))
        contents.apply(operation)
    assert answers == ["ok", "ok", "BAD 1", "error EFAULT"]
    assert contents.processes == {"B": {"s": [5, -2, -1, -2]}}


async def test_the_emulator_answers_what_the_script_says() -> None:
    """Both see the same contents; a line that says otherwise is named."""
    scenario = parse(STORY)
    performance = await perform(scenario, Setting("v3.9", 1))
    assert wrong_checks(scenario, performance.lines) == []
    lines = ["= BAD 3" if line == "= BAD 1" else line for line in performance.lines]
    assert wrong_checks(scenario, lines) == ["line 10: check B r 1 6: 'BAD 3', must be 'BAD 1'"]


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["v3.9", "series"])
async def test_both_roads_are_one(kernel: str) -> None:
    """Trees searched by index and entry by entry: the same lines, and nobody reads what he did not write."""
    index = Side("index", lambda scenario: perform(scenario, Setting(kernel)))
    walking = Side("walking", lambda scenario: perform(scenario, Setting(kernel, walking=True)))
    for number in range(5):
        comparison = await compare(generate(2, number, nodes=2), index, walking, checked=True)
        assert (comparison.verdict, comparison.diff, comparison.wrong) == ("same", (), ())


# -- how they are kept ------------------------------------------------------------------------------------------------


async def test_shrinking_leaves_what_it_takes() -> None:
    """Whole processes, blocks, lines and counts go; what is left is the least of which the same holds."""

    async def holds(scenario: Scenario) -> bool:
        names = [operation.name for operation in scenario.operations]
        return "fork" in names and any(o.name == "trace" and o.number >= 3 for o in scenario.operations)

    holding = [whole for whole in (generate(0, number, nodes=1) for number in range(20)) if await holds(whole)]
    short = await shrink(holding[0], holds)
    assert sorted(operation.name for operation in short.operations) == ["fork", "proc", "trace"]
    assert "trace 3" in text(short)
    assert len(text(short)) == len("proc A\nfork A B\ntrace 3")


async def test_shrinking_stops_when_it_was_tried_often_enough() -> None:
    """What it has by then still holds."""
    asked = 0

    async def holds(scenario: Scenario) -> bool:
        nonlocal asked
        asked += 1
        return "fill" in text(scenario)

    short = await shrink(generate(0, 0, nodes=1), holds, tries=7)
    assert asked == 7
    assert "fill" in text(short)


def differs_after(name: str) -> Side:
    """A side that has every counter wrong once an operation of that name has been performed."""

    async def wrong(scenario: Scenario) -> Transcript:
        performance = await perform(scenario, Setting("v3.9", 1))
        lines, seen = [], False
        for line in performance.lines:
            seen = seen or line.startswith(f"> {name} ")
            lines.append(line.replace("shared=", "shared=1") if seen else line)
        return Transcript(scenario, tuple(lines))

    return Side("wrong", wrong)


def hunt(out: Path, performed: Side) -> Hunt:
    right = Side("right", lambda scenario: perform(scenario, Setting("v3.9", 1)))
    return Hunt(right, performed, 1, 1, out, ("right", "wrong"))


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def found_by(hunt: Hunt) -> ScenarioComparison:
    return next(one for one in [one async for one in hunt.run(6)] if one.found)


@pytest.mark.slow
async def test_what_differs_is_shrunk_and_kept_with_both_outputs(tmp_path: Path) -> None:
    """The files can be performed again: the scenario, the whole of it, and what each side said."""
    subject = hunt(tmp_path, differs_after("exit"))
    comparison = await found_by(subject)
    kept = await subject.keep(comparison)
    name = comparison.scenario.name
    assert kept.again
    assert names_in(tmp_path) == [f"{name}.right.out", f"{name}.txt", f"{name}.whole.txt", f"{name}.wrong.out"]
    assert re.fullmatch(r"proc (.)\nexit \1\n(counters|trace 1)", text(read_scenario(kept.file)))
    assert text(read_scenario(tmp_path / f"{name}.whole.txt")) == text(comparison.scenario)
    assert tuple((tmp_path / f"{name}.wrong.out").read_text().splitlines()) == kept.comparison.performed.lines
    second = await subject.keep(comparison)
    assert second.file.name == f"{name}-again2.txt"


@pytest.mark.slow
async def test_what_does_not_show_again_is_kept_as_it_was(tmp_path: Path) -> None:
    """On a real kernel something may happen once: it is reported, and not shrunk to something else."""
    right = hunt(tmp_path, differs_after("exit")).expected
    subject = hunt(tmp_path, differs_after("exit"))
    comparison = await found_by(subject)
    kept = await hunt(tmp_path, right).keep(comparison)
    assert not kept.again
    assert text(read_scenario(kept.file)) == text(comparison.scenario)
    assert kept.comparison.diff == comparison.diff


async def test_a_live_kernel_has_a_second_try() -> None:
    """What differs once and then agrees is agreement, with a note about the odd line; twice is a difference."""
    scenario = parse("proc A\ncounters\n")
    said = ["= counters shared=1", "= counters shared=2", "= counters shared=1", "= counters shared=1"]

    async def unsteady(scenario: Scenario) -> Transcript:
        return Transcript(scenario, ("> proc A", "= ok", "> counters", said.pop()))

    async def steady(scenario: Scenario) -> Transcript:
        return Transcript(scenario, ("> proc A", "= ok", "> counters", "= counters shared=2"))

    live, emulated = Side("live", unsteady, live=True), Side("emulated", steady)
    assert (await compare(scenario, live, emulated)).verdict == "different"
    said.append("= counters shared=1")
    agreed = await compare(scenario, live, emulated)
    assert (agreed.verdict, agreed.diff, said) == ("same", (), ["= counters shared=1"])
    odd = "'-= counters shared=1'"
    assert agreed.note == f"was run twice: it differed once, beginning with {odd}, and then did not"


async def test_a_crash_keeps_its_scenario(tmp_path: Path) -> None:
    """The file is named with the traceback."""

    async def crash(scenario: Scenario) -> Transcript:
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError) as caught:
        await hunt(tmp_path, Side("crash", crash)).compare(generate(0, 0, nodes=1))
    assert caught.value.__notes__ == [f"in the scenario {tmp_path / 'random-0-0.txt'}"]
    assert text(read_scenario(tmp_path / "random-0-0.txt")) == text(generate(0, 0, nodes=1))


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_random_scenarios_from_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Agreement is silent but for the summary; JSON has a verdict for each."""
    assert main(["conform", "--random", "2", "--seed", "7", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("", "2 scenarios: 2 same\n")
    assert main(["conform", "--random", "2", "--seed", "7", "--out", str(tmp_path), "--json"]) == 0
    report = orjson.loads(capsys.readouterr().out)
    assert [(one["name"], one["verdict"], one["file"]) for one in report["scenarios"]] == [
        ("random-7-0", "same", None), ("random-7-1", "same", None),
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_how_far_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line a minute, here after each scenario, unless --quiet is given."""
    monkeypatch.setattr("ksmactors.cli.conform.LINE_SECONDS", 0.0)
    line = ["conform", "--random", "2", "--seed", "7", "--out", str(tmp_path)]
    assert main(line) == 0
    assert capsys.readouterr().err == "ksmactors: 1 of 2 scenarios: 1 same\n2 scenarios: 2 same\n"
    assert main([*line, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["difference", "finding"])
def test_a_difference_is_reported_with_its_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Status 1, the diff on standard output, and on standard error where it is and how long."""

    async def wrong(scenario: Scenario, setting: Setting) -> Transcript:
        if setting.walking and kind == "finding":
            return Transcript(scenario, (), failure=Finding("deadlock", "deadlock", "f", "no actor can run"))
        return Transcript(scenario, ("> proc A", "= ok" if setting.walking else "= no"))

    monkeypatch.setattr(conform_sides, "perform", wrong)
    assert main(["conform", "--random", "1", "--out", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    file = tmp_path / "random-0-0.txt"
    assert f"random-0-0: {file} (1 of " in err
    assert err.endswith(f"1 scenario: 1 {'failed' if kind == 'finding' else 'different'}\n")
    assert ("-= no\n+= ok\n" in out) == (kind == "difference")
    assert file.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "no scenario to perform"),
        (["--seed", "1", "x.txt"], "--seed is for random scenarios and schedules"),
        (["--out", "d", "x.txt"], "--out is for random scenarios"),
        (["--random", "2", "x.txt"], "leave x.txt out"),
        (["--random", "2", "--against", "d"], "leave --against out"),
        (["--live", "--nodes", "2", "x.txt"], "leave --nodes out"),
        (["--live", "--against", "d", "--kernel", "v3.9", "x.txt"], "leave --kernel, --without and --with out"),
        (["--random", "2", "--out", "/proc/none"], "--out /proc/none: cannot be created"),
    ],
)
def test_what_does_not_go_together_is_refused(
    capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    """One line that says what to leave out, before anything is run."""
    assert main(["conform", *args]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
