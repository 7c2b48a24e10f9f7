"""JUnit XML: what a strict reader takes, whatever is in a message."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from junitparser import JUnitXml

from ksmactors.ci.checks import Check, Status
from ksmactors.ci.junit import TEXT_MAX, junit, text
from tests.ci.made_up import HOSTILE, checks

COUNTS = {"tests", "failures", "errors"}

ATTRIBUTES = {
    "testsuites": ({"name", "time", *COUNTS}, set()),
    "testsuite": ({"name", "time", "skipped", *COUNTS}, {"name", *COUNTS}),
    "testcase": ({"name", "time", "classname"}, {"name"}),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "skipped": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}
"""By element of junit-10.xsd, as far as it is used: attributes that it may have, and those that it must have."""

CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "error", "skipped", "system-out"},
}

TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?")
"""The pattern of times in junit-10.xsd."""


def breaches(element: ET.Element) -> list[str]:
    """Where an element, or one in it, is not what junit-10.xsd allows."""
    may, must = ATTRIBUTES[element.tag]
    found = [f"{element.tag} has {name}" for name in set(element.keys()) - may]
    found += [f"{element.tag} lacks {name}" for name in must - set(element.keys())]
    if TIME.fullmatch(element.get("time", "0")) is None:
        found.append(f"{element.tag} has the time {element.get('time')}")
    for child in element:
        allowed = child.tag in CHILDREN.get(element.tag, ())
        found += breaches(child) if allowed else [f"{element.tag} holds {child.tag}"]
    return found


def test_the_shape_is_that_of_the_schema() -> None:
    """Elements, attributes and times are those of junit-10.xsd, for each status and a hostile text."""
    root = ET.fromstring(junit("stress", checks(), 12.34567))
    assert breaches(root) == []
    assert root.tag == "testsuites"
    assert [len(case) for case in root.iter("testcase")] == [1, 1, 1, 1, 0]


def test_a_wrong_shape_is_noticed() -> None:
    """The check of the shape can fail."""
    wrong = ET.fromstring('<testsuite name="x" tests="1" errors="0" time="1e-5"><failure x="1"/></testsuite>')
    assert breaches(wrong) == ["testsuite lacks failures", "testsuite has the time 1e-5", "testsuite holds failure"]


def test_another_reader_sees_the_same() -> None:
    """A parser of JUnit XML reads the numbers, the messages and the details."""
    report = JUnitXml.fromstring(junit("stress", checks(), 12.34567))
    assert (report.tests, report.failures, report.errors, report.time) == (5, 2, 1, 12.346)
    (suite,) = report
    cases = list(suite)
    assert [case.classname for case in cases] == ["ksmactors.stress"] * 5
    assert cases[0].name == "fork_storm: locality/page_lost@replace_page"
    assert (cases[0].result[0].message, cases[0].result[0].text) == ("a page is lost", "a\n\nb")
    assert cases[1].result[0].message == text(HOSTILE)
    assert (cases[2].is_error, cases[3].is_skipped, cases[4].is_passed) == (True, True, True)
    assert cases[3].time == 1.235


def test_only_characters_of_xml() -> None:
    """What XML 1.0 cannot hold is shown; newlines and tabs stay."""
    assert (
        text("a\x00\x1b\x85\ud800\ufffe\uffff\t\n\r\U0001f600")
        == r"a\x00\x1b\x85\ud800\ufffe\uffff" + "\t\n\\r\U0001f600"
    )


def test_long_texts_are_cut() -> None:
    """A text that would be too long for a reader ends in dots."""
    assert len(text("x" * (TEXT_MAX + 10))) == TEXT_MAX + 3


def test_nothing_was_checked() -> None:
    """Without a check, the file is still one that can be read."""
    root = ET.fromstring(junit("stress", [], 0.0))
    assert breaches(root) == []
    assert root.get("tests") == "0"


def test_the_same_name_from_run_to_run() -> None:
    """Nothing in the file depends on anything but what is given."""
    assert junit("stress", checks(), 1.0) == junit("stress", checks(), 1.0)
    check = Check("replay", "a.json", Status.PASSED, details="reads b")
    assert b"<system-out>reads b</system-out>" in junit("replay", [check], 1.0)
