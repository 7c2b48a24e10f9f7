"""Each label that the code, its tests and its documents use is defined in `docs protocol`, once, and each one defined
there is used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from ksmactors.history import COMMITS
from ksmactors.history.cases import ALIASES, CASES
from ksmactors.history.checkpoints import CHECKPOINTS
from ksmactors.watch import WATCHERS

ROOT: Final = Path(__file__).parents[2]
PROTOCOL: Final = ROOT / "ksmactors" / "docs" / "protocol.md"

FAMILIES: Final = "CM|ST|SC|TK|GK|SN|[CDFGHKLNORSWX]"
LABEL: Final = rf"(?:(?:{FAMILIES})\d{{1,2}}[a-z]?'?|P6|V9)(?:-\w+)?"
USE: Final = re.compile(rf"(?<![\w.\-/\\&#%+<]){LABEL}(?![\w(=])")
RANGE: Final = re.compile(rf"({LABEL}) to ({LABEL})")
LETTERS: Final = re.compile(r"\b([A-Z]{1,2}\d{1,2})[a-z]((?:, [b-z]\b)+)")
ROW: Final = re.compile(rf"^\| ({LABEL}) \| (.*) \|$", re.MULTILINE)

NO_LABELS: Final = {
    "C0": "the first 32 control characters",
    "C1": "the control characters of eight bits; only where C0 is named beside it",
    "N0": "a column of /proc/PID/numa_maps",
    "S5x": "a case that does not exist",
    "S99": "a case that does not exist",
    "X7": "the changelog's word for X7a and X7b",
}
"""What looks like a label and is none."""


@cache
def protocol() -> str:
    """The document."""
    return PROTOCOL.read_text()


def rows() -> dict[str, str]:
    """The definitions: what stands beside each label."""
    return dict(ROW.findall(protocol()))


@cache
def sources() -> tuple[tuple[str, str], ...]:
    """Where labels are used, as (path, text)."""
    return tuple(_sources())


def _sources() -> Iterator[tuple[str, str]]:
    for pattern in ("ksmactors/**/*.py", "workloads/**/*.py", "tests/**/*.py", "ksmactors/docs/*.md", "*.md"):
        for path in sorted(ROOT.glob(pattern)):
            if path not in (Path(__file__), PROTOCOL):
                yield path.relative_to(ROOT).as_posix(), path.read_text()


def resolved(label: str, defined: set[str]) -> str:
    """A label as it is defined: `S5a-like` is no label, and a quote behind `S5a` may be punctuation."""
    for form in (label, label.partition("-")[0], label.partition("-")[0].rstrip("'")):
        if form in defined:
            return form
    return label.partition("-")[0]


def uses(text: str, defined: set[str]) -> set[str]:
    """The labels in a text, those between the ends of a range included as far as they are defined."""
    found = {resolved(label, defined) for label in USE.findall(text)}
    for first, last in RANGE.findall(text):
        found |= between(first, last) & defined
    for stem, letters in LETTERS.findall(text):
        found |= {stem + letter for letter in letters.split(", ") if letter} & defined
    return found


@cache
def used_by_sources() -> dict[str, set[str]]:
    """The labels that each source uses."""
    defined = rows().keys() | NO_LABELS.keys()
    return {path: uses(text, set(defined)) for path, text in sources()}


def between(first: str, last: str) -> set[str]:
    """All labels of a range: `CM1 to CM12`, `S5a to S5c`."""
    begin, end = (re.fullmatch(r"([A-Z]+)(\d+)([a-z]?).*", label) for label in (first, last))
    assert begin is not None
    assert end is not None
    if begin[3] and end[3]:
        return {begin[1] + begin[2] + chr(letter) for letter in range(ord(begin[3]), ord(end[3]) + 1)}
    return {f"{begin[1]}{number}" for number in range(int(begin[2]), int(end[2]) + 1)}


def steps_in_places() -> set[str]:
    """The steps after which places for directed schedules are named."""
    return {name.rpartition(".")[2] for name in CHECKPOINTS}


def test_each_label_is_defined_once() -> None:
    """No label has two rows."""
    assert [label for label, times in Counter(label for label, _ in ROW.findall(protocol())).items() if times > 1] == []


def test_each_label_used_is_defined() -> None:
    """Whatever label a source, a test or a document uses has a row in the protocol, which itself uses no other."""
    defined = rows().keys() | NO_LABELS.keys()
    everywhere = {**used_by_sources(), "protocol.md": uses(protocol(), set(defined))}
    unknown = {f"{path}: {label}" for path, labels in everywhere.items() for label in labels - defined}
    assert unknown == set()


def test_each_label_defined_is_used() -> None:
    """No row of the protocol is about a label that nothing uses."""
    defined = set(rows())
    used = (steps_in_places() | set(ALIASES)).union(*used_by_sources().values())
    assert defined - used == set()


@pytest.mark.parametrize("name", CASES)
def test_each_case_has_a_row(name: str) -> None:
    """Every case of the corpus is defined, by its number or by the name that it has instead; a control says so."""
    number = next((alias for alias, case in ALIASES.items() if case == name), name) if "-" in name[2:] else name
    row = rows().get(name) or rows()[number]
    assert ("Control." in row) == (not CASES[name].watcher)


def test_other_names_lead_to_what_they_say() -> None:
    """A row that says "another name of X" is an alias of the corpus, and an alias has a row."""
    for alias, name in ALIASES.items():
        row = rows().get(alias) or rows()[name]
        assert name in row or alias in row
    said = {label: re.search(r"Another name of (\w+)", row) for label, row in rows().items()}
    others = {label: match[1] for label, match in said.items() if match is not None}
    assert others
    assert others.items() <= ALIASES.items()


def test_each_commit_has_a_row() -> None:
    """What `list commits` calls a commit is defined."""
    assert {commit.case for commit in COMMITS.values()} <= rows().keys()


def test_watchers_of_promises_exist() -> None:
    """The row of each promise names the watchers that check it; the rest of them are named below the table."""
    cells = (row.partition(" | ")[0] for label, row in rows().items() if label[0] == "O")
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert named <= WATCHERS.keys()
    text = protocol()
    assert [name for name in WATCHERS if f"`{name}`" not in text] == []


def test_the_steps_of_a_function_are_no_commits() -> None:
    """R1 to R7 are commits: where v3.9's functions are, the steps of get_ksm_page are called GK1 to GK7."""
    core = (text for path, text in sources() if path.startswith(("ksmactors/ksm/", "ksmactors/mm/")))
    assert [found for text in core for found in re.findall(r"\bR[1-7]\b", text)] == []


def test_a_label_can_be_missed() -> None:
    """The search for labels sees ranges, lists and names of places, and not what is part of a word."""
    assert uses("CM1 to CM3; SC4a, b; (ST3d).", {"CM1", "CM2", "CM3", "SC4a", "SC4b", "ST3d"}) == {
        "CM1", "CM2", "CM3", "SC4a", "SC4b", "ST3d",
    }  # fmt: skip
    assert uses("noqa: F401, v3.9, R=3, S5a-like, 'R5''", {"S5a", "R5'"}) == {"S5a", "R5'"}
    assert uses("O99", set()) == {"O99"}
