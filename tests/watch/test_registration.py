"""Who is registered: kernels that forget it are reported, and the correct ones are not, whatever fails."""

from __future__ import annotations

import pytest

import ksmactors
from tests.helpers import broken_later as broken

MEETING = "litmus.merge_any_meets_signal"

ROWS = (
    (broken.EntersNobody, "v3.9", "litmus.advice_meets_scan", (), "registration/unregistered@ksm_enter"),
    (broken.EntersNobody, "v6.12", MEETING, (), "registration/unregistered@ksm_enter"),
    (broken.EntersNoProgram, "v6.12", "services", ("merge-any-kept",), "registration/unregistered@ksm_enter"),
    (broken.RestoresNoAdvice, "v6.12", MEETING, (), "registration/advice_lost@ksm_disable_merge_any"),
    (broken.ChangesUnderReadLock, "v6.12", MEETING, (), "registration/change_without_lock@prctl_set_memory_merge"),
    (broken.KeepsAdvice, "v6.12", MEETING, (), "registration/advice_left@ksm_disable_merge_any"),
    (broken.ForgetsSetting, "v6.12", MEETING, (), "registration/setting_lost@ksm_fork"),
)


@pytest.mark.parametrize(("variant", "kernel", "workload", "without", "signature"), ROWS)
def test_is_found(variant: type, kernel: str, workload: str, without: tuple[str, ...], signature: str) -> None:
    """A kernel that does not register, or loses advice or setting, is found within a few schedules."""
    tally = ksmactors.stress(
        workload,
        seeds=12,
        kernel=kernel,
        without=without,
        with_=(f"{variant.__module__}:{variant.__qualname__}",),
        watch="registration",
    )
    assert set(tally.found) == {signature}


@pytest.mark.parametrize("inject", ["", "all"])
@pytest.mark.parametrize("kernel", ["v3.9", "v6.1", "v6.12", "v7.3"])
@pytest.mark.parametrize("workload", [MEETING, "services", "litmus.advice_meets_scan"])
def test_is_not_found_otherwise(workload: str, kernel: str, inject: str) -> None:
    """Signals, failed registrations and exits leave no process unregistered that has mergeable memory."""
    tally = ksmactors.stress(workload, seeds=12, kernel=kernel, inject=inject, watch="registration")
    assert tally.schedules == 12
    assert not tally.found


@pytest.mark.parametrize("inject", ["", "all"])
def test_is_not_found_where_ksmd_takes_the_setting_away(inject: str) -> None:
    """ksmd drops a process without mappings, and its setting: later memory of it is not mergeable."""
    tally = ksmactors.stress(
        "services", seeds=24, kernel="v6.12", without=("merge-any-kept",), inject=inject, watch="registration"
    )
    assert not tally.found
