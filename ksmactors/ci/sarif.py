"""SARIF 2.1.0, which code-scanning views show: a rule for each kind of finding, a result for each finding.

The steps of a finding are a code flow with a thread flow for each actor; `executionOrder` is the step. A result has a
physical location if the finding belongs to a file of the user's repository, and logical locations for the kernel
functions. Its fingerprint is the signature, which is equal for the same defect reached by different schedules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import orjson

from ksmactors.ci.checks import Check, Status
from ksmactors.ci.user_places import UserPlace, Workspace
from ksmactors.diagnose.interleaving import Interleaving, TurnRow
from ksmactors.escaping import escaped, escaped_lines, shortened
from ksmactors.run.outcome import Defect, Step
from ksmactors.watch import WATCHERS

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"

EMPTY: Final[Mapping[str, Interleaving]] = MappingProxyType({})

ROOT_ID: Final = "%SRCROOT%"
"""The base of the paths: the root of the user's repository."""

MESSAGE_MAX: Final = 20_000
"""Characters of a message."""

_EVENT: Final = re.compile(r" *(?P<step>\d{1,18}) +\d+\.\d{3} ms (?P<actor>\S+) +(?P<event>\S.*)")
"""A line of a finding's story: see `events.terminal.PersonForm`."""

_LEVELS: Final = {Status.FAILED: "error", Status.CRASHED: "error", Status.INCONCLUSIVE: "warning"}


def sarif(
    checks: Sequence[Check], workspace: Workspace, *, status: int, flows: Mapping[str, Interleaving] = EMPTY
) -> bytes:
    """Return the file.

    Args:
        checks: what came of the command. Those that found something become results; others that did not pass become
            notifications.
        workspace: the user's repository.
        status: the exit status of the command.
        flows: interleavings of findings that were looked at, by the names of the checks.
    """
    found = [check for check in checks if check.found is not None]
    rules = {_rule_of(check): number for number, check in enumerate({_rule_of(one): one for one in found}.values())}
    first = {_rule_of(check): check for check in reversed(found)}
    run = {
        "tool": {"driver": {
            "name": "ksmactors",
            "version": version("ksmactors"),
            "rules": [_rule(name, first[name]) for name in rules],
        }},
        "automationDetails": {"id": f"ksmactors/{checks[0].group if checks else ''}/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [{
            "executionSuccessful": not any(check.status is Status.CRASHED for check in checks),
            "exitCode": status,
            "toolExecutionNotifications": [
                {"level": _LEVELS[check.status], "message": _message(f"{check.name}: {check.message}")}
                for check in checks
                if check.found is None and check.status in _LEVELS
            ],
        }],
        "results": [_result(check, rules[_rule_of(check)], workspace, flows.get(check.name)) for check in found],
    }  # fmt: skip
    content = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _defect(check: Check) -> Defect:
    assert check.found is not None
    return check.found.defect


def _rule_of(check: Check) -> str:
    """The rule that a finding breaks: its watcher, and its kind."""
    defect = _defect(check)
    return escaped(f"{defect.watcher}/{defect.kind}")


def _rule(name: str, check: Check) -> dict[str, Any]:
    """A rule, described by the finding that it was met with first."""
    defect = _defect(check)
    title = escaped(f"{defect.kind.replace('_', ' ')} (watcher {defect.watcher})")
    watcher = WATCHERS.get(defect.watcher)
    checks = f": {watcher.summary}" if watcher is not None else ""
    return {
        "id": name,
        "name": "".join(part.capitalize() for part in re.findall("[A-Za-z0-9]+", defect.kind)) or "Finding",
        "shortDescription": {"text": title},
        "fullDescription": {"text": escaped(f"{defect.kind}, reported by {defect.watcher}{checks}")},
        "help": {"text": "Replay the finding with --explain. That shows the actors' steps side by side, and the step "
                         "that broke the promise."},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["concurrency", "ksm"], "precision": "very-high", "problem.severity": "error"},
    }  # fmt: skip


