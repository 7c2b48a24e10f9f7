"""The commits of the series: what undoing each of them, or several, or all, makes of the kernel."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from itertools import combinations
from pkgutil import iter_modules

import pytest
import trio

from ksmactors.campaign.corpus import show, signature_of
from ksmactors.conformance.emulator import Setting
from ksmactors.conformance.emulator import perform as perform_scenario
from ksmactors.errors import Finding, UsageError
from ksmactors.history import COMMITS, cases
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES, cases_of
from ksmactors.kernels import KERNELS, VARIANTS, kernel_class
from ksmactors.ksm.kernel import Ksm
from tests.helpers.busy import BUSY
from tests.helpers.directed import Stage, perform

SEEDS = [slug for slug, commit in COMMITS.items() if commit.case.startswith("S")]
SUBSETS = [subset for size in range(len(SEEDS) + 1) for subset in combinations(SEEDS, size)]


def overridden(layer: type[Ksm]) -> set[str]:
    """The functions that a layer overrides."""
    return {name for name, value in vars(layer).items() if callable(value) or isinstance(value, staticmethod)}


class TestWhatThereIs:
    def test_the_commits_are_in_their_order(self) -> None:
        """The six of the series, the two that followed in the same posting, then the six posted afterwards."""
        assert [commit.case for commit in COMMITS.values()] == [
            "S1", "S2", "S3", "S4", "S5", "S6", "R4", "R5", "R3", "R6", "R1", "R2", "D8", "R7",
        ]  # fmt: skip
        assert len(SEEDS) == 6

    @pytest.mark.parametrize("slug", COMMITS)
    def test_each_says_what_it_is(self, slug: str) -> None:
        """A slug in small letters, a subject line of the kernel's, a day, and a story of before and after."""
        commit = COMMITS[slug]
        story = commit.layer.__doc__ or ""

        assert commit.slug == slug
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", slug)
        assert re.match(r"(ksm|mm|mm,ksm): ", commit.subject)
        assert commit.date == ("2013-02-23" if commit.committed else "2013-02-21")
        assert "Before: " in story
        assert "After: " in story
        assert commit.summary

    @pytest.mark.parametrize(
        ("slug", "functions"),
        [
            ("trivial-tidyups", {"add_new_node"}),
            ("reorganize-check-stable-tree", {"check_trees", "_remove_first"}),
            ("get-ksm-page-locked", {"get_ksm_page"}),
            (
                "remove-old-stable-nodes",
                {"remove_all_stable_nodes", "insert_slot", "ksm_page_may_be_mapped", "swap_page_is_unread"},
            ),
            ("ksm-page-migration", {"page_has_moved", "get_when_unfrozen", "second_look", "ksm_migrate_page"}),
            ("merge-across-nodes-migration", {"cmp_and_merge_page", "is_misplaced", "stable_tree_erase"}),
            ("enable-ksm-page-migration", {"__init__", "page_to_move", "migrate_away", "move_locked"}),
            ("stop-hotremove-lockdep-warning", {"__init__", "ksm_memory_callback"}),
            ("treat-unstable-nid", {"visit_unstable_entry"}),
            ("shrink-rmap-item", {"new_rmap_item", "take_anon_vma", "try_to_merge_with_ksm_page"}),
            ("foll-migration", {"page_to_break"}),
            ("swapoff-might-need-to-copy", {"page_to_unuse"}),
            ("cleanup-swapcache", set()),
            ("allocate-roots", {"__init__", "set_merge_across_nodes"}),
        ],
    )
    def test_a_layer_overrides_what_its_commit_changed(self, slug: str, functions: set[str]) -> None:
        """Just the functions, or the parts of them, that the commit changed; each is one that the kernel has."""
        layer = COMMITS[slug].layer

        assert layer.__bases__ == (Ksm,)
        assert overridden(layer) == functions
        assert {name for name in functions if not hasattr(Ksm, name)} <= {"_remove_first"}

    @pytest.mark.parametrize("slug", COMMITS)
    def test_each_has_cases(self, slug: str) -> None:
        """There is a case in which of all commits just this one is undone; and one that a watcher reports, if it mends
        a bug."""
        those = cases_of(COMMITS[slug])

        assert [name for name in those[0].without if name in COMMITS] == [slug]
        assert any(case.watcher for case in those) == (COMMITS[slug].case not in {"S1", "R4", "D8"})

    def test_a_number_is_no_prefix_of_another(self) -> None:
        """Cases belong to the commit of their number, not to one whose number is the beginning of it."""
        commit = COMMITS["trivial-tidyups"]._replace(slug="none", case="S")

        assert cases_of(commit) == []
        assert {case.name[:2] for case in cases_of(COMMITS["ksm-page-migration"])} == {"S5"}


