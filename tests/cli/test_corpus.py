"""`ksmactors corpus`: the known defects as a table, and how soon they are found."""

from __future__ import annotations

import json

import pytest

from ksmactors.campaign import corpus
from ksmactors.campaign.corpus import StrategyResult
from ksmactors.cli import main
from ksmactors.history.case import Case
from ksmactors.history.cases import ALIASES, CASES
from ksmactors.kernels import FORMER_NAMES, KERNELS, VARIANTS, kernel_class
from ksmactors.run.subject import make_subject

Capsys = pytest.CaptureFixture[str]


def test_json_has_a_row_for_each_case(capsys: Capsys) -> None:
    """A row says what is run, what must be found, and whether the directed schedule shows it."""
    assert main(["corpus", "S5e", "S1a", "--json"]) == 0
    control, case = json.loads(capsys.readouterr().out)

    assert (control["case"], control["watcher"], control["directed"]) == ("S1a", None, True)
    assert control["silent_because"] == CASES["S1a"].silent_because
    assert (case["case"], case["signature"]) == ("S5e", "lifetime/null_dereference@stable_tree_append")
    assert case["directed"]
    assert case["strategies"] == {}


def test_a_case_goes_by_its_other_names_too(capsys: Capsys) -> None:
    """A case with two names is found by both, and shown under one."""
    assert main(["corpus", "D4", "R1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["case"] == "R1"
    assert all(other not in CASES and name in CASES for other, name in ALIASES.items())


def test_a_case_that_is_named_tells_its_story(capsys: Capsys) -> None:
    """Below the table: how it comes about, the schedule that shows it, and what to run."""
    assert main(["corpus", "R5"]) == 0
    out = capsys.readouterr().out
    assert "R5: Memory is going offline" in out
    assert "directed: hotplug > end; ksmd > end\n" in out
    assert "run: ksmactors stress litmus.scan_meets_hotplug -p merge_across_nodes=0 --without stop-hotremove" in out


def test_a_confirmed_case_names_the_kernels(capsys: Capsys) -> None:
    """Real kernels that have the defect are told below the table and in JSON; a case that was not tried has none."""
    assert main(["corpus", "H3"]) == 0
    assert "confirmed: on real kernels v6.12, v6.18, v7.3\n" in capsys.readouterr().out
    assert main(["corpus", "H1", "R5", "unshare-on-advice", "lost-while-full", "X8", "--json"]) == 0
    confirmed = {row["case"]: row["confirmed"] for row in json.loads(capsys.readouterr().out)}
    every = ["v6.1", "v6.12", "v6.18", "v7.3"]
    assert confirmed == {
        "R5": [], "H1": every, "unshare-on-advice": every, "lost-while-full": every, "X8": ["v6.18"],
    }  # fmt: skip


def test_what_is_confirmed() -> None:
    """The fourteen defects that were reproduced on kernels that people run; kernels are named as they are emulated."""
    confirmed = {name: case.confirmed for name, case in CASES.items() if case.confirmed}
    assert set(confirmed) == {
        "H1", "H2", "H3", "H4", "H4b", "H5", "H7", "H8", "unshare-on-advice", "lost-while-full", "X8",
        "X2", "X11a", "X11b",
    }  # fmt: skip
    assert all(kernel in KERNELS for kernels in confirmed.values() for kernel in kernels)


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.inject], ids=lambda case: case.name)
def test_what_is_run_is_what_the_command_line_says(case: Case) -> None:
    """The arguments of a case, faults and all, are taken by the command."""
    assert main(["stress", *case.arguments, "--seeds", "1", "--quiet"]) in (0, 1)


def test_a_search_is_counted(capsys: Capsys) -> None:
    """With campaigns, each strategy's median and worst are there; they are what the campaigns needed."""
    arguments = ["corpus", "S5e", "--campaigns", "3", "--budget", "200", "--strategy", "random", "--json", "--quiet"]
    assert main(arguments) == 0
    (row,) = json.loads(capsys.readouterr().out)
    found = row["strategies"]["random"]

    assert len(found["found"]) == 3
    assert found["median"] == sorted(found["found"])[1]
    assert found["worst"] == max(found["found"])


def test_what_was_not_found_is_no_number() -> None:
    """A campaign that ends without the defect counts as worse than any that finds it."""
    search = StrategyResult("random", 50, (7, None, 3))

    assert (search.median, search.worst) == (7, None)
    assert StrategyResult("random", 50, (None, None, 3)).median is None


def test_markdown(capsys: Capsys) -> None:
    """The table can go into a page; what was not searched for has no figures."""
    assert main(["corpus", "S1a", "S5e", "--markdown"]) == 0
    header, line, control, case = capsys.readouterr().out.splitlines()

    assert header == "| case | what goes wrong | watcher | directed |"
    assert set(line) == {"|", " ", "-"}
    assert control.endswith("| (control) | silent |")
    assert case.endswith("| lifetime | shown |")


def test_an_unknown_case(capsys: Capsys) -> None:
    """A case that does not exist is a usage error that names near ones."""
    assert main(["corpus", "S5x"]) == 2
    assert "no case 'S5x' (did you mean S5" in capsys.readouterr().err


def test_a_case_that_shows_nothing_fails(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a directed schedule does not show what it should, the table says so, and so does the exit status."""
    original = corpus.subject_of
    monkeypatch.setattr(corpus, "subject_of", lambda case, **_: original(case, fixed=True))

    assert main(["corpus", "S5e"]) == 1
    assert " NO " in capsys.readouterr().out


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_every_case_tells_its_story(case: Case) -> None:
    """A case has a title of a line, a story, a schedule; a control says why it is none, and nothing else does."""
    assert case.title
    assert len(case.title) < 120
    assert len(case.story) > 60
    assert case.script
    assert bool(case.silent_because) != bool(case.watcher)
    assert bool(case.watcher) == bool(case.kind) == bool(case.where)


def test_former_names_of_cases_and_variants_lead_to_what_they_are_called_now() -> None:
    """What was named after the former numbers of the steps of get_ksm_page is found under both names."""
    assert ALIASES["S5-R5"] == "S5-GK5"
    for former, current in FORMER_NAMES.items():
        assert former not in VARIANTS
        assert current in VARIANTS
        assert make_subject("fork_storm", with_=[former]).with_ == (current,)
        assert kernel_class(with_=[former]) is kernel_class(with_=[current])


def test_a_case_in_another_case(capsys: Capsys) -> None:
    """`h1` is H1."""
    assert main(["corpus", "h1", "--json"]) == 0
    assert '"H1"' in capsys.readouterr().out
