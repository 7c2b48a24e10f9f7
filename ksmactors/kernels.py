"""The kernels that can be emulated: sets of layers over v3.9, with layers put on, taken off, and commits undone.

A *variant* is a layer by its name: a subclass of `Ksm` that overrides functions. Layers compose by inheritance, so
each calls on to the one below with `super()`. From the bottom up a kernel is: the code of v3.9; the layers of the named
kernel (`later/`); the commits undone (`history/`), newest first, since the text before an older commit is older still;
what was put on by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from inspect import getattr_static, unwrap
from types import CodeType
from typing import Final, NamedTuple

from typing_extensions import override

from ksmactors.errors import UsageError, unknown
from ksmactors.history import COMMITS, Commit
from ksmactors.history.mutants import MUTANTS
from ksmactors.ksm.kernel import Ksm
from ksmactors.later import LATER, MODES, PROPOSED, REPAIRS, SERIES
from ksmactors.overrides import is_function, wrong_override
from ksmactors.seams import OVERRIDABLE, mark_of


class Variant(NamedTuple):
    """A layer by its name. `layers` has it under that name, and imports it when it is asked for."""

    name: str
    layers: Mapping[str, type[Ksm]]
    origin: str

    @property
    def layer(self) -> type[Ksm]:
        """The layer."""
        return self.layers[self.name]

    @property
    def summary(self) -> str:
        """What it is like with the layer, in a line: the first one of its docstring."""
        return (self.layer.__doc__ or "").strip().partition("\n")[0].rstrip(".")


OWN: Final = "ksmactors"
"""The origin of built-in variants."""

VARIANTS: Final[dict[str, Variant]] = {}
"""All variants by name, built-in ones first, then what plug-ins registered. Commits of the series are none: they are
undone with `without`."""


FORMER_NAMES: Final = {"s5-r5-no-recheck": "s5-no-recheck", "s5-r5-recheck-once": "s5-recheck-once"}
"""Names that variants had once, with those that they have now. Commands and finding files may say either."""


def current_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that variants have now."""
    return tuple(FORMER_NAMES.get(name, name) for name in names)


def register(name: str, layer: object, *, origin: str) -> None:
    """Add a variant; the first line of the layer's docstring is its summary.

    Raises:
        UsageError: the layer is not a subclass of Ksm, or the name is taken by another; or it is a
            user's, and overrides a function that does not exist.
    """
    if not (isinstance(layer, type) and issubclass(layer, Ksm)):
        raise UsageError(f"variant {name}: {layer!r} is not a subclass of ksmactors.variant.Ksm")
    if name in COMMITS or (name in VARIANTS and VARIANTS[name].layer is not layer):
        raise UsageError(
            f"variant {name}: the name is taken by {'a commit' if name in COMMITS else VARIANTS[name].origin}"
        )
    check_overrides(name, layer)
    VARIANTS[name] = Variant(name, {name: layer}, origin)


NEARLY: Final = 0.95
"""How like a function of the kernel the name of a variant's helper may be before it passes for a misspelling."""


def check_overrides(name: str, layer: type[Ksm]) -> None:
    """Refuse a variant whose overrides would never be called, or that overrides what is no seam (`seams`).

    Helpers of the variant begin with an underscore. Constants and classes in its body may have any name but those of
    the kernel's functions. An override is a function that can be called as the kernel's is, and async if that is.

    Raises:
        UsageError: the message names the function, and the nearest one that exists.
    """
    bases, known = _built_in_functions()
    for cls in layer.__mro__:
        if cls in bases:
            continue
        for function, value in vars(cls).items():
            if function.startswith("__") or not (is_function(value) or _names_function(known.get(function), function)):
                continue
            where = f"variant {name}: {cls.__qualname__}.{function}"
            if function in known:
                _check_seam(where, function, known[function])
                if wrong := wrong_override(cls, known[function], function):
                    raise UsageError(f"{where} {wrong}")
                continue
            if getattr(value, "__override__", False) or not function.startswith("_"):
                raise UsageError(
                    f"{where} overrides nothing: no kernel has a function of that name "
                    f"(did you mean {_nearest_seam(function, known)}?); "
                    "a helper of the variant begins with an underscore and has no @override"
                )
            if get_close_matches(function.lstrip("_"), [one.lstrip("_") for one in known], n=1, cutoff=NEARLY):
                raise UsageError(
                    f"{where} is called by no kernel, but {_nearest_seam(function, known)} is nearly the same: "
                    "spell it so if it is an override, or give the helper another name"
                )


