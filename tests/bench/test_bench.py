"""The harness of the benchmarks works; no figure is judged here."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import pytest

from tests.bench import __main__ as bench
from tests.bench import costs, figures
from tests.bench.baseline import CURRENT, NoBaseline, unpacked
from tests.bench.figures import Figure, NotMeasured, Session
from tests.bench.measure import command_cost
from tests.bench.peers import installed
from tests.bench.sampling import flame_graph, from_function, sampled, shares


def _figure(name: str, rounds: Sequence[float], *, at_most: bool = False) -> Figure:
    return Figure(name, "times", 1.5, 2, lambda _: rounds, at_most)


def _unknown(session: Session) -> Sequence[float]:
    raise NotMeasured("needs a machine of its own")


def test_a_row_has_the_median_the_spread_and_both_limits() -> None:
    """The value is the median of the rounds, the noise their spread relative to it."""
    row = figures.Figure("f", "times", 1.5, 2, lambda _: [1.0, 1.6, 2.4]).row(Session(figures.QUICK))
    assert (row["value"], row["noise"], row["rounds"]) == (1.6, 0.875, 3)
    assert (row["least"], row["goal"], row["least_met"], row["goal_met"]) == (1.5, 2, True, False)


@pytest.mark.parametrize(("rounds", "at_most", "status"), [((1.5,), False, 0), ((1.4,), False, 1), ((1.4,), True, 0),
                                                          ((1.6,), True, 1)])  # fmt: skip
def test_a_missed_least_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rounds: Sequence[float], at_most: bool,
    status: int,
) -> None:  # fmt: skip
    """`python -m tests.bench --json` prints each figure, and ends with 1 if one misses its least."""
    monkeypatch.setattr(figures, "TABLE", (_figure("f", rounds, at_most=at_most),))
    assert bench.main(["--json"]) == status
    out, err = capsys.readouterr()
    assert json.loads(out)["f"]["least_met"] is (status == 0)
    assert ("f: misses the least" in err) == (status == 1)


def test_what_cannot_be_measured_is_shown_and_is_no_miss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a figure has no value but a reason, in the JSON and in the table."""
    monkeypatch.setattr(figures, "TABLE", (_figure("f", [2.0]), Figure("g", "times", 1, 2, _unknown)))
    assert bench.main(["--json"]) == 0
    row = json.loads(capsys.readouterr().out)["g"]
    assert (row["value"], row["not_measured"]) == (None, "needs a machine of its own")
    assert bench.main([]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table] == ["figure", "f", "g"]
    assert table[2].endswith("needs a machine of its own")


