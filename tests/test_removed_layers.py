"""What a variant that does not call on to a layer removes with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ksmactors import kernels
from ksmactors.cli import main
from ksmactors.history.mutants import MUTANTS
from ksmactors.kernels import KERNELS, VARIANTS
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.frame import Frame


class Careless(Ksm):
    """Overrides what kpfn-aba overrides, and calls nothing."""

    async def get_page_if_of_node(self, page: Frame, node: Any, lock: bool) -> bool:
        return True


class Careful(Ksm):
    """Calls on, one function within another."""

    async def get_page_if_of_node(self, page: Frame, node: Any, lock: bool) -> bool:
        async def below() -> bool:
            return await super(Careful, self).get_page_if_of_node(page, node, lock)

        return await below()


class ByName(Ksm):
    """Calls on without super()."""

    async def get_page_if_of_node(self, page: Frame, node: Any, lock: bool) -> bool:
        return await Ksm.get_page_if_of_node(self, page, node, lock)


class OfAnotherFunction(Ksm):
    """Calls on to something else."""

    async def get_page_if_of_node(self, page: Frame, node: Any, lock: bool) -> bool:
        return super()._glance(node) is not None


@pytest.mark.parametrize(
    ("layer", "removes"), [(Careless, True), (Careful, False), (ByName, False), (OfAnotherFunction, True)]
)
def test_what_a_variant_removes_unasked(monkeypatch: pytest.MonkeyPatch, layer: type[Ksm], removes: bool) -> None:
    """A variant that does not call on to a repair is said to remove it; one that does is not."""
    monkeypatch.setattr(kernels, "VARIANTS", dict(VARIANTS))
    kernels.register("mine", layer, origin="here 1.0")
    told = [str(one) for one in kernels.removed_layers(kernel="series", with_=["mine"])]
    assert told == [
        "mine overrides get_page_if_of_node without calling super(), so this also removes kpfn-aba there"
    ] * removes  # fmt: skip
    assert kernels.removed_layers(kernel="v3.9", with_=["mine"]) == []
    assert kernels.removed_layers(kernel="series", without=["kpfn-aba"], with_=["mine"]) == []


def test_it_is_said_and_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the run one line says so, and the JSON object has it."""
    monkeypatch.setitem(VARIANTS, "mine", kernels.Variant("mine", {"mine": Careless}, "here 1.0"))
    assert main(["run", "classic.lost", "--with", "mine"]) == 0
    assert "so this also removes kpfn-aba there\n" in capsys.readouterr().err
    assert main(["run", "classic.lost", "--with", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["also_removes"] == [
        {"variant": "mine", "function": "get_page_if_of_node", "layer": "kpfn-aba"}
    ]


def test_own_layers_call_on() -> None:
    """Among our own layers few remove another one, and each of these is known."""
    told = {
        (one.variant, one.layer)
        for kernel in KERNELS
        for name in MUTANTS
        for one in kernels.removed_layers(kernel=kernel, with_=[name])
    }
    assert told <= {
        ("s3b-removal-unlocked", "head-cleared"), ("s3c-locked-descent", "chains"),
        ("s5e-no-lock-cycle", "trylock-search"), ("s5-no-recheck", "kpfn-aba"),
        ("x4b-read-once", "restart-on-stale"),
        ("f3-only-writable", "pinned-checked"), ("f3-only-writable", "anon-exclusive"),
        ("x5a-lock-not-handed-over", "mlock-batch"), ("x1b-always-woken", "wake-under-lock"),
    }  # fmt: skip