def _built_in_functions() -> tuple[set[type], dict[str, type[Ksm]]]:
    """The classes that built-in kernels are made of, and their functions, each with the first layer that has it."""
    bases: set[type] = set()
    known: dict[str, type[Ksm]] = {}
    layers: list[type[Ksm]] = [Ksm, *(variant.layer for variant in VARIANTS.values() if variant.origin == OWN)]
    for layer in layers:
        for base in layer.__mro__:
            if base not in bases:
                bases.add(base)
                known |= {one: layer for one in vars(base) if not one.startswith("__") and one not in known}
    return bases, known


def _names_function(of: type[Ksm] | None, name: str) -> bool:
    """Whether a name that a class may have is that of a function there, which a value of that name would hide."""
    return of is not None and is_function(getattr_static(of, name))


def _nearest_seam(function: str, known: Mapping[str, type[Ksm]]) -> str:
    """The function that may be overridden whose name is most like this one."""
    seams = sorted(one for one, of in known.items() if mark_of(of, one) in OVERRIDABLE)
    return get_close_matches(function, seams, n=1, cutoff=0.0)[0]


def _check_seam(where: str, function: str, of: type[Ksm]) -> None:
    mark = mark_of(of, function)
    if mark not in OVERRIDABLE:
        what = "a primitive of shared state" if mark == "primitive" else "private to the emulated kernel"
        raise UsageError(
            f"{where}: {function} is {what}, and may not be overridden; override the kernel function that calls it "
            "(`ksmactors docs kernel-map` says where it is)"
        )


for _layers in (SERIES, LATER, REPAIRS, PROPOSED, MODES, MUTANTS):
    VARIANTS.update((name, Variant(name, _layers, OWN)) for name in _layers)

_REPAIRS: Final = ("restart-on-stale", "head-cleared", "mmap-sem-first", "find-mergeable-vma", "no-warning")
"""What upstream repaired of the series, but for `pinned-checked`, which is part of `anon-exclusive`; the rest of
`SERIES` is ours, and no kernel has it."""

_V6_1: Final = (
    *_REPAIRS, "node-reused", "page-dirtied", "migrate-swapped", "mlock-migrated", "lazy-free", "move-unlocked",
    "offline-retries", "pageout", "pin-counted", "wp-by-references", "leave-swap-cache", "mlock-batch",
    "anon-exclusive", "skip-swap-cache", "dirty-migration", "fork-copies-pinned", "unshare-on-pin", "swapin-error",
    "trylock-search", "chains", "per-mm", "zero-pages", "range-walk", "move-status", "wake-on-sleep", "hwpoison-result",
)  # fmt: skip

_LATER: Final = (*_REPAIRS, *LATER)
_NOT_V7_3: Final = frozenset({"skip-swap-cache"})
_NOT_V6_18: Final = frozenset({"overlay", "unmerge-walk"})
_NOT_V6_12: Final = _NOT_V6_18 | {"per-mm-mergeable", "bool-enable", "mremap-vmas"}

KERNELS: Final[dict[str, tuple[str, ...]]] = {
    "series": tuple(SERIES),
    "v3.9": ("node-reused",),
    "v6.1": _V6_1,
    "v6.12": tuple(name for name in _LATER if name not in _NOT_V6_12),
    "v6.18": tuple(name for name in _LATER if name not in _NOT_V6_18),
    "v7.3": tuple(name for name in _LATER if name not in _NOT_V7_3),
}
"""The kernels that are emulated, as the layers over v3.9 that make them, lowest first."""

