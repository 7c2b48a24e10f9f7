"""Kernels as sets of layers: names, order of composition, registration, and what a variant may override."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from typing_extensions import override

from ksmactors import kernels
from ksmactors.errors import UsageError
from ksmactors.history import COMMITS
from ksmactors.kernels import KERNELS, VARIANTS, kernel_class
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.mm.frame import Frame
from ksmactors.overrides import is_function, wrong_override
from ksmactors.seams import OVERRIDABLE, mark_of


class First(Ksm):
    """The first of two layers.

    More about it.
    """


class Second(Ksm):
    """The second of two layers."""


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more variants, for one test."""
    monkeypatch.setattr(kernels, "VARIANTS", dict(VARIANTS))
    kernels.register("first", First, origin="here")
    kernels.register("second", Second, origin="here")


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: kernel_class(kernel="v3.8"), "no kernel 'v3.8' (did you mean v3.9 or v6.18?); there are: series"),
        (
            lambda: kernel_class(with_=["head-clear"]),
            "no variant 'head-clear' (did you mean head-cleared or ",
        ),
        (
            lambda: kernel_class(without=["nothing-like-it"]),
            "no commit or variant 'nothing-like-it'; see `ksmactors list variants`",
        ),
        (
            lambda: kernel_class(kernel="v3.9", without=["kpfn-aba"]),
            "kernel v3.9 has no kpfn-aba to be without; it has: node-reused",
        ),
        (lambda: kernel_class(without=["kpfn-aba", "kpfn-aba"]), "kernel series has no kpfn-aba to be without"),
        (
            lambda: kernel_class(without=["ksm-page-migration", "get-ksm-page-lock"]),
            "no commit or variant 'get-ksm-page-lock' (did you mean get-ksm-page-locked or ksm-page-migration?); ",
        ),
        (
            lambda: kernel_class(with_=["foll-migration"]),
            "foll-migration is a commit that every kernel has; it can be undone: --without foll-migration",
        ),
        (
            lambda: kernel_class(with_=["chains"], without=["merge-across-nodes-migration"]),
            "kernel series cannot be without merge-across-nodes-migration: chains builds on it; ",
        ),
    ],
)
def test_unknown_names(ask: Callable[[], object], told: str) -> None:
    """A name that does not exist, or cannot be taken off, is answered with the names that can be used."""
    with pytest.raises(UsageError) as error:
        ask()
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_order_of_layers(registered: None) -> None:
    """A kernel's own layers come first in their order, then those put on; each is above the ones before it."""
    cls = kernel_class(with_=["second", "first"])
    layers = [VARIANTS[name].layer for name in KERNELS["series"]]
    assert list(cls.__mro__[1 : len(layers) + 4]) == [First, Second, *reversed(layers), Ksm]
    assert cls.kernel_name == "series"


def test_v39_is_the_core() -> None:
    """v3.9 is the core, on a slab that reuses its memory; with one layer put on it has just that besides."""
    reused, kpfn_aba = VARIANTS["node-reused"].layer, VARIANTS["kpfn-aba"].layer
    assert kernel_class(kernel="v3.9").__mro__[1:3] == (reused, Ksm)
    assert kernel_class(kernel="v3.9", with_=["kpfn-aba"]).__mro__[1:4] == (kpfn_aba, reused, Ksm)


def test_a_layer_that_is_there_is_not_put_on_twice() -> None:
    """Asking for a layer that the kernel has changes nothing; the same kernel is the same class."""
    assert kernel_class(with_=["kpfn-aba"]) is kernel_class()


def test_taken_off_and_put_on_again_is_on_top() -> None:
    """A layer taken off and put on is above all others."""
    cls = kernel_class(without=["kpfn-aba"], with_=["kpfn-aba"])
    assert cls.__mro__[1] is VARIANTS["kpfn-aba"].layer


def test_register(registered: None) -> None:
    """A variant is summed up by the first line of its docstring, and may be registered again as the same."""
    kernels.register("first", First, origin="here")
    variant = kernels.VARIANTS["first"]
    assert (variant.summary, variant.layer, variant.origin) == ("The first of two layers", First, "here")


def test_register_refuses(registered: None) -> None:
    """What is no kernel layer is refused, and so is a name that another has."""
    with pytest.raises(UsageError, match="is not a subclass of"):
        kernels.register("third", dict, origin="here")
    with pytest.raises(UsageError, match="the name is taken by ksmactors"):
        kernels.register("kpfn-aba", First, origin="here")
    with pytest.raises(UsageError, match="the name is taken by a commit"):
        kernels.register("foll-migration", First, origin="here")


def test_every_variant_says_what_it_is() -> None:
    """`list variants` has a line for each that comes with ksmactors; what tests have registered may have none."""
    assert [one.name for one in VARIANTS.values() if one.origin == kernels.OWN and not one.summary] == []


