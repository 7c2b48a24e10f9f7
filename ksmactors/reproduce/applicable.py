"""For which emulated kernels a defect can be reproduced: those that have it, and all that its repair is written for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from ksmactors.conformance.emulator import Setting
from ksmactors.errors import UsageError
from ksmactors.kernels import KERNELS, VARIANTS, kernel_class
from ksmactors.reproduce.chance import held_race_shows, predict_race
from ksmactors.reproduce.prediction import Prediction, predict
from ksmactors.reproduce.program import needed_nodes
from ksmactors.reproduce.races import has_holds
from ksmactors.reproduce.subject import ReproducedDefect


def unfit(kernel: str, added: Sequence[str], repair: Sequence[str]) -> str:
    """Return why a kernel with a repair and one without it do not differ by the repair; empty if they do.

    Args:
        kernel: one of KERNELS.
        added: variants that both have.
        repair: the variants that only one of them has.
    """
    broken = kernel_class(kernel=kernel, with_=added)
    repaired = kernel_class(kernel=kernel, with_=(*added, *repair))
    own = {VARIANTS[name].layer for name in repair}
    new = [layer for layer in repaired.__mro__[1:] if layer not in broken.__mro__]
    if repair and not new:
        return f"{kernel} has the repair ({', '.join(repair)})"
    brought = [name for name, one in VARIANTS.items() if one.layer in new and one.layer not in own]
    return f"{kernel} has no {' and no '.join(brought)}, which the repair is for" if brought else ""


async def refuse_unfit(subject: ReproducedDefect, kernel: str, repair: Sequence[str]) -> None:
    """Refuse a kernel that does not have the defect. To be awaited in trio.

    Raises:
        UsageError: the message says why, and for which kernels it can be.
    """
    why = await _why_not(subject, kernel, repair)
    if why:
        fit = [one for one in KERNELS if one != kernel and await _can(subject, one, repair)]
        where = f"it can be reproduced with --kernel {_alternatives(fit)}" if fit else "nor does any other kernel"
        raise UsageError(f"{_name(subject)} cannot be reproduced for {kernel}: {why}; {where}")


async def _why_not(subject: ReproducedDefect, kernel: str, repair: Sequence[str]) -> str:
    if not repair:
        return ""
    why = unfit(kernel, subject.added, repair)
    if why or not subject.is_known:  # of other scenarios it is said later what they could add
        return why
    setting = Setting(kernel, needed_nodes(subject.scenario), with_=subject.added)
    if has_holds(subject.scenario):
        shows = await held_race_shows(subject.scenario, setting, repair)
    else:
        shows = _shows(await predict(subject.scenario, setting, repair))
    names = ", ".join(repair)
    return "" if shows else f"with its scenario, {kernel} shows the same with and without the repair ({names})"


async def _can(subject: ReproducedDefect, kernel: str, repair: Sequence[str]) -> bool:
    with suppress(UsageError):  # it lacks what the scenario needs
        if await _why_not(subject, kernel, repair):
            return False
        setting = Setting(kernel, needed_nodes(subject.scenario), with_=subject.added)
        if not has_holds(subject.scenario):
            return _shows(await predict(subject.scenario, setting, repair))
        await predict_race(subject.scenario, setting, repair)
        return True
    return False


def _shows(prediction: Prediction) -> bool:
    return prediction.crash >= 0 or any(prediction.different.seen)


def _name(subject: ReproducedDefect) -> str:
    return subject.scenario.origin if subject.case is None else f"case {subject.case.name}"


def _alternatives(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