SUMMARIES: Final[dict[str, str]] = {
    "series": "The series of 2013 as its commit messages mean it, and v3.9's defects repaired: nothing may be found",
    "v3.9": "Linux 3.9.6, bug for bug: the code that the variants override",
    "v6.1": "Linux 6.1: chains of equal KSM pages, zero pages",
    "v6.12": "Linux 6.12: smart scan, the advisor, prctl(PR_SET_MEMORY_MERGE), tracepoints",
    "v6.18": "Linux 6.18: a process shows whether its memory is merged",
    "v7.3": "Linux 7.3: reverse mapping by index, unmerging in one walk of the page tables",
}
"""What each kernel of KERNELS is, in a line."""

_REPAIRS_AMONG_LATER: Final = frozenset({
    "page-dirtied", "migrate-swapped", "wp-by-references", "leave-swap-cache", "unshare-on-pin", "swapin-error",
    "per-mm-fork", "move-enoent",
})  # fmt: skip
"""Variants of LATER that put right what was wrong. The others bring something, or do the same in another way."""


def kind_of(name: str) -> str:
    """Return the kind of a variant or commit: "commit undone", "repair", "feature" or "mutant"; else "plug-in"."""
    if name in COMMITS:
        return "commit undone"
    if name in MUTANTS:
        return "mutant"
    if name in SERIES or name in REPAIRS or name in _REPAIRS_AMONG_LATER:
        return "repair"
    return "feature" if name in LATER or name in PROPOSED or name in MODES else "plug-in"


def kernel_class(*, kernel: str = "series", without: Iterable[str] = (), with_: Iterable[str] = ()) -> type[Ksm]:
    """The class of a kernel with commits undone, some layers taken off and others put on (on top, in the order given).

    Args:
        kernel: one of KERNELS.
        without: slugs of commits of the series, or names of variants that the kernel has.
        with_: names of variants.

    Raises:
        UsageError: no such kernel, commit or variant, or a variant to take off that the kernel does not have, or a
            commit or variant without which another one cannot be.
    """
    if kernel not in KERNELS:
        raise UsageError(unknown("kernel", kernel, KERNELS))
    without, with_ = current_names(without), current_names(with_)
    names = _without(kernel, [name for name in without if name not in COMMITS])
    undone = [commit for slug, commit in reversed(COMMITS.items()) if slug in without]
    names = [name for name in names if not any(name in commit.repairs for commit in undone)]
    on_top: list[str] = []
    for name in with_:
        if name in COMMITS:
            raise UsageError(f"{name} is a commit that every kernel has; it can be undone: --without {name}")
        if name not in VARIANTS:
            raise UsageError(unknown("variant", name, VARIANTS))
        if not any(_builds_on(other, name) for other in (*names, *on_top)):
            on_top.append(name)
    for name in without:
        builders = [one for one in (*names, *on_top) if _builds_on(one, name)]
        if name not in (*names, *on_top) and builders:
            raise UsageError(f"{_needed(kernel, name, builders)}; {_left_out(builders, on_top)}")
    for commit in undone:
        _check_undoing(kernel, commit, names, on_top)
    lowest_first = [
        *(VARIANTS[name].layer for name in names),
        *(commit.layer for commit in undone),
        *(VARIANTS[name].layer for name in on_top),
    ]
    return _compose(kernel, tuple(lowest_first))


def _check_undoing(kernel: str, commit: Commit, names: Sequence[str], on_top: Sequence[str]) -> None:
    """Refuse to undo a commit under variants that build on it: those of the kernel, and those on top of it."""
    builders = [name for name in (*names, *on_top) if name in commit.built_on]
    if builders:
        raise UsageError(
            f"{_needed(kernel, commit.slug, builders)}; undo it on series or v3.9, or {_left_out(builders, on_top)}"
        )


def _needed(kernel: str, name: str, builders: Sequence[str]) -> str:
    """Why a kernel cannot be without something."""
    verb = "builds" if len(builders) == 1 else "build"
    return f"kernel {kernel} cannot be without {name}: {' and '.join(builders)} {verb} on it"


