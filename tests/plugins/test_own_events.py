"""Events that plug-ins declare: in the catalogue with their origin, in logs, and held to their declaration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import ksmactors
from ksmactors.cli import main
from ksmactors.errors import EmulatorBug, UsageError
from ksmactors.events import declared
from ksmactors.events.check import validate
from ksmactors.events.declared import DECLARED, PLUGIN_EVENTS, PluginEvent, declare, events_of
from ksmactors.variant import Ksm
from ksmactors.workload import Field, Host, Workload
from tests.plugins.installed import install
from tests.plugins.installed import ksmactors as command

Capsys = pytest.CaptureFixture[str]

ROLLED = PluginEvent(
    "dice.rolled", "A die was rolled.",
    Field("points", "int", "", "what it shows"), Field("by", "str|null", "", "who rolled it"),
    Field("last", "bool", "", "no other follows"), level="warning",
)  # fmt: skip

SOURCE = '''
from ksmactors.variant import Ksm
from ksmactors.workload import Field, Host, PluginEvent, Workload

ROLLED = PluginEvent(
    "dice.rolled", "A die was rolled.",
    Field("points", "int", "", "what it shows"), Field("by", "str|null", "", "who rolled it"),
    Field("last", "bool", "", "no other follows"), level="warning",
)
WOKEN = PluginEvent("dice.woken", "ksmd was woken.")

class Dice(Workload):
    """Rolls a die."""
    events = (ROLLED,)

    async def run(self, host: Host) -> None:
        process = host.process("A")
        await process.mergeable(await process.map(1))
        for n in range(3):
            host.emit(ROLLED, 1 + host.draw("die", 6), None if n else 'the "first" \\u00e9%', n == 2)

class Waking(Ksm):
    """Says when it wakes ksmd."""
    events = (WOKEN,)

    def wake_ksmd(self) -> None:
        self.trace.emit_declared(WOKEN)
        super().wake_ksmd()
'''


class Dice(Workload):
    """Emits what it is given."""

    events = (ROLLED,)
    emitted: tuple[object, ...] = (6, None, True)

    async def run(self, host: Host) -> None:
        host.emit(ROLLED, *self.emitted)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Each test begins without events of plug-ins."""
    for table in (PLUGIN_EVENTS, declared._declared_by):
        table.clear()
    yield
    for table in (PLUGIN_EVENTS, declared._declared_by):
        table.clear()


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file with a workload and a variant that emit events of their own."""
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_logs_have_them_like_ours(mine: Path, tmp_path: Path) -> None:
    """One line each with the keys of every line, the level, and the declared fields, in both ways of rendering."""
    log, list_ = tmp_path / "log.jsonl", ksmactors.EventList()
    with ksmactors.open_log(str(log)) as writer:
        ksmactors.stress(f"{mine}:Dice", seeds=2, with_=[f"{mine}:Waking"], strategy="random", log=writer)
    ksmactors.stress(f"{mine}:Dice", seeds=2, with_=[f"{mine}:Waking"], strategy="random", log=list_)

    lines = [line for line in lines_of(log) if str(line["event"]).startswith("dice.")]
    assert lines == [event for event in list_.events if event["event"].startswith("dice.")]
    assert [line["event"] for line in lines] == ["dice.woken", *["dice.rolled"] * 3] * 2
    rolled = lines[1]
    assert list(rolled)[-4:] == ["level", "points", "by", "last"]
    assert (rolled["level"], rolled["by"], rolled["last"], rolled["actor"]) == (
        "warning",
        'the "first" é%',
        False,
        "host",
    )
    assert set(lines[0]) == set(rolled) - {"points", "by", "last"}


@pytest.mark.slow
def test_they_are_part_of_the_digest(mine: Path) -> None:
    """Two schedules that differ in nothing but these differ; where it is declared changes nothing."""
    source = mine.read_text()
    other = mine.with_name("other.py")
    other.write_text(source.replace("n == 2", "n == 1"))
    same = mine.with_name("same.py")
    same.write_text(source)

    digests = {name: ksmactors.stress(f"{name}:Dice", seeds=2).digest for name in (mine, other, same)}

    assert digests[mine] == digests[same] != digests[other]


@pytest.mark.slow
def test_list_events_has_them_with_their_origin(mine: Path, tmp_path: Path) -> None:
    """Those of installed packages among all, those of a file when it is named; and one that fails takes none down."""
    site = tmp_path / "site"
    install(site, "dice", SOURCE, workloads="dice = Dice", variants="waking = Waking")
    install(site, "broken", "1 / 0", workloads="broken = Broken")

    done = command("list", "events", "--json", site=site, cwd=tmp_path)
    rows = {row["name"]: row for row in json.loads(done.stdout)}

    assert rows["dice.rolled"]["origin"] == rows["dice.woken"]["origin"] == "dice 1.2"
    assert rows["dice.rolled"]["fields"][0] == {"name": "points", "type": "int", "unit": "", "help": "what it shows"}
    assert rows["run.start"]["origin"].startswith("ksmactors ")
    assert "plug-in 'broken' of broken 1.2 (ksmactors.workloads) cannot be loaded: ZeroDivisionError" in done.stderr
    placed = command("list", "events", "mine.py:Waking", "--json", cwd=tmp_path)
    assert [(row["name"], row["origin"]) for row in json.loads(placed.stdout)] == [("dice.woken", "mine.py")]


@pytest.mark.slow
def test_analyze_reads_their_fields(mine: Path, tmp_path: Path) -> None:
    """A log's fields of installed plug-ins are columns; one of another type is no event, as with ours."""
    site = tmp_path / "site"
    install(site, "dice", SOURCE, workloads="dice = Dice")
    command("run", "dice", "--log", "log.jsonl", "--quiet", site=site, cwd=tmp_path)
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + log.read_text().splitlines()[0].replace("}", ',"points":"six"}') + "\n")

    query = (
        "select count(*) as n, bool_or(last) as last, min(points) > 0 as some from events where event = 'dice.rolled'"
    )
    done = command("analyze", "log.jsonl", "--sql", query, "--json", site=site, cwd=tmp_path)

    assert json.loads(done.stdout)["rows"] == [[3, True, True]]
    assert "it has no valid 'points'" in done.stderr