def _result(check: Check, rule: int, workspace: Workspace, seen: Interleaving | None) -> dict[str, Any]:
    assert check.found is not None
    found, defect = check.found, check.found.defect
    place = workspace.place_of(found) or workspace.fallback(found)
    functions = list(dict.fromkeys(name for name in defect.functions if name and name != "none"))
    signature = escaped(f"{found.outcome.workload.rpartition('/')[2]} {defect.signature}")
    text = "\n".join(filter(None, (check.message, check.details)))
    return {
        "ruleId": _rule_of(check),
        "ruleIndex": rule,
        "kind": "fail",
        "level": "note" if check.expected else _LEVELS.get(check.status, "error"),
        "message": _message(text),
        "locations": [location] if (location := _location(place, functions)) else [],
        "codeFlows": _code_flows(defect, seen, place),
        "partialFingerprints": {
            "ksmactorsSignature/v1": signature,
            # The only one that GitHub compares. Its own would change with the text of the line.
            "primaryLocationLineHash": f"{sha256(signature.encode()).hexdigest()[:16]}:1",
        },
        "occurrenceCount": found.count,
        "properties": {
            "workload": escaped(found.outcome.workload.rpartition("/")[2]),
            "seed": str(found.outcome.seed),  # it may have 63 bits, which not every reader of JSON keeps
            "strategy": escaped(found.outcome.strategy),
            "replay": escaped(found.replay),
        },
    }


def _message(text: str) -> dict[str, str]:
    """A message. Braces and brackets are escaped, since SARIF knows placeholders and links in it."""
    plain = re.sub(r"[\\\[\]]", r"\\\g<0>", escaped_lines(shortened(text, MESSAGE_MAX)))
    return {"text": plain.replace("{", "{{").replace("}", "}}") or "-"}


def _location(place: UserPlace | None, functions: Sequence[str], text: str = "") -> dict[str, Any]:
    """A line of the user's file as far as there is one, and kernel functions."""
    location: dict[str, Any] = {}
    if place is not None:
        location["physicalLocation"] = {
            "artifactLocation": {"uri": quote(place.path, errors="surrogateescape"), "uriBaseId": ROOT_ID},
            "region": {"startLine": place.line},
        }
    if functions:
        location["logicalLocations"] = [
            {"name": escaped(name), "fullyQualifiedName": escaped(name), "kind": "function"} for name in functions
        ]
    if text:
        location["message"] = _message(text)
    return location


def _code_flows(defect: Defect, seen: Interleaving | None, place: UserPlace | None) -> list[dict[str, Any]]:
    """The interleaving: a thread flow for each actor, whose locations are in the order in which they were run. None if
    no step is known."""
    by_actor: dict[str, dict[tuple[int, str], dict[str, Any]]] = {}
    for step, actor, functions, text, essential in _steps(defect, seen):
        by_actor.setdefault(actor, {})[step, text] = {
            "location": _location(place, functions, f"{actor}, step {step}: {text}"),
            "executionOrder": max(step, 0),
            "importance": "essential" if essential else "unimportant",
        }
    flows = [
        {
            "id": escaped(actor),
            "message": {"text": f"actor {escaped(actor)}"},
            "locations": [location for _, location in sorted(steps.items(), key=lambda one: one[0][0])],
        }
        for actor, steps in by_actor.items()
    ]
    text = "the steps of each actor; their order is executionOrder"
    return [{"message": {"text": text}, "threadFlows": flows}] if flows else []


_KnownStep = tuple[int, str, Sequence[str], str, bool]
"""The step, the actor, its functions, what it does, and whether that is essential."""


def _steps(defect: Defect, seen: Interleaving | None) -> Iterator[_KnownStep]:
    """Yield what is known of the interleaving."""
    for actor, function in zip(defect.actors, defect.functions, strict=True):
        yield defect.step, actor, [function] if function not in ("", "none") else [], defect.message, True
    yield from _explained_steps(defect) if seen is None else _seen_steps(seen)


def _seen_steps(seen: Interleaving) -> Iterator[_KnownStep]:
    """Yield the operations that `replay --explain` shows."""
    for row in seen.rows:
        if isinstance(row, TurnRow):
            for one in row.operations:
                marks = f" ({', '.join(one.marks)})" if one.marks else ""
                yield one.step, row.actor, [one.function] if one.function else [], f"{one.operation}{marks}", one.met


def _explained_steps(defect: Defect) -> Iterator[_KnownStep]:
    """Yield the steps that the explanation names, and the last events of their actors."""
    broke = defect.broke
    essential = [*defect.met, *((broke.by, broke.looked, broke.came_back) if broke is not None else ())]
    known = [step for step in essential if step is not None]
    for one in known:
        yield one.step, one.actor, _functions_of(one), f"{one.operation}{one.holding}", True
    actors = {*defect.actors, *(one.actor for one in known)}
    for line in defect.story:
        event = _EVENT.fullmatch(line)
        if event is not None and event["actor"] in actors and not event["event"].startswith(("finding.", "run.")):
            yield int(event["step"]), event["actor"], [], " ".join(event["event"].split()), False


def _functions_of(step: Step) -> list[str]:
    """The functions of a step, innermost first."""
    return [name for name in (step.function, *step.callers) if name]