def test_names_choose_figures_and_cases(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A name is a figure or a case; another one is refused with those there are."""
    monkeypatch.setattr(figures, "TABLE", (_figure("f", [2.0]), _figure("g", [1.0])))
    monkeypatch.setattr(bench, "cases", lambda: {"c": lambda: {"seconds": 1}})
    assert bench.main(["f", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["f"]
    assert bench.main(["c"]) == 0
    assert json.loads(capsys.readouterr().out) == {"c": {"seconds": 1}}
    assert bench.main(["h"]) == 2
    assert "there are: c, f, g" in capsys.readouterr().err


def test_all_cases_are_found() -> None:
    """Each module of the folder can be imported, and its cases have names of their own."""
    assert {"watchers", "ksmd_alone", "peers", "analysis", "point", "jobs"} <= bench.cases().keys()


@pytest.mark.slow
def test_both_trees_run_the_same_command() -> None:
    """The older tree is unpacked with entry points of its own, and a campaign runs in both."""
    line = ["stress", "classic.lost", "--seeds", "2", "--json", "--quiet", "--watch", "none"]
    assert CURRENT.probe([*line, "--jobs", "1"], [*line, "--jobs", "1"])["schedules"] == 2
    try:
        with unpacked() as old:
            names = old.names("watchers")
            assert old.probe(line, line)["schedules"] == 2
    except NoBaseline as error:
        pytest.skip(str(error))
    assert "economy" in names
    assert "wasted_work" in CURRENT.names("watchers")


def test_a_tree_without_the_commit_has_no_baseline() -> None:
    """It is said, not raised as an error of the harness."""
    with pytest.raises(NoBaseline, match="git archive"), unpacked("no-such-commit"):
        pass


def test_a_command_costs_time_and_memory() -> None:
    """Both are of the process, and one that fails is an error."""
    cost = command_cost([sys.executable, "-c", "pass"])
    assert cost.cpu > 0
    assert cost.mib > 1
    with pytest.raises(RuntimeError, match="ended with 3"):
        command_cost([sys.executable, "-c", "raise SystemExit(3)"])


def test_peers_are_asked_of_their_interpreter() -> None:
    """Whether there are any is no matter: the question is answered."""
    assert set(installed()) <= set(bench.import_module("tests.bench.peers").PEERS)


def test_each_peer_is_measured_beside_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of which the clock changes: all run at full speed first, then at a third of it. No ratio changes; and
    a peer of less than half the rate of the fastest of its kind is measured once."""
    rates = {"ksmactors random": 6.0, "simloop": 3.0, "simloom": 2.0, "frontrun random": 1.0, "seedloop": 12.0}
    measured: list[str] = []

    def rates_of(names: Sequence[str], seconds: float) -> dict[str, dict[str, float]]:
        measured.extend(names)
        clock = 1 if len(measured) <= 4 else 3
        return {name: dict.fromkeys(("lost", "twostage"), rates[name] / clock) for name in names}

    monkeypatch.setattr("tests.bench.peers.installed", lambda: list(rates)[1:])
    monkeypatch.setattr("tests.bench.peers.rates_of", rates_of)
    session = Session(figures.QUICK)
    table = {row.name: row for row in figures.TABLE}

    assert table["classic models, the least of them"].measure(session) == [2.0] * 3
    assert table["classic models, mean"].measure(session) == [0.5] * 3
    assert [measured.count(name) for name in rates] == [4 + 3 + 3, 3, 3, 1, 3]


def test_a_flame_graph_has_each_function_as_wide_as_its_share() -> None:
    """Neighbouring stacks share a box; what is below the smallest share is left out."""
    stacks = {("m:a", "m:b"): 600, ("m:a", "m:<c>"): 399, ("m:d",): 1}
    drawn = flame_graph(stacks, "title & more", lambda _: "#fff")
    assert "m:a 99.9%" in drawn
    assert "m:b 60.0%" in drawn
    assert "m:&lt;c&gt; 39.9%" in drawn
    assert "m:d" not in drawn
    assert "title &amp; more" in drawn


def test_stacks_are_sampled_by_cpu_time() -> None:
    """Work that takes long is seen, with the function that does it innermost."""

    def busy() -> int:
        return sum(number % 7 for number in range(2_000_000))

    with sampled() as seen:
        busy()
    assert sum(from_function(seen, "busy").values()) > 0
    assert dict(shares(from_function(seen, "busy"), lambda stack: stack[0].rpartition(".")[2])) == {"busy": 1.0}


def test_a_table_of_the_page_is_replaced_by_its_first_line() -> None:
    """The other tables and the text stay; a table that the page lacks is an error."""
    made = costs.table(["a", "b"], [["1", "2"]])
    assert costs.replaced("text\n\n| a | b |\n| old |\n\n| c |\n", made) == f"text\n\n{made}\n\n| c |\n"
    with pytest.raises(ValueError, match="d"):
        costs.replaced("text\n", costs.table(["d"], []))


def test_the_page_has_the_place_of_each_table() -> None:
    """Each table that the script writes is in the page once."""
    lines = costs.PAGE.read_text().splitlines()
    for start in ("| part of a step |", "| operation |", "| workload |", "| pages, all different |", "| command |"):
        assert sum(line.startswith(start) for line in lines) == 1
