"""What SARIF 2.1.0 asks of a file, as far as ksmactors uses it. Written from the standard, since no package that can be
installed ships its schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

TEXT, WHOLE, TRUTH, ANYTHING = "text", "whole", "truth", "anything"

SHAPES: Final[dict[str, dict[str, Any]]] = {
    "log": {"$schema": TEXT, "version!": ("2.1.0",), "runs!": ["run"]},
    "run": {
        "tool!": "tool", "automationDetails": "automation", "columnKind": ("unicodeCodePoints", "utf16CodeUnits"),
        "invocations": ["invocation"], "results": ["result"],
    },
    "tool": {"driver!": "driver"},
    "driver": {"name!": TEXT, "version": TEXT, "rules": ["rule"]},
    "rule": {
        "id!": TEXT, "name": TEXT, "shortDescription": "multiformat", "fullDescription": "multiformat",
        "help": "multiformat", "defaultConfiguration": "configuration", "properties": ANYTHING,
    },
    "multiformat": {"text!": TEXT},
    "configuration": {"level": ("none", "note", "warning", "error")},
    "automation": {"id": TEXT},
    "invocation": {
        "executionSuccessful!": TRUTH, "exitCode": WHOLE, "toolExecutionNotifications": ["notification"],
    },
    "notification": {"level": ("none", "note", "warning", "error"), "message!": "message"},
    "message": {"text!": TEXT},
    "result": {
        "ruleId": TEXT, "ruleIndex": WHOLE, "kind": ("pass", "fail", "review", "open", "informational"),
        "level": ("none", "note", "warning", "error"), "message!": "message", "locations": ["location"],
        "codeFlows": ["codeFlow"], "partialFingerprints": ANYTHING, "occurrenceCount": WHOLE, "properties": ANYTHING,
    },
    "location": {
        "physicalLocation": "physical", "logicalLocations": ["logical"], "message": "message",
    },
    "physical": {"artifactLocation!": "artifact", "region": "region"},
    "artifact": {"uri!": TEXT, "uriBaseId": TEXT},
    "region": {"startLine!": WHOLE},
    "logical": {"name": TEXT, "fullyQualifiedName": TEXT, "kind": ("function",)},
    "codeFlow": {"message": "message", "threadFlows!": ["threadFlow", 1]},
    "threadFlow": {"id": TEXT, "message": "message", "locations!": ["flowLocation", 1]},
    "flowLocation": {
        "location": "location", "executionOrder": WHOLE, "importance": ("important", "essential", "unimportant"),
    },
}  # fmt: skip
"""By object: its properties. `!` is one that it must have. A tuple has the values that are allowed; a list the kind of
its elements and how many there must be at least."""

_URI: Final = re.compile(r"(?![/.])(?:[A-Za-z0-9._~/@!$&'()*+,;=-]|%[0-9A-F]{2})+")
"""A relative reference whose first segment has no colon."""


def breaches(value: Any, kind: Any = "log", at: str = "log") -> Iterator[str]:
    """Yield where a value is not what SARIF allows there."""
    if isinstance(kind, tuple):
        if value not in kind:
            yield f"{at} is {value!r}"
    elif isinstance(kind, list):
        name, least = (*kind, 0)[:2]
        if not isinstance(value, list) or len(value) < least:
            yield f"{at} is no list of at least {least}"
            return
        for number, one in enumerate(value):
            yield from breaches(one, name, f"{at}/{number}")
    elif kind in SHAPES:
        yield from _object(value, kind, at)
    else:
        types = {TEXT: str, WHOLE: int, TRUTH: bool, ANYTHING: dict}
        if type(value) is not types[kind] or (kind == TEXT and not value) or (kind == WHOLE and value < 0):
            yield f"{at} is no {kind}: {value!r}"


def _object(value: Any, kind: str, at: str) -> Iterator[str]:
    properties = {name.rstrip("!"): of for name, of in SHAPES[kind].items()}
    must = {name.rstrip("!") for name in SHAPES[kind] if name.endswith("!")}
    if not isinstance(value, dict):
        yield f"{at} is no object"
        return
    yield from (f"{at} lacks {name}" for name in sorted(must - value.keys()))
    for name, one in value.items():
        if name in properties:
            yield from breaches(one, properties[name], f"{at}/{name}")
        else:
            yield f"{at} has {name}"
    if kind == "artifact" and _URI.fullmatch(value.get("uri", "")) is None:
        yield f"{at} has the URI {value.get('uri')!r}"
    if kind == "region" and value.get("startLine", 0) < 1:
        yield f"{at} begins at line 0"


def relations(log: dict[str, Any]) -> Iterator[str]:
    """Yield where parts of a file do not fit each other: rules, fingerprints, the order of steps, links in texts."""
    for run in log["runs"]:
        rules = run["tool"]["driver"].get("rules", [])
        if len({rule["id"] for rule in rules}) < len(rules):
            yield "two rules have one id"
        for number, result in enumerate(run.get("results", [])):
            if rules[result["ruleIndex"]]["id"] != result["ruleId"]:
                yield f"result {number} is of another rule"
            if not all(isinstance(one, str) for one in result["partialFingerprints"].values()):
                yield f"result {number} has a fingerprint that is no text"
            if re.search(r"(?<!\\)(?:\\\\)*[\[\]]|(?<!\{)(?:\{\{)*\{(?!\{)", result["message"]["text"]):
                yield f"result {number} has a link or a placeholder"
            for flow in result.get("codeFlows", []):
                for thread in flow["threadFlows"]:
                    order = [one["executionOrder"] for one in thread["locations"]]
                    if order != sorted(order):
                        yield f"result {number} has steps that are out of order"
