"""SURW: all orders of the operations on what is interesting alike, and what that is."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from ksmactors.errors import UsageError
from ksmactors.interleave.actor import ACQUIRE
from ksmactors.interleave.profile import Profile
from ksmactors.interleave.strategies import surw as module
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import strategy_rng
from tests.helpers.strategies import mean_until_found

PROFILE = Profile(
    events={"host": 4, "ksmd": 90, "migrationd/1": 40},
    parents={"ksmd": "host", "migrationd/1": "host"},
    homes={"host": (0, 0), "ksmd": (1, 0), "migrationd/1": (2, 1)},
    accesses={
        "stable_tree/0": {"ksmd": 7},
        "stable_tree/1": {"ksmd": 6},
        "page_lock/1": {"ksmd": 30, "migrationd/1": 30},
        "page_lock/17": {"ksmd": 5, "migrationd/1": 5},
        "ksm_run": {"host": 4, "ksmd": 6},
    },
)


def interesting(strategy: str, seed: int = 0, profile: Profile = PROFILE) -> tuple[list[str], dict[str, int]]:
    """What is interesting in the schedule of a seed, and how often each actor has used it in the calibration."""
    surw = parse(strategy)
    surw.profile = profile
    surw.begin(strategy_rng(seed))
    names, counts = surw._interesting()  # type: ignore[attr-defined]
    return names, {actor: count for actor, count in counts.items() if count}


class TestWhatIsInteresting:
    @pytest.mark.parametrize(
        ("on", "counts"),
        [
            ("page_lock", {"ksmd": 35, "migrationd/1": 35}),
            ("page_lock/1", {"ksmd": 30, "migrationd/1": 30}),
            ("stable_tree/1", {"ksmd": 6}),
            ("stable_tree", {"ksmd": 13}),
            ("stable_tree/1+ksm_run", {"host": 4, "ksmd": 12}),
        ],
    )
    def test_named(self, on: str, counts: dict[str, int]) -> None:
        """A name means all objects of a kind, or one of them; names are joined by a plus."""
        assert interesting(f"surw:on={on}") == (on.split("+"), counts)

    def test_an_unknown_name(self) -> None:
        """A name that is nobody's is a usage error that lists the kinds there are; half a name is no name."""
        there_are = "there are: ksm_run, page_lock, stable_tree"
        for name in ("page", "page_lock/2", "kpfn"):
            with pytest.raises(UsageError, match=f"strategy surw: nothing here is called '{name}'; {there_are}"):
                interesting(f"surw:on={name}")

    def test_drawn(self) -> None:
        """One object that two actors share is drawn, the busy ones more often, and each of them sometimes."""
        drawn = Counter(interesting("surw", seed)[0][0] for seed in range(300))

        assert set(drawn) == {"page_lock/1", "page_lock/17", "ksm_run"}
        assert drawn["page_lock/1"] > 2 * drawn["page_lock/17"]

    def test_across_nodes(self) -> None:
        """What actors of one node alone share is left out, if it is to be shared across nodes."""
        drawn = {interesting("surw:across=nodes", seed)[0][0] for seed in range(60)}

        assert drawn == {"page_lock/1", "page_lock/17"}

    def test_nothing_across_nodes(self) -> None:
        """If nothing is shared across nodes, that is told."""
        profile = Profile(accesses={"v": {"a": 1, "b": 1}}, homes={"a": (0, 0), "b": (1, 0)})

        with pytest.raises(UsageError, match="nothing is shared across nodes here; use across=actors"):
            interesting("surw:across=nodes", profile=profile)

    def test_nothing_is_shared(self) -> None:
        """Where nothing is shared, nothing is interesting."""
        assert interesting("surw", profile=Profile(events={"a": 3})) == ([], {})


@pytest.mark.slow
def test_what_is_named_matters() -> None:
    """reorder_3 is found soon if the variable is named whose order matters, and late if the other one is."""
    assert mean_until_found("surw:on=b", "reorder_3", 60) < 7
    assert mean_until_found("surw:on=a", "reorder_3", 20) > 20


def test_one_of_those_that_wait_is_chosen_if_all_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one was held back for another that does not arrive, and nobody is left when it is let go."""
    monkeypatch.setattr(module, "would_wait", lambda _: True)
    ready: Any = [SimpleNamespace(number=number, op=(ACQUIRE, None, "")) for number in (0, 1)]
    strategy: Any = module.Surw()
    strategy.stage = SimpleNamespace(actors=ready)
    strategy._budget, strategy._next, strategy._held = [1, 1], 1, {0}
    strategy._drawn = {actor.number: (actor.op, 1, False) for actor in ready}
    assert strategy.choose(ready, None) is ready[0]
    assert not strategy._held
