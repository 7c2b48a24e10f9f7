"""JUnit XML, for the test reports of CI systems.

A reader may be strict. The file has what the schema of Jenkins' xUnit plug-in (junit-10.xsd) allows: one test suite, at
most one result for each test case, times with at most three decimals, and only characters that XML 1.0 has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from typing import Final

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from ksmactors.ci.checks import Check, Status
from ksmactors.escaping import escaped_lines, shortened

TEXT_MAX: Final = 100_000
"""Characters of a message or of details. Longer ones are cut, since some readers refuse large text nodes."""

_NOT_XML: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_RESULTS: Final = {Status.FAILED: Failure, Status.CRASHED: Error, Status.INCONCLUSIVE: Skipped}


def junit(command: str, checks: Sequence[Check], seconds: float) -> bytes:
    """Return the file.

    Args:
        command: the name of the suite.
        checks: a test case each, in this order.
        seconds: wall-clock time of the command.
    """
    suite = TestSuite(f"ksmactors {command}")
    for check in checks:
        suite.append(_case(check))
    suite.update_statistics()
    suite.time = round(seconds, 3)
    report = JUnitXml("ksmactors")
    report.append(suite)
    for name in ("tests", "failures", "errors"):  # junit-10.xsd has no number of skipped tests here
        setattr(report, name, getattr(suite, name))
    report.time = suite.time
    file = BytesIO()
    report.write(file)
    return file.getvalue() + b"\n"


def _case(check: Check) -> TestCase:
    case = TestCase(text(check.name), f"ksmactors.{text(check.group)}")
    if check.seconds is not None:
        case.time = round(check.seconds, 3)
    details = "\n\n".join(filter(None, (check.details, check.log)))
    if check.status is not Status.PASSED:
        kind = check.signature if check.status is Status.FAILED else check.status.value
        result = _RESULTS[check.status](text(check.message), text(kind))
        if details:
            result.text = text(details)
        case.result = result
    elif details:
        case.system_out = text(details)
    return case


def text(value: str) -> str:
    """Return a text of a length and of characters that every reader of XML takes."""
    shown = _NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", escaped_lines(value))
    return shortened(shown, TEXT_MAX)