class TestComposition:
    def test_the_oldest_is_on_top(self) -> None:
        """Over the kernel's own layers come the commits undone, newest lowest, in whatever order they are named."""
        plain = kernel_class(without=("kpfn-aba",)).__mro__[1:]  # which makes no sense without page migration
        cls = kernel_class(without=("ksm-page-migration", "trivial-tidyups", "allocate-roots"))

        layers = [COMMITS[slug].layer for slug in ("trivial-tidyups", "ksm-page-migration", "allocate-roots")]
        assert list(cls.__mro__[1:]) == [*layers, *plain]

    @pytest.mark.parametrize("kernel", ["series", "v3.9"])
    @pytest.mark.parametrize("slug", COMMITS)
    def test_undoing_one_undoes_nothing_else(self, kernel: str, slug: str) -> None:
        """The layers are the kernel's, the commit's, and no other; but a repair of what is not there goes, too."""
        plain = kernel_class(kernel=kernel).__mro__[1:]
        commit = COMMITS[slug]
        gone = [VARIANTS[name].layer for name in commit.repairs]

        cls = kernel_class(kernel=kernel, without=(slug,))

        assert list(cls.__mro__[1:]) == [commit.layer, *(layer for layer in plain if layer not in gone)]

    def test_a_repair_can_be_put_on_again(self) -> None:
        """What goes with a commit because it makes no sense without it is put on if it is asked for by name."""
        repair = "run-under-pte-lock"
        cls = kernel_class(without=("remove-old-stable-nodes",), with_=(repair,))

        assert cls.__mro__[1] is VARIANTS[repair].layer

    def test_twice_is_once(self) -> None:
        """A commit that is named twice is undone once."""
        assert kernel_class(without=("foll-migration", "foll-migration")) is kernel_class(without=("foll-migration",))

    @pytest.mark.parametrize("kernel", [name for name in KERNELS if name.startswith("v")])
    @pytest.mark.parametrize("slug", COMMITS)
    async def test_other_kernels(self, kernel: str, slug: str) -> None:
        """On any kernel a commit can be undone, and the kernel works; or one line names what builds on it there."""
        builders = [name for name in KERNELS[kernel] if name in COMMITS[slug].built_on]
        if builders:
            with pytest.raises(UsageError) as error:
                kernel_class(kernel=kernel, without=(slug,))
            message = str(error.value)
            assert message.startswith(f"kernel {kernel} cannot be without {slug}: {builders[0]} ")
            assert f"--without {builders[-1]}" in message
            assert "\n" not in message
            return
        performance = await perform_scenario(BUSY, Setting(kernel, without=(slug,)))
        assert performance.failure is None or isinstance(performance.failure, Finding)

    def test_what_is_taken_off_no_longer_builds_on_it(self) -> None:
        """With what builds on a commit taken off, it can be undone on a later kernel."""
        cls = kernel_class(kernel="v6.18", without=("unshare-fault", "zero-counted", "foll-migration"))

        assert cls.__mro__[1] is COMMITS["foll-migration"].layer


