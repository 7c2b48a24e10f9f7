from __future__ import annotations

import pytest

from ksmactors.errors import EmulatorBug
from ksmactors.events import catalogue as ev
from ksmactors.events.check import validate, validate_all


def test_a_proper_record_passes() -> None:
    """A record with its event's fields, of their types, is accepted."""
    validate((ev.FREE_PAGE, 3, 3000, 0, 17, 1))
    validate((ev.LOCK_WAIT, 3, 3000, 0, "mmap_sem of vm", None))
    validate((ev.CALC_CHECKSUM, 3, 3000, 0, "vm", 4096, 17, False))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ((ev.FREE_PAGE, 3, 3000, 0, 17), r"free_page has 2 fields \(pfn, nid\), not 1: \(17,\)"),
        ((ev.FREE_PAGE, 3, 3000, 0, 17, 1, 1), "has 2 fields"),
        ((ev.FREE_PAGE, 3, 3000, 0, "17", 1), "free_page: field pfn is int, not '17'"),
        ((ev.FREE_PAGE, 3, 3000, 0, True, 1), "field pfn is int, not True"),
        ((ev.CALC_CHECKSUM, 3, 3000, 0, "vm", 4096, 17, 1), "field changed is bool, not 1"),
        ((ev.KSM_ENTER, 3, 3000, 0, None), "ksm_enter: field mm is str, not None"),
        ((len(ev.CATALOGUE), 3, 3000, 0), "no event with code"),
        ((-1, 3, 3000, 0), "no event with code -1"),
        ((ev.KSM_ENTER, 3, 3000), "starts with code, step, now and actor number"),
        ((ev.KSM_ENTER, 3, 3000.0, 0, "vm"), "starts with code, step, now and actor number"),
    ],
)
def test_a_wrong_record_is_named(record: tuple[object, ...], said: str) -> None:
    """A wrong number or type of fields is an error that says which event and field."""
    with pytest.raises(EmulatorBug, match=said):
        validate(record)


def test_as_a_sink_it_looks_at_every_record() -> None:
    """The sink finds the one bad record among good ones."""
    good = (ev.KSM_ENTER, 1, 1000, 0, "vm")
    validate_all([good, good])
    with pytest.raises(EmulatorBug, match="ksm_enter"):
        validate_all([good, (ev.KSM_ENTER, 1, 1000, 0, 5), good])
