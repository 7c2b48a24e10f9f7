"""A finding as a page shows it: replayed with every observer on, explained, and shrunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from ksmactors.diagnose.cause import CAUSE_STEPS_MAX, what_made_the_difference
from ksmactors.diagnose.explain import explain
from ksmactors.diagnose.explained import SCHEDULES_MAX
from ksmactors.diagnose.interleaving import Interleaving, interleaving
from ksmactors.diagnose.replaying import Recorded
from ksmactors.diagnose.shrink import Shrunk, shrink
from ksmactors.errors import KsmActorsError
from ksmactors.escaping import escaped
from ksmactors.events.logs import EventList
from ksmactors.history.cases import CASES
from ksmactors.interleave.schedule_string import decode
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.report.shapes import ShapeObserver
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.watch import WATCHERS

CASES_MAX: Final = 3
"""Cases that a finding is said to look like."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay with all that was seen: the outcome, events, tree shapes and looks. If it is a finding, the outcome is
    explained, and its rows are in `table`."""

    recorded: Recorded
    outcome: Outcome
    events: Sequence[Mapping[str, Any]]
    shapes: Sequence[tuple[int, str, int, str]]
    looks: Sequence[tuple[int, str, str, int]]
    table: Interleaving | None


@dataclass(frozen=True, slots=True)
class Examined:
    """A finding: as recorded, and with the fewest departures from the default order.

    Attributes:
        recorded: the replay of what was given.
        shrunk, shrinking: the replay of the shrunk schedule, and how it was found; None if it could not be shrunk.
        problem: why it could not be; or empty.
        orders: what made the difference: sentences, each with the share of schedules that fail with it, or "".
    """

    recorded: Replayed
    shrunk: Replayed | None
    shrinking: Shrunk | None
    problem: str = ""
    orders: tuple[tuple[str, str], ...] = ()

    @property
    def outcome(self) -> Outcome:
        """That of the replay as recorded."""
        return self.recorded.outcome

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """Those of the replay as recorded."""
        return self.recorded.events


async def examine(
    then: Recorded, *, max_schedules: int = SCHEDULES_MAX, on_try: Callable[[int, int], None] = lambda _t, _l: None
) -> Examined:
    """Replay, explain and shrink a recorded schedule. To be awaited in trio, outside of any other schedule."""
    as_recorded = await _replay(then)
    if as_recorded.outcome.verdict is not Verdict.FINDING or not max_schedules:
        return Examined(as_recorded, None, None)
    try:
        shrunk = await shrink(then, max_schedules=max_schedules, on_try=on_try)
    except KsmActorsError as error:
        return Examined(as_recorded, None, None, f"not shrunk: {error}")
    outcome = shrunk.outcome
    smallest = replace(
        then, subject=shrunk.subject, strategy=outcome.strategy, schedule=decode(outcome.schedule),
        digest=outcome.digest.hex(),
    )  # fmt: skip
    orders = await _orders(smallest) if outcome.steps <= CAUSE_STEPS_MAX else ()
    return Examined(as_recorded, await _replay(smallest), shrunk, orders=orders)


async def _orders(shrunk: Recorded) -> tuple[tuple[str, str], ...]:
    """What made the difference in a shrunk finding; behind the last order stands how many schedules fail with them."""
    cause = await what_made_the_difference(shrunk.subject, shrunk.seed, shrunk.schedule)
    if cause is None or not cause.orders:
        return ()
    *first, last = map(str, cause.orders)
    return (*((order, "") for order in first), (last, cause.share))


async def _replay(then: Recorded) -> Replayed:
    events, observer = EventList(), ShapeObserver()
    outcome = await run_schedule(
        then.subject, then.seed, then.strategy, deciding=Replay(then.schedule), log=events, detail=True,
        observing=observer, on_machine=observer.attach,
    )  # fmt: skip
    observer.finish(outcome.steps)
    table = None
    if outcome.verdict is Verdict.FINDING:
        outcome = await explain(outcome, then.subject)
        table = await interleaving(then.subject, then.seed, then.schedule, outcome)
    return Replayed(then, outcome, events.events, observer.shapes, observer.looks, table)


def finding_json(replayed: Replayed) -> dict[str, Any] | None:
    """What a page says about a finding; None if there is none. All texts are escaped."""
    outcome, subject = replayed.outcome, replayed.recorded.subject
    defect = outcome.defect
    if defect is None:
        return None
    watcher = WATCHERS.get(defect.watcher)
    content: dict[str, Any] = {
        "kind": defect.kind, "watcher": defect.watcher, "signature": defect.signature, "message": defect.message,
        "step": defect.step, "actors": list(defect.actors), "functions": list(defect.functions),
        "promise": watcher.summary if watcher is not None else "",
        "steps": outcome.steps, "schedule": outcome.schedule,
        "table": None if replayed.table is None else replayed.table.as_json(),
        "subject": {
            "workload": subject.name, "parameters": [f"{key}={value}" for key, value in subject.params],
            "kernel": subject.kernel, "nodes": subject.nodes, "without": list(subject.without),
            "with": list(subject.with_), "seed": str(outcome.seed),
        },
    }  # fmt: skip
    if defect.broke is not None:
        content |= {
            "met": [asdict(step) for step in defect.met],
            "broke": asdict(defect.broke), "concerns": list(defect.concerns),
            "cause": defect.cause, "found": defect.found,
            "cases": [
                {"name": name, "title": CASES[name].title, "story": CASES[name].story}
                for name in defect.looks_like[:CASES_MAX]
            ],
            "symptoms": [{"name": name, "title": CASES[name].title} for name in defect.symptom_of[:CASES_MAX]],
        }  # fmt: skip
    return safe(content)  # type: ignore[no-any-return]


def examined_json(examined: Examined) -> dict[str, Any] | None:
    """The finding as recorded; its shrunk form, with what shrinking came to, under `shrunk`."""
    content = finding_json(examined.recorded)
    if content is None:
        return None
    content["problem"] = escaped(examined.problem)
    orders = [{"sentence": escaped(sentence), "share": escaped(share)} for sentence, share in examined.orders]
    content["orders"] = orders
    if examined.shrunk is not None and examined.shrinking is not None:
        shrunk = finding_json(examined.shrunk)
        if shrunk is not None:
            result = examined.shrinking
            shrunk |= {
                "departures": [safe(departure._asdict()) for departure in result.departures], "of": result.of,
                "tried": result.tried, "stopped_by": safe(result.stopped_by), "story": safe(list(result.story)),
                "orders": orders,
            }  # fmt: skip
            content["shrunk"] = shrunk
    return content


def safe(value: Any) -> Any:
    """The same with each text escaped, for JSON."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {escaped(str(key)): safe(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [safe(part) for part in value]
    return value
