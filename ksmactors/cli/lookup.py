"""What the documents and the code say of a word: a label, a function, a lock, a term."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from ksmactors.escaping import quoted

_CODE: Final = re.compile(r"`([^`]+)`")
_FENCED: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_ALSO: Final = re.compile(r"Also called ([^.]+)\.")


@dataclass(frozen=True, slots=True)
class Document:
    """One document: the topic's name, its title in one line, and the Markdown source."""

    topic: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is said of a word: the document and the section, and cells by column. "code" is the document of what is
    read from the code."""

    topic: str
    section: str
    columns: dict[str, str]


@dataclass(frozen=True, slots=True)
class _TableRow:
    """A row of a table, with the document, the section and the paragraph before the table."""

    topic: str
    section: str
    lead: str
    first: str
    columns: dict[str, str]

    def names(self) -> list[str]:
        """What the row is about: its first cell, each part of it between commas, and names in the text that says so.

        A part is code or words. Where code stands among words, the row is about something else.
        """
        parts = [part.strip() for part in self.first.split(",")]
        also = [
            name.strip() for cell in self.columns.values() for text in _ALSO.findall(cell) for name in text.split(",")
        ]
        return [self.first, *(code[1] if (code := _CODE.fullmatch(part)) else part for part in parts), *also]


def entries_of(word: str, known: dict[str, Document]) -> list[Entry]:
    """Return what is said of a word, in whatever case it is written.

    These are the rows whose first cell names it; the steps of a function, if a section is headed with it; the rows of
    the lock order, for a lock; and what a variant may override there, for a function of the emulated kernel. Without
    any of these: the sections that name it as code.
    """
    wanted = word.casefold().strip()
    if not wanted:
        return []
    rows = [row for document in known.values() for row in _rows(document)]
    found = [
        Entry(row.topic, row.section, row.columns)
        for row in rows
        if wanted in (name.casefold() for name in row.names())
    ]
    found += [*_steps(wanted, rows), *_rules(wanted, rows), *_parts(word.strip())]
    return found or list(_mentions(wanted, known))


def no_topic(word: str, known: dict[str, Document]) -> str:
    """Return the one line about a word that nothing is said of: what is near, and what there is."""
    rows = [row for document in known.values() for row in _rows(document)]
    names = {name.casefold(): name for row in rows for name in row.names() if len(name) <= 40 and "`" not in name}
    names |= {topic.casefold(): topic for topic in known}
    if "_" in word:
        from ksmactors.cli.kernel_parts import part_names

        names |= {name.casefold(): name for name in part_names()}
    near = [names[one] for one in get_close_matches(word.casefold(), names, n=2, cutoff=0.6)]
    guess = f" (did you mean {' or '.join(near)}?)" if near else ""
    return (
        f"no topic {quoted(word)}{guess}; a word of their tables will do, too: a label (ST3d), a function, a lock, "
        f"a term; there are: {', '.join(known)}"
    )


def _rows(document: Document) -> Iterator[_TableRow]:
    """Yield the rows of all tables of a document."""
    section, header, before, lead = document.title, [""], "", ""
    for line in _FENCED.sub("", document.text).splitlines():
        if line.startswith("#"):
            section, lead = line.lstrip("# "), ""
        elif line.startswith("|---"):
            header = _cells(before)
        elif line.startswith("| ") and header:
            first, *cells = _cells(line)
            yield _TableRow(document.topic, section, lead, first, dict(zip(header[1:], cells, strict=False)))
        if line.startswith("**"):
            lead = line
        elif line and not line.startswith(("|", "#")):
            lead = f"{lead} {line}" if before and lead else ""
        if not line.startswith("|"):
            header = []
        before = line


def _cells(row: str) -> list[str]:
    """The cells of a row of a Markdown table."""
    return [cell.strip() for cell in row.strip("|").split("|")]


def _steps(wanted: str, rows: list[_TableRow]) -> Iterator[Entry]:
    """The steps of a function: the rows of a section that is headed `What: function`."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        if row.section.casefold().endswith(f": {wanted}"):
            found.setdefault((row.topic, row.section), {})[row.first] = _joined(row)
    yield from (Entry(topic, section, steps) for (topic, section), steps in found.items())


def _rules(wanted: str, rows: list[_TableRow]) -> Iterator[Entry]:
    """The lock order, and the rules about locks that name one; all of them for the word lock."""
    words = re.compile(rf"(?<!\w){re.escape(wanted.removesuffix('s'))}s?(?!\w)", re.IGNORECASE)
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in rows:
        if row.lead.startswith("**Locks**") and words.search(row.lead):
            shown = found.setdefault((row.topic, row.section, row.lead), {"order": row.lead.partition(": ")[2]})
            if words.search(_joined(row)) or wanted in ("lock", "locks"):
                shown[row.first] = _joined(row)
    yield from (Entry(topic, section, rules) for (topic, section, _), rules in found.items())


def _joined(row: _TableRow) -> str:
    return " ".join(filter(None, row.columns.values()))


def _mentions(wanted: str, known: dict[str, Document]) -> Iterator[Entry]:
    """The sections of each document in which a word stands as code, in their order."""
    for document in known.values():
        section, sections = document.title, dict[str, None]()
        for line in _FENCED.sub("", document.text).splitlines():
            if line.startswith("#"):
                section = line.lstrip("# ")
            if any(code.casefold() == wanted for code in _CODE.findall(line)):
                sections[section] = None
        if sections:
            yield Entry(document.topic, "sections that name it", {"": "; ".join(sections)})


def _parts(word: str) -> Iterator[Entry]:
    """A function of the emulated kernel, and what a variant may override in it."""
    if not re.fullmatch(r"\w*_\w*|\w{5,}", word):
        return
    from ksmactors.cli.kernel_parts import callers_of, part_named, parts_called_by
    from ksmactors.seams import OVERRIDABLE

    part = part_named(word) or part_named(word.lower())
    if part is None:
        return
    may = "a variant may override it" if part.mark in OVERRIDABLE else "a variant may not override it"
    called_by = ", ".join(callers_of(part.name))
    yield Entry("code", may, {part.signature: part.about, "called by": called_by})
    inside = {one.signature: one.about for one in parts_called_by(part.name)}
    if inside:
        yield Entry("code", f"what a variant may override in {part.name}", inside)