def test_kernels_have_what_later_md_says() -> None:
    """Each later kernel is the one before with some layers more, and the last with one less; two are replaced by their
    later form."""
    v6_1, v6_12, v6_18, v7_3 = (set(KERNELS[name]) for name in ("v6.1", "v6.12", "v6.18", "v7.3"))
    assert v6_1 < v6_12 < v6_18
    assert v6_18 - v7_3 == {"skip-swap-cache"}
    assert v6_12 - v6_1 == {
        "advisor", "chains-any-dup", "checksum-first", "copy-before-mapping", "hwpoison-caller", "ksm-hwpoison",
        "merge-any", "merge-any-exec", "merge-any-kept", "mlock-batch-31", "move-enoent", "per-mm-fork", "profit",
        "scanned", "smart-scan", "tracepoints", "unshare-fault", "zero-counted",
    }  # fmt: skip
    assert v6_18 - v6_12 == {"bool-enable", "mremap-vmas", "per-mm-mergeable"}
    assert v7_3 - v6_18 == {"overlay", "unmerge-walk"}


def test_no_later_kernel_has_a_repair_of_ours() -> None:
    """What no upstream commit repaired is in `series` only."""
    ours = {name for name in KERNELS["series"] if name not in KERNELS["v7.3"]}
    assert {"ksm-into-ksm", "kpfn-aba", "freed-head", "half-ksm"} <= ours
    assert not any(ours & set(names) for kernel, names in KERNELS.items() if kernel != "series")


def test_a_layer_that_another_is_built_on_stays() -> None:
    """Taking off the half that the other half needs is refused, and the other half is named."""
    with pytest.raises(UsageError, match=r"without chains: chains-any-dup builds on it; add --without chains-any-dup$"):
        kernel_class(kernel="v6.12", without=("chains",))
    with pytest.raises(
        UsageError, match=r"without smart-scan: skips-in-step builds on it; leave --with skips-in-step out$"
    ):
        kernel_class(kernel="v6.12", with_=("skips-in-step",), without=("smart-scan",))
    assert not hasattr(kernel_class(kernel="v6.12", without=("chains", "chains-any-dup")), "max_page_sharing_store")


@pytest.mark.parametrize("order", [("zero-pages", "zero-counted"), ("zero-counted", "zero-pages")])
def test_the_lower_half_is_not_put_on_twice(order: tuple[str, str]) -> None:
    """A layer and the one that it is built on give one class, in either order."""
    cls = kernel_class(kernel="v3.9", with_=order)
    assert issubclass(cls, VARIANTS["zero-counted"].layer)


class Mistake(Ksm):
    """Overrides what does not exist."""

    async def stable_tree_serach(self, page: Frame) -> Frame | None:
        return None


class MistakenProperty(Ksm):
    """Overrides a property that does not exist."""

    @property
    def page_volatile(self) -> int:
        return 0


class MistakenStatic(Ksm):
    """Overrides a static function that does not exist."""

    @staticmethod
    def ksm_tets_exit() -> None: ...


class OwnBase:
    """What a layer may take its functions from."""

    def unmerge_ksm_page(self) -> None:
        """Not the kernel's, which ends in an s."""


class MistakenBase(OwnBase, Ksm):
    """Takes a function from a class of its own."""


class NotAsync(Ksm):
    """Overrides an async function with another kind."""

    def break_cow(self, item: RmapItem) -> None: ...  # type: ignore[override]


class Async(Ksm):
    """Overrides a function with an async one."""

    async def get_kpfn_nid(self, kpfn: int) -> int:  # type: ignore[override]
        return 0


class Right(Ksm):
    """Overrides functions, a property and a class attribute that exist, and has things of its own."""

    aging = True
    LIMIT = 3
    limit: int = 4

    class Helper:
        """Nobody takes this for an override."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen = 0

    @property
    def pages_volatile(self) -> int:
        return self._own()

    @staticmethod
    def swap_page_is_unread(page: Frame) -> bool:
        return page.dirty

    def _own(self) -> int:
        return self.LIMIT

    async def break_cow(self, item: RmapItem) -> None:
        self.seen += 1
        await super().break_cow(item)


class OfALaterKernel(VARIANTS["chains"].layer):  # type: ignore[misc]  # which class it is, is known by name only
    """Overrides what only a later kernel has."""

    async def max_page_sharing_store(self, text: str) -> int:
        return 0


@pytest.mark.parametrize(
    ("layer", "function", "near"),
    [
        (Mistake, "stable_tree_serach", "stable_tree_search"),
        (MistakenProperty, "page_volatile", "pages_volatile"),
        (MistakenStatic, "ksm_tets_exit", "ksm_test_exit"),
        (MistakenBase, "unmerge_ksm_page", "unmerge_ksm_pages"),
    ],
)
def test_a_variant_that_overrides_nothing_is_refused(
    registered: None, layer: type[Ksm], function: str, near: str
) -> None:
    """A function, property or static function that no kernel has is named, with the nearest one that exists."""
    with pytest.raises(UsageError) as error:
        kernels.register("mine", layer, origin="here 1.0")
    assert str(error.value).startswith("variant mine: ")
    assert f".{function} overrides nothing: no kernel has a function of that name" in str(error.value)
    assert f"(did you mean {near}?)" in str(error.value)
    assert "mine" not in kernels.VARIANTS


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (NotAsync, "NotAsync.break_cow must be async: async def break_cow"),
        (Async, "Async.get_kpfn_nid must not be async: def get_kpfn_nid"),
    ],
)
def test_an_override_is_called_as_the_kernels(registered: None, layer: type[Ksm], told: str) -> None:
    """An async function is overridden by an async one, and only such a one."""
    with pytest.raises(UsageError, match=told):
        kernels.register("mine", layer, origin="here 1.0")


def test_a_misspelt_helper_is_refused(registered: None) -> None:
    """A private function that is one letter from one of the kernel's would never be called."""

    class Misspelt(Ksm):
        async def _leave_stable_nod(self) -> None:
            """Nobody calls it."""

    with pytest.raises(
        UsageError, match="_leave_stable_nod is called by no kernel, but leave_stable_node is nearly the same"
    ):
        kernels.register("mine", Misspelt, origin="here 1.0")