async def ordinary_life(s: Stage) -> None:
    """Two nodes' pages are merged, unmerged, and merged by the other rule; nothing moves but ksmd."""
    for value in (1, 0):
        a = await s.process(f"A{value}", 7, 8)
        b = await s.process(f"B{value}", 7, 9)
        c = await s.process(f"C{value}", 7, nid=1)
        await s.scan(3)
        assert s.counters[:2] == ((1, 2) if s.kernel.ksm_merge_across_nodes else (1, 1))
        await s.write(b, 0, 6)
        child = await s.fork(a, f"D{value}")
        await s.exit(c)
        await s.scan(2)
        assert await s.set("run", 2) == 0
        assert s.counters == (0, 0, 0, 0)
        assert await s.set("merge_across_nodes", 1 - s.kernel.ksm_merge_across_nodes) == 0
        assert await s.set("run", 1) == 0
        for proc, token in ((a, 7), (b, 6), (child, 7)):
            assert await s.read(proc, 0) is s.kernel.contents.token(token)
            await s.exit(proc)
        await s.scan(2)
    for watcher in s.machine.watchers:
        watcher.at_quiescence()


TELLING = (0, 1, 2, len(SEEDS) - 1, len(SEEDS))
"""Sizes of the sets that are run by default: none, each one, each pair, all but one, all. Larger ones repeat pairs."""


@pytest.mark.parametrize("kernel", ["series", pytest.param("v3.9", marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    "without",
    [pytest.param(one, marks=[] if len(one) in TELLING else [pytest.mark.nightly]) for one in SUBSETS],
    ids=lambda without: "".join(COMMITS[slug].case[1] for slug in without) or "0",
)
def test_all_sets_of_the_six_live(without: tuple[str, ...], kernel: str) -> None:
    """Without any of the 64 sets of the six commits a kernel scans, unmerges and changes the knob, as long as nobody
    migrates or swaps; and all watchers find that right."""
    perform(ordinary_life, kernel=kernel, without=without)


@pytest.mark.parametrize("kernel", ["series", "v3.9"])
def test_all_undone_live(kernel: str) -> None:
    """So does the kernel without any of the fourteen: the state before the series."""
    perform(ordinary_life, kernel=kernel, without=tuple(COMMITS))


PARTS = {
    "get-ksm-page-locked": ("S3a",),
    "remove-old-stable-nodes": ("S4a", "S4a-0to1", "S4b", "S4c", "S4d"),
    "ksm-page-migration": ("S5a", "S5c", "S5e"),
    "merge-across-nodes-migration": ("S6a", "S6b", "S6n"),
}
"""The mutants that are parts of a commit: things that it brought, and that are missing without it."""


@pytest.mark.parametrize(("slug", "name"), [(slug, name) for slug, names in PARTS.items() for name in names])
def test_without_a_commit_its_parts_are_missing(slug: str, name: str) -> None:
    """Where a mutant takes away one thing that a commit brought, the commit undone shows the same defect as a whole."""
    case = CASES[name]
    shown = trio.run(show, replace(case, with_=(), without=(*case.without, slug)))

    assert case.explains(signature_of(shown.outcome)), signature_of(shown.outcome)


UNDONE = [case.name for case in CASES.values() if any(slug in COMMITS for slug in case.without)]


@pytest.mark.parametrize("name", UNDONE)
def test_with_the_commit_the_same_kernel_is_silent(name: str) -> None:
    """Where a case undoes a commit, its directed schedule finds nothing on that very kernel with the commit."""
    case = CASES[name]
    without = tuple(one for one in case.without if one not in COMMITS)
    shown = trio.run(show, replace(case, without=without))

    assert signature_of(shown.outcome) == ""


def test_no_case_hides_another() -> None:
    """Every case has a name of its own."""
    modules = [
        importlib.import_module(f"ksmactors.history.cases.{module.name}") for module in iter_modules(cases.__path__)
    ]
    made = [case.name for module in modules for value in vars(module).values() if isinstance(value, tuple)
            for case in value if isinstance(case, Case)]  # fmt: skip

    assert sorted(made) == sorted(CASES)