@pytest.mark.slow
def test_a_watcher_listens(mine: Path, tmp_path: Path) -> None:
    """It gets the name and the fields of each."""
    mine.write_text(
        SOURCE
        + '''
from ksmactors.watcher import Machine, Watcher

class NoLast(Watcher):
    """No die is the last."""
    name = "no_last"
    summary = "no die is the last"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        machine.trace.listen_declared(self._happened)

    def _happened(self, event: str, *fields: object) -> None:
        self.always(event != "dice.rolled" or not fields[2], "no die is the last")
'''
    )
    done = ksmactors.stress(f"{mine}:Dice", seeds=1, watch=[f"{mine}:NoLast"])

    assert list(done.found) == ["no_last/no_die_is_the_last@none"]
    (found,) = done.found.values()
    assert "dice.rolled" in found.defect.story[-3]


@pytest.mark.slow
def test_a_replay_stops_at_one(mine: Path, capsys: Capsys) -> None:
    """`replay --until EVENT` knows them by name."""
    mine.write_text(SOURCE.replace("for n in", "host.always(False, 'it ends')\n        for n in", 1).replace(
        "host.always(False, 'it ends')\n", "host.emit(ROLLED, 1, None, False); await host.sleep(1)\n"
        "        host.always(False, 'it ends')\n"))  # fmt: skip
    out = mine.with_name("out")
    assert main(["stress", f"{mine}:Dice", "--seeds", "1", "--out", str(out), "--quiet"]) == 1
    (finding,) = out.glob("*.json")
    capsys.readouterr()

    assert main(["replay", "--trust", str(finding), "--until", "dice.rolled"]) == 0
    assert "dice.rolled" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("emitted", "why"),
    [
        ((6, None), r"event dice\.rolled has 3 fields \(points, by, last\), not 2"),
        (("6", None, True), "field points is int, not '6'"),
        ((True, None, True), "field points is int, not True"),
        ((6, 3, True), r"field by is str\|null, not 3"),
        ((6, None, 1), "field last is bool, not 1"),
        ((1 << 63, None, True), "field points is beyond 64 bits"),
        ((6, "\ud800", True), "field by is no text of UTF-8"),
    ],
)
def test_an_event_is_held_to_its_declaration(emitted: tuple[object, ...], why: str) -> None:
    """A wrong field is an error of the workload, with its line."""

    class Wrong(Dice):
        """Emits what is not declared."""

    Wrong.emitted = emitted
    tally = ksmactors.stress(Wrong, seeds=1)

    assert tally.crash is not None
    assert "test_own_events.py" in tally.crash.defect.message
    with pytest.raises(AssertionError):
        assert tally.verdict == "sampled"
    with pytest.raises(ValueError, match=why):
        declared.checked(ROLLED, emitted)