def _left_out(builders: Sequence[str], on_top: Collection[str]) -> str:
    """How to leave out variants of a kernel, or those that were added on top of it."""
    added = " ".join(f"--with {name}" for name in builders if name in on_top)
    others = " ".join(f"--without {name}" for name in builders if name not in on_top)
    return " and ".join([*([f"leave {added} out"] if added else []), *([f"add {others}"] if others else [])])


def _without(kernel: str, without: Sequence[str]) -> list[str]:
    """The kernel's own layers, but for some."""
    names = list(KERNELS[kernel])
    for name in without:
        if name in names:
            names.remove(name)
        elif name in VARIANTS:
            raise UsageError(
                f"kernel {kernel} has no {name} to be without; it has: {', '.join(KERNELS[kernel]) or 'none'}; "
                f"commits: {', '.join(COMMITS)}"
            )
        else:
            raise UsageError(unknown("commit or variant", name, [*COMMITS, *KERNELS[kernel]]))
    return names


def _builds_on(one: str, other: str) -> bool:
    """Whether a variant is a subclass of another one. Layers are abstract: `issubclass` would ask all kernels made."""
    return other in VARIANTS and VARIANTS[other].layer in VARIANTS[one].layer.__mro__


class Removed(NamedTuple):
    """A layer of the kernel that another one, put on top, takes a function from: `variant` does not call on to it."""

    variant: str
    function: str
    layer: str

    @override
    def __str__(self) -> str:
        return (
            f"{self.variant} overrides {self.function} without calling super(), so this also removes {self.layer} there"
        )


def removed_layers(*, kernel: str, without: Iterable[str] = (), with_: Iterable[str] = ()) -> list[Removed]:
    """What variants put on by name take from the kernel's own layers without being asked to.

    Args:
        kernel, without, with_: as for `kernel_class`, which has accepted them.
    """
    without, with_ = tuple(without), tuple(with_)
    names = _without(kernel, [name for name in without if name not in COMMITS])
    undone = [COMMITS[slug] for slug in without if slug in COMMITS]
    below = [name for name in names if not any(name in commit.repairs for commit in undone)]
    found = []
    for variant in dict.fromkeys(with_):
        layer = VARIANTS[variant].layer
        for function, value in _own_functions(layer, [VARIANTS[name].layer for name in below]).items():
            if calls_on(function, value):
                continue
            for name in reversed(below):
                theirs = vars(VARIANTS[name].layer).get(function)
                if theirs is not None and not issubclass(layer, VARIANTS[name].layer):
                    found.append(Removed(variant, function, name))
                    if not calls_on(function, theirs):
                        break
        if variant not in below:
            below.append(variant)
    return found


def _own_functions(layer: type[Ksm], below: Sequence[type[Ksm]]) -> dict[str, object]:
    """The functions that a layer brings along: those of its class, and of classes that it alone inherits from."""
    known: list[type] = [Ksm, *below]
    return {
        name: value
        for cls in reversed(layer.__mro__)
        if not any(issubclass(one, cls) for one in known)
        for name, value in vars(cls).items()
        if not name.startswith("__") and is_function(value)
    }


def calls_on(function: str, value: object) -> bool:
    """Whether an override calls the function below it: by super(), or by its name as an attribute of a class."""
    for part in (getattr(value, "fget", None), getattr(value, "__func__", None), value):
        code = getattr(unwrap(part) if callable(part) else None, "__code__", None)
        if code is not None:
            return _calls_on(function, code)
    return True  # nothing is known of it


def _calls_on(function: str, code: CodeType) -> bool:
    names = code.co_names
    if function in names and ("super" in names or any(name[:1].isupper() for name in names)):
        return True
    return any(_calls_on(function, inner) for inner in code.co_consts if isinstance(inner, CodeType))


@cache
def _compose(kernel: str, layers: tuple[type[Ksm], ...]) -> type[Ksm]:
    return type("Kernel", (*reversed(layers), Ksm), {"kernel_name": kernel})
