"""Layers over v3.9, one file each: repairs and features that came later, and ours; and the kernels made of them.

Each is a *layer*: a subclass of `Ksm` that overrides just the functions that the repair changed. Layers compose by
inheritance, so each calls on to the one below with `super()`. The docstring of a layer tells what went wrong without
it, and by which interleaving.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Final

from ksmactors.errors import UsageError
from ksmactors.ksm.kernel import Ksm
from ksmactors.later.aborted_unmerge import AbortedUnmerge
from ksmactors.later.advisor import Advisor
from ksmactors.later.all_unstable_roots import AllUnstableRoots
from ksmactors.later.break_swapped import BreakSwapped
from ksmactors.later.chains import Chains, ChainsAnyDup
from ksmactors.later.checksum_first import ChecksumFirst
from ksmactors.later.copy_unless_mergeable import CopyUnlessMergeable
from ksmactors.later.find_mergeable_vma import FindMergeableVma
from ksmactors.later.freed_head import FreedHead
from ksmactors.later.half_ksm import HalfKsm
from ksmactors.later.head_cleared import HeadCleared
from ksmactors.later.kpfn_aba import KpfnAba
from ksmactors.later.ksm_into_ksm import KsmIntoKsm
from ksmactors.later.merge_any import MergeAny
from ksmactors.later.mmap_sem_first import MmapSemFirst
from ksmactors.later.move_status import MoveEnoent, MoveStatus
from ksmactors.later.no_warning import NoWarning
from ksmactors.later.overlay import Overlay
from ksmactors.later.page_dirtied import PageDirtied
from ksmactors.later.pageout import Pageout
from ksmactors.later.per_mm import PerMm, PerMmFork
from ksmactors.later.per_mm_mergeable import PerMmMergeable
from ksmactors.later.profit import Profit
from ksmactors.later.range_walk import RangeWalk
from ksmactors.later.restart_on_stale import RestartOnStale
from ksmactors.later.run_under_pte_lock import RunUnderPteLock
from ksmactors.later.scanned import Scanned
from ksmactors.later.smart_scan import SmartScan
from ksmactors.later.swapoff_unread import SwapoffUnread
from ksmactors.later.tracepoints import Tracepoints
from ksmactors.later.trylock_search import TrylockSearch
from ksmactors.later.unshare_fault import UnshareFault
from ksmactors.later.unshare_on_advice import UnshareOnAdvice
from ksmactors.later.wake_on_sleep import WakeOnSleep
from ksmactors.later.zero_counted import ZeroCounted
from ksmactors.later.zero_pages import ZeroPages


@dataclass(frozen=True, slots=True)
class Variant:
    """A layer by its name."""

    name: str
    summary: str
    layer: type[Ksm]
    origin: str = "ksmactors"


VARIANTS: Final[dict[str, Variant]] = {}
"""All variants by name, built-in ones first, then what plug-ins registered."""


def register(name: str, layer: object, *, origin: str) -> None:
    """Add a variant; the first line of the layer's docstring is its summary.

    Raises:
        UsageError: the layer is no subclass of Ksm, or the name is taken by another.
    """
    if not (isinstance(layer, type) and issubclass(layer, Ksm)):
        raise UsageError(f"variant {name}: {layer!r} is no subclass of ksmactors.ksm.kernel.Ksm")
    if name in VARIANTS and VARIANTS[name].layer is not layer:
        raise UsageError(f"variant {name}: the name is taken by {VARIANTS[name].origin}")
    summary = (layer.__doc__ or "").strip().partition("\n")[0].rstrip(".")
    VARIANTS[name] = Variant(name, summary, layer, origin)


_SERIES: Final = {
    "restart-on-stale": RestartOnStale,
    "head-cleared": HeadCleared,
    "freed-head": FreedHead,
    "mmap-sem-first": MmapSemFirst,
    "find-mergeable-vma": FindMergeableVma,
    "no-warning": NoWarning,
    "ksm-into-ksm": KsmIntoKsm,
    "kpfn-aba": KpfnAba,
    "all-unstable-roots": AllUnstableRoots,
    "aborted-unmerge": AbortedUnmerge,
    "run-under-pte-lock": RunUnderPteLock,
    "copy-unless-mergeable": CopyUnlessMergeable,
    "break-swapped": BreakSwapped,
    "swapoff-unread": SwapoffUnread,
    "half-ksm": HalfKsm,
    "unshare-on-advice": UnshareOnAdvice,
}
_LATER: Final = {
    "page-dirtied": PageDirtied,
    "pageout": Pageout,
    "trylock-search": TrylockSearch,
    "chains": Chains,
    "chains-any-dup": ChainsAnyDup,
    "per-mm": PerMm,
    "per-mm-fork": PerMmFork,
    "zero-pages": ZeroPages,
    "unshare-fault": UnshareFault,
    "zero-counted": ZeroCounted,
    "checksum-first": ChecksumFirst,
    "smart-scan": SmartScan,
    "overlay": Overlay,
    "range-walk": RangeWalk,
    "move-status": MoveStatus,
    "move-enoent": MoveEnoent,
    "merge-any": MergeAny,
    "per-mm-mergeable": PerMmMergeable,
    "profit": Profit,
    "scanned": Scanned,
    "advisor": Advisor,
    "tracepoints": Tracepoints,
    "wake-on-sleep": WakeOnSleep,
}
for _name, _layer in (_SERIES | _LATER).items():
    register(_name, _layer, origin="ksmactors")

_REPAIRS: Final = ("restart-on-stale", "head-cleared", "mmap-sem-first", "find-mergeable-vma", "no-warning")
"""What upstream repaired of the series; the rest of `_SERIES` is ours, and no kernel has it."""

_V6_1: Final = (*_REPAIRS, "page-dirtied", "pageout", "trylock-search", "chains", "per-mm", "zero-pages", "range-walk",
                "move-status", "wake-on-sleep")  # fmt: skip

_NOT_V6_12: Final = frozenset({"overlay", "per-mm-mergeable"})
_V7_3: Final = (*_REPAIRS, *_LATER)

KERNELS: Final[dict[str, tuple[str, ...]]] = {
    "series": tuple(_SERIES),
    "v3.9": (),
    "v6.1": _V6_1,
    "v6.12": tuple(name for name in _V7_3 if name not in _NOT_V6_12),
    "v6.18": tuple(name for name in _V7_3 if name != "overlay"),
    "v7.3": _V7_3,
}
"""The kernels that are emulated, as the layers over v3.9 that make them, lowest first."""


def kernel_class(*, kernel: str = "series", without: Iterable[str] = (), with_: Iterable[str] = ()) -> type[Ksm]:
    """The class of a kernel with some layers taken off and others put on (on top, in the order given).

    Raises:
        UsageError: no such kernel or variant, or a variant to take off that the kernel does not have, or without
            which another one cannot be.
    """
    if kernel not in KERNELS:
        raise UsageError(_unknown("kernel", kernel, KERNELS))
    names = list(KERNELS[kernel])
    for name in without:
        if name not in names:
            if name in VARIANTS:
                raise UsageError(f"kernel {kernel} has no {name} to be without; it has: {', '.join(names) or 'none'}")
            raise UsageError(_unknown("variant", name, names))
        names.remove(name)
    for name in with_:
        if name not in VARIANTS:
            raise UsageError(_unknown("variant", name, VARIANTS))
        if not any(issubclass(VARIANTS[other].layer, VARIANTS[name].layer) for other in names):
            names.append(name)
    layers = tuple(VARIANTS[name].layer for name in names)
    for name in without:
        builders = [other for other in names if issubclass(VARIANTS[other].layer, VARIANTS[name].layer)]
        if name not in names and builders:
            raise UsageError(f"{' and '.join(builders)} cannot be without {name}: take it off, too (--without)")
    return _compose(kernel, layers)


@cache
def _compose(kernel: str, layers: tuple[type[Ksm], ...]) -> type[Ksm]:
    return type("Kernel", (*reversed(layers), Ksm), {"kernel_name": kernel})


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = get_close_matches(name, names, n=2, cutoff=0.5)
    guess = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"no {what} {name!r}{guess}; there are: {', '.join(names) or 'none'}"
