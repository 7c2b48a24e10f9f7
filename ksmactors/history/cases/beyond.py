"""Cases that the specification of KSM does not number (X): found here, in real kernels or as mutants."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

REGISTRATION: Final = "litmus.registration_meets_exit"

BEYOND: Final = (
    Case(
        name="X1",
        title="ksmd sleeps for ever although a process has registered: its wake-up is lost",
        workload=REGISTRATION,
        without=("wake-under-lock",),
        watcher="liveness",
        kind="asleep_with_work",
        where="ksm_scan_thread",
        story=(
            "B registers. It looks whether the list of address spaces is empty, which A is on: ksmd need not be woken. "
            "Before B has locked the list A exits; ksmd has no rmap_item of it, so it leaves the list at once. ksmd "
            "finds the list empty and goes to sleep without a timeout. B links its slot and wakes nobody. Nothing is "
            "merged until somebody writes `run`. (On all kernels from v3.9 to v7.3, by reading: mainline still looks "
            "before it takes ksm_mmlist_lock.)"
        ),
        script=("thread/B > enter.spinlock", "exit/A > end", "ksmd > blocked", "thread/B > end"),
    ),
    Case(
        name="X1a",
        title="ksmd sleeps for ever although a process has registered: nobody wakes it",
        workload=REGISTRATION,
        with_=("x1a-never-woken",),
        watcher="liveness",
        kind="asleep_with_work",
        where="ksm_scan_thread",
        story="A exits, ksmd finds the list empty and goes to sleep. B registers, and does not wake it.",
        script=("exit/A > end", "ksmd > blocked", "thread/B > end"),
    ),
    Case(
        name="X1b",
        title="control: every registration wakes ksmd",
        workload=REGISTRATION,
        with_=("x1b-always-woken",),
        story="B registers while A is on the list, and wakes ksmd, which does not sleep.",
        script=("thread/B > end", "exit/A > end"),
        silent_because="ksmd looks again whenever it is woken: a wake-up too many costs a look",
    ),
)