class OverridesPrivate(Ksm):
    """Overrides a function that is private to the emulated kernel."""

    def _tell(self, what: str, node: Any) -> None:
        """Says nothing."""


class OverridesPrimitive(Ksm):
    """Overrides an operation on shared state, and loses its point."""

    async def hlist_add_head(self, node: Any, item: RmapItem) -> None:
        node.hlist_add_head(item)


class MarkedPrivate(Ksm):
    """Marks a helper as an override."""

    @override
    async def _settle_down(self) -> None: ...  # type: ignore[misc]  # this is the mistake


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (OverridesPrivate, "variant mine: OverridesPrivate._tell: _tell is private to the emulated kernel"),
        (OverridesPrimitive, "hlist_add_head is a primitive of shared state, and may not be overridden"),
        (MarkedPrivate, "MarkedPrivate._settle_down overrides nothing: no kernel has a function of that name"),
    ],
)
def test_only_seams_may_be_overridden(registered: None, layer: type[Ksm], message: str) -> None:
    """Private functions and primitives are refused, and so is @override where there is nothing to override."""
    with pytest.raises(UsageError) as error:
        kernels.register("mine", layer, origin="here 1.0")
    assert message in str(error.value)


def test_every_entry_of_a_table_is_a_layer() -> None:
    """The tables have places as text; each is that of a layer, and no two commits have the same."""
    entries = [*kernels.VARIANTS.values(), *COMMITS.values()]
    assert len(entries) > 150
    assert [one for one in entries if not issubclass(one.layer, Ksm)] == []
    assert len({commit.place for commit in COMMITS.values()}) == len(COMMITS)


def test_built_in_layers_override_seams_alone() -> None:
    """What holds for plug-ins holds for the layers of the named kernels, commits undone and mutants."""
    below = [one for one in Ksm.__mro__ if one is not object]
    layers = [*(one.layer for one in kernels.VARIANTS.values()), *(one.layer for one in COMMITS.values())]
    wrong = [
        f"{cls.__qualname__}.{name}"
        for layer in layers
        for cls in layer.__mro__
        if cls not in below and cls is not object
        for name, value in vars(cls).items()
        if not name.startswith("__") and is_function(value)
        if any(name in vars(one) for one in below) and mark_of(Ksm, name) not in OVERRIDABLE
    ]
    assert wrong == []


def test_built_in_layers_can_be_called_as_the_kernel() -> None:
    """Those are not checked at each start, so here: every override has the shape of the function of the kernel."""
    layers = [*(one.layer for one in kernels.VARIANTS.values()), *(one.layer for one in COMMITS.values())]
    seen, wrong = 0, []
    for cls in {cls for layer in layers for cls in layer.__mro__} - {*Ksm.__mro__}:
        for name in vars(cls).keys() & {*dir(Ksm)} - {*dir(object)}:
            seen += 1
            wrong += [f"{cls.__qualname__}.{name} {why}"] if (why := wrong_override(cls, Ksm, name)) else []
    assert seen > 200
    assert wrong == []


@pytest.mark.parametrize("layer", [Right, OfALaterKernel])
def test_what_a_variant_may_have(registered: None, layer: type[Ksm]) -> None:
    """What exists may be overridden, in whatever kernel it exists; constants, classes and `_helpers` are free."""
    kernels.register("mine", layer, origin="here 1.0")
    assert kernels.VARIANTS["mine"].layer is layer


@pytest.mark.parametrize("slug", COMMITS)
def test_commits_override_what_exists(slug: str) -> None:
    """What is asked of plug-ins holds for the layers of the commits, too."""
    kernels.check_overrides(slug, COMMITS[slug].layer)