def test_an_event_that_no_class_lists() -> None:
    """It must stand in `events`, where `list events` sees it."""

    class Undeclared(Workload):
        """Lists no event."""

        async def run(self, host: Host) -> None:
            host.emit(ROLLED, 6, None, True)

    tally = ksmactors.stress(Undeclared, seeds=1)

    assert tally.crash is not None
    assert "event dice.rolled is not declared: list it in the attribute `events`" in tally.crash.defect.message


INT = Field("n", "int", "", "a number")


@pytest.mark.parametrize(
    ("name", "fields", "why"),
    [
        ("rolled", (), "a name is words joined by dots"),
        ("Dice.rolled", (), "a name is words joined by dots"),
        ("race.rolled", (), "names that begin with race. are those of ksmactors"),
        ("mmap.rolled", (), "names that begin with mmap. are those of ksmactors"),
        ("dice.rolled", (INT, INT), "no field of its own can be called 'n'"),
        ("dice.rolled", (Field("actor", "str", "", ""),), "no field of its own can be called 'actor'"),
        ("dice.rolled", (Field("N", "int", "", ""),), "no field of its own can be called 'N'"),
        ("dice.rolled", (Field("n", "float", "", ""),), "field n is of a type 'float'; there are: int, str, bool"),
        ("dice.rolled", (Field("kpfn", "str", "", ""),), "field kpfn is int in the events of ksmactors"),
        ("dice.rolled", ("n",), "its fields are Field"),
    ],
)
def test_a_declaration_that_will_not_do(name: str, fields: tuple[Field, ...], why: str) -> None:
    """It is refused where it is written, in one line."""
    with pytest.raises(UsageError, match=f"event '{name}': {why}"):
        PluginEvent(name, "Something happened.", *fields)


def test_a_level_that_is_none() -> None:
    """The levels are those of logs."""
    with pytest.raises(UsageError, match="its level is one of debug, info, warning, error, not 'loud'"):
        PluginEvent("dice.rolled", "A die was rolled.", level="loud")


def test_two_declarations_of_one_name() -> None:
    """The same one twice is one; another one is refused, and names both classes."""

    class Again(Workload):
        """Declares the same."""

        events = (PluginEvent(ROLLED.name, ROLLED.summary, *ROLLED.fields, level=ROLLED.level),)

    class Other(Workload):
        """Declares another event of the same name."""

        events = (PluginEvent("dice.rolled", "Something else."),)

    declare(Dice, "workload dice")
    declare(Again, "workload again")
    with pytest.raises(UsageError, match=r"other declares the event dice\.rolled, which workload dice declares"):
        declare(Other, "workload other")


def test_one_field_of_two_types() -> None:
    """A table has one column for each field."""

    class Other(Workload):
        """Has points that are a text."""

        events = (PluginEvent("cards.dealt", "A card.", Field("points", "str", "", "")),)

    declare(Dice, "workload dice")
    with pytest.raises(UsageError, match=r"field points of event cards\.dealt is str, and int in dice\.rolled of"):
        declare(Other, "workload other")
    assert "cards.dealt" not in PLUGIN_EVENTS


def test_events_is_a_tuple_of_events() -> None:
    """What else stands there is refused."""

    class Odd(Ksm):
        """Lists a text."""

        events = ("dice.rolled",)

    with pytest.raises(UsageError, match=r"Odd\.events must be a tuple of PluginEvent"):
        events_of(Odd)


@pytest.mark.parametrize("values", [(), ("dice.gone",), ("dice.rolled", 6)])
def test_records_are_validated(values: tuple[object, ...]) -> None:
    """The check of records for tests knows declared events."""
    declare(Dice, "workload dice")
    validate((DECLARED, 1, 2, 0, "dice.rolled", 6, None, True))
    with pytest.raises(EmulatorBug):
        validate((DECLARED, 1, 2, 0, *values))
