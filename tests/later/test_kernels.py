"""Kernels as sets of layers: names, order of composition, registration."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ksmactors import later
from ksmactors.errors import UsageError
from ksmactors.ksm.kernel import Ksm
from ksmactors.later import KERNELS, VARIANTS, kernel_class


class First(Ksm):
    """The first of two layers.

    More about it.
    """


class Second(Ksm):
    """The second of two layers."""


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more variants, for one test."""
    monkeypatch.setattr(later, "VARIANTS", dict(VARIANTS))
    later.register("first", First, origin="here")
    later.register("second", Second, origin="here")


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: kernel_class(kernel="v3.8"), "no kernel 'v3.8' (did you mean v3.9 or v6.18?); there are: series"),
        (
            lambda: kernel_class(with_=["head-clear"]),
            "no variant 'head-clear' (did you mean head-cleared?); there are: ",
        ),
        (
            lambda: kernel_class(without=["nothing-like-it"]),
            "no variant 'nothing-like-it'; there are: restart-on-stale",
        ),
        (
            lambda: kernel_class(kernel="v3.9", without=["kpfn-aba"]),
            "kernel v3.9 has no kpfn-aba to be without; it has: none",
        ),
        (lambda: kernel_class(without=["kpfn-aba", "kpfn-aba"]), "kernel series has no kpfn-aba to be without"),
    ],
)
def test_unknown_names(ask: Callable[[], object], told: str) -> None:
    """A name that does not exist, or cannot be taken off, is answered with the names that can be used."""
    with pytest.raises(UsageError) as error:
        ask()
    assert str(error.value).startswith(told)


def test_order_of_layers(registered: None) -> None:
    """A kernel's own layers come first in their order, then those put on; each is above the ones before it."""
    cls = kernel_class(with_=["second", "first"])
    layers = [VARIANTS[name].layer for name in KERNELS["series"]]
    assert list(cls.__mro__[1 : len(layers) + 4]) == [First, Second, *reversed(layers), Ksm]
    assert cls.kernel_name == "series"


def test_v39_is_the_core() -> None:
    """v3.9 has no layers; with one layer put on it has just that."""
    assert kernel_class(kernel="v3.9").__mro__[1] is Ksm
    assert kernel_class(kernel="v3.9", with_=["kpfn-aba"]).__mro__[1:3] == (VARIANTS["kpfn-aba"].layer, Ksm)


def test_a_layer_that_is_there_is_not_put_on_twice() -> None:
    """Asking for a layer that the kernel has changes nothing; the same kernel is the same class."""
    assert kernel_class(with_=["kpfn-aba"]) is kernel_class()


def test_taken_off_and_put_on_again_is_on_top() -> None:
    """A layer taken off and put on is above all others."""
    cls = kernel_class(without=["kpfn-aba"], with_=["kpfn-aba"])
    assert cls.__mro__[1] is VARIANTS["kpfn-aba"].layer


def test_register(registered: None) -> None:
    """A variant is summed up by the first line of its docstring, and may be registered again as the same."""
    later.register("first", First, origin="here")
    variant = later.VARIANTS["first"]
    assert (variant.summary, variant.layer, variant.origin) == ("The first of two layers", First, "here")


def test_register_refuses(registered: None) -> None:
    """What is no kernel layer is refused, and so is a name that another has."""
    with pytest.raises(UsageError, match="is no subclass of"):
        later.register("third", dict, origin="here")
    with pytest.raises(UsageError, match="the name is taken by ksmactors"):
        later.register("kpfn-aba", First, origin="here")


def test_every_variant_says_what_it_is() -> None:
    """`list variants` has a line for each."""
    assert all(variant.summary for variant in VARIANTS.values())
