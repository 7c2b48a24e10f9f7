"""The table of what breaks what in each case of the corpus has a row for each, and is renewed from replays."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

import ksmactors.history
from ksmactors.history.cases import CASES
from ksmactors.history.culprits import CULPRITS
from tests.helpers.explained import explained_by_name

TABLE = Path(ksmactors.history.__file__).parent / "culprits.py"

HEAD = '''"""The fingerprint of each case of the corpus, by which a finding is recognised as one of them.

Measured on the directed schedules (UPDATE_CULPRITS=1 renews the table, with `tests/diagnose/test_culprits.py`).
"""

from __future__ import annotations

from typing import Final

CULPRITS: Final[dict[str, str]] = {
'''

TAIL = '''}
"""By name of the case: the function and the kind of thing that it changes, and its caller; or those of the two steps
that met; or of the last that touched it, and what its actor had done by then; or the function in which it is found."""
'''


def fingerprint(name: str) -> str:
    """What the finding of a case is recognised by."""
    defect = explained_by_name(name)
    return defect.fingerprint if defect is not None and defect.broke is not None else ""


def measured() -> dict[str, str]:
    """All cases that find something."""
    return {case.name: fingerprint(case.name) for case in CASES.values() if case.watcher}


def rendered(table: dict[str, str]) -> str:
    """The module with the table."""
    return HEAD + "".join(_row(name, text) for name, text in table.items()) + TAIL


def _row(name: str, text: str) -> str:
    line = f'    "{name}": "{text}",\n'
    return line if len(line) <= 120 else f'    "{name}": (\n        "' + '"\n        "'.join(wrap(text)) + '"\n    ),\n'


def wrap(text: str) -> list[str]:
    """A text in pieces that fit a line."""
    pieces = textwrap.wrap(text, 100)
    return [f"{piece} " if piece is not pieces[-1] else piece for piece in pieces]


@pytest.mark.skipif(not os.environ.get("UPDATE_CULPRITS"), reason="only to renew the table")
def test_renew_the_table() -> None:
    """The table as it is now."""
    TABLE.write_text(rendered(measured()))


def test_the_table_has_all_cases() -> None:
    """Each case that finds something has a row, and no other. What is in the rows, `test_explain` compares with the
    replays: it explains each case once for all that is asked of it."""
    assert list(CULPRITS) == [case.name for case in CASES.values() if case.watcher]
