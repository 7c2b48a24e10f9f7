"""The page of a campaign for the browser: what `campaign DIR --html FILE` writes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from ksmactors import plugins
from ksmactors.campaign.curves import Curves
from ksmactors.campaign.overview import Overview
from ksmactors.campaign.summary import Found
from ksmactors.escaping import escaped
from ksmactors.report.page import CAMPAIGN_SCRIPTS, page

TEXT_MAX: Final = 2_000
"""Characters of one text of a store that the page shows."""

MARKS_MAX: Final = 100
"""Marks that the page lists: those that were passed least."""


def campaign_page(view: Overview, curves: Curves) -> bytes:
    """Return the file. Its texts come from a store, so all of them are escaped."""
    tally = view.tally
    of, first = view.of, view.of["subjects"][0]
    names = [_shown(plugins.from_here(str(subject["workload"]))) for subject in of["subjects"]]
    settings = [f"{key} {_listed(first.get(key))}" for key in ("kernel", "nodes", "without", "with") if first.get(key)]
    dealt = f"strategy {of['strategy']}, budget {view.budget}"
    content: dict[str, Any] = {
        "title": f"ksmactors: {', '.join(names)}",
        "made_by": f"ksmactors {version('ksmactors')}; the campaign: ksmactors {_shown(of['ksmactors'])}",
        "settings": "; ".join(map(_shown, (dealt, *settings))),
        "verdict": _shown(tally.judgement),
        "seconds": round(view.seconds, 3),
        "schedules": tally.schedules,
        "left": sum(map(len, view.left)),
        "distinct": tally.distinct,
        "unseen": tally.unseen,
        "digest": tally.digest,
        "crash": tally.crash is not None,
        "findings": [_finding(view, one) for one in (*tally.found.values(), *([tally.crash] if tally.crash else []))],
        "rates": [_named(rate.as_json()) for rate in view.rates.values()],
        "slowest": [
            {"seed": seed, "workload": _shown(plugins.from_here(workload)), "seconds": seconds, "steps": steps}
            for seconds, seed, workload, steps in view.slowest
        ],
        "races": [[name, count] for name, (count, _) in sorted(tally.races.items(), key=lambda race: -race[1][0])],
        "never": tally.races_never_met,
        "marks": [
            [_shown(f"{plugins.from_here(name)}: {mark}"), count]
            for (name, mark), count in sorted(tally.marks.items(), key=lambda one: (one[1], one[0]))[:MARKS_MAX]
        ],
        "curves": _curves(curves),
    }  # fmt: skip
    return page(content["title"], content, scripts=CAMPAIGN_SCRIPTS, body_of="page/campaign.html")


def _curves(curves: Curves) -> dict[str, Any]:
    """The curves, each workload by a name that can be shown; two that would look alike get numbers."""
    shown: dict[str, str] = {}
    for name in curves.done:
        text = _shown(plugins.from_here(name))
        shown[name] = text if text not in shown.values() else f"{text} ({len(shown)})"
    content = curves.as_json()
    content["done"] = {shown[name]: points for name, points in content["done"].items()}
    content["shares"] = [[last, {shown[name]: n for name, n in counts.items()}] for last, counts in content["shares"]]
    return content


def _finding(view: Overview, found: Found) -> dict[str, Any]:
    defect = found.defect
    after = view.found_after.get(defect.signature)
    return {
        "signature": _shown(defect.signature),
        "message": _shown(defect.message),
        "seed": str(found.outcome.seed),
        "count": found.count,
        "after": None if after is None else round(after, 3),
        "replay": _shown(found.replay or found.problem),
    }


def _named(rate: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **rate,
        "workload": _shown(plugins.from_here(str(rate["workload"]))),
        "strategy": _shown(rate["strategy"]),
    }


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _shown(value: object) -> str:
    """A text of at most TEXT_MAX characters, with control characters shown."""
    text = str(value)
    return escaped(text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}...")
