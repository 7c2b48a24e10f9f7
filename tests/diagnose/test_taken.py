"""Which put of a reference is one too many: the one that is far from where the reference that it put was taken."""

from __future__ import annotations

from sys import _getframe
from types import FrameType

import orjson
import pytest

from ksmactors.campaign.finding_records import found_of, record_of
from ksmactors.campaign.summary import Found
from ksmactors.diagnose.taken import Taken
from ksmactors.run.outcome import Break, Defect, Outcome, Step, Verdict


def call(*callers: FrameType) -> tuple[FrameType, ...]:
    """A call, made by others."""
    return (_getframe(), *callers)


def test_what_is_put_where_it_was_taken_is_not_to_blame() -> None:
    """A reference is taken, and another one in a call below. The call puts two; then the caller puts its own."""
    outer = call()
    inner = call(*outer)
    taken: Taken[str] = Taken()

    taken.take(call(*outer), "of the caller", 1)
    taken.take(call(*inner), "of the call", 2)
    taken.put(inner, "right", 3)
    taken.put(inner, "one too many", 4)
    taken.put(outer, "the last", 5)

    assert taken.extra() == [("one too many", [])]


def test_without_another_call_the_last_put_is_one_too_many() -> None:
    """The same function has put it twice."""
    here = call()
    taken: Taken[str] = Taken()

    taken.take(here, "taken", 1)
    taken.put(here, "first", 2)
    taken.put(here, "second", 9)

    assert taken.extra() == [("second", [])]


def test_puts_in_two_calls_that_are_as_near_are_both_named() -> None:
    """A caller takes two references, and three calls that it makes put one each: any of them is one too many."""
    outer = call()
    taken: Taken[str] = Taken()

    for name in ("one", "two"):
        taken.take(outer, name, 1)
    for name in ("first", "second", "third"):
        taken.put(call(*outer), name, 9)

    assert taken.extra() == [("third", ["first", "second"])]


@pytest.mark.parametrize(("later", "extra"), [(10, []), (20, ["put"])])
def test_a_reference_that_is_put_before_it_is_taken(later: int, extra: list[str]) -> None:
    """One operation may do so in two steps; what is taken long after was taken for something else."""
    here = call()
    taken: Taken[str] = Taken()

    taken.put(here, "put", 9)
    taken.take(here, "taken", later)

    assert [name for name, _ in taken.extra()] == extra


def test_the_other_puts_are_told_and_kept() -> None:
    """They are in the line about the step that broke it, and in files."""
    step, other = (Step("ksmd", number, name, "writes refcount/2", ()) for number, name in ((9, "put"), (7, "drop")))
    broke = Break(8, step, instead=(other,))
    assert str(broke) == (
        "held until step 8; broken for good at 9: ksmd writes refcount/2 in put; or, which is as likely, at 7 in drop"
    )

    defect = Defect("kind", "one", "one/kind@put", "", 9, ("ksmd",), ("put",), (), broke=broke)
    found = Found(Outcome("one", 1, "random", Verdict.FINDING, 0, 0, (), b"", b"", defect=defect))
    assert found_of(orjson.loads(orjson.dumps(record_of(found)))).defect.broke == broke
