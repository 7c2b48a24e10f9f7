"""What made the difference, on every case of the corpus: its directed schedule is shrunk, the necessary orders are
derived, and it is counted how many of them are the whole cause.

Run a part of it with `python -m tests.bench.causes --only NAME...`. One line of JSON for each case.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import trio

from ksmactors.campaign.corpus import show, subject_of
from ksmactors.diagnose.cause import what_made_the_difference
from ksmactors.diagnose.replaying import Recorded
from ksmactors.diagnose.shrink import shrink
from ksmactors.errors import KsmActorsError
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES
from ksmactors.interleave.schedule_string import decode


async def measure(case: Case, budget: int) -> dict[str, object]:
    """Shrink a case's directed schedule within so many schedules, and ask what made the difference."""
    shown = await show(case)
    outcome = shown.outcome
    signature = outcome.defect.signature if outcome.defect is not None else ""
    recorded = Recorded(subject_of(case), 0, "directed", decode(outcome.schedule), outcome.digest.hex(), signature)
    shrunk = await shrink(recorded, max_schedules=budget)
    started = time.process_time()
    cause = await what_made_the_difference(shrunk.subject, 0, decode(shrunk.outcome.schedule))
    told = cause.as_json() if cause is not None else {}
    return {"case": case.name, "steps": shrunk.outcome.steps, **told, "seconds": time.process_time() - started}


def main() -> None:
    """Measure the cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--budget", type=int, default=100)
    given = parser.parse_args()
    measured = whole = 0
    for case in CASES.values():
        if not case.signature or (given.only and case.name not in given.only):
            continue
        try:
            row = trio.run(measure, case, given.budget)
        except KsmActorsError as error:
            row = {"case": case.name, "error": str(error)}
        measured += 1
        whole += bool(row.get("whole"))
        sys.stdout.write(f"{json.dumps(row)}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{json.dumps({'cases': measured, 'whole': whole})}\n")


if __name__ == "__main__":
    main()
