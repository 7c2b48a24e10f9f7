from __future__ import annotations

import re
from collections import Counter

from ksmactors.events.catalogue import CATALOGUE, RACE_COUNTS, code_of
from ksmactors.events.logs import ALWAYS, LEVELS
from ksmactors.events.races import RACES, Cost

OF_PYTHON = {"self", "event", "args", "kw"}
"""Names that structlog's methods keep for themselves: a field of that name could not be passed."""

OF_ANALYSIS = {"file", "line"}


def test_no_event_has_a_field_with_a_reserved_name() -> None:
    """A field never hides a key that every line has, nor a column that `analyze` adds."""
    reserved = set(ALWAYS) | OF_PYTHON | OF_ANALYSIS
    assert [(event.name, field.name) for event in CATALOGUE for field in event.fields if field.name in reserved] == []


def test_codes_are_indices_and_names_are_unique() -> None:
    """The code that is recorded leads to the event, and so does its name."""
    assert [event.code for event in CATALOGUE] == list(range(len(CATALOGUE)))
    assert [code_of(event.name) for event in CATALOGUE] == list(range(len(CATALOGUE)))


def test_an_event_has_no_field_twice() -> None:
    """A field that came twice would hide itself in the JSON."""
    twice = [event.name for event in CATALOGUE if max(Counter(f.name for f in event.fields).values(), default=0) > 1]
    assert twice == []


def test_levels_types_and_names_are_known() -> None:
    """Each level is one that structlog filters by, each type one that a log can hold, each name a plain word."""
    assert {event.level for event in CATALOGUE} <= set(LEVELS)
    assert {field.type for event in CATALOGUE for field in event.fields} <= {"int", "str", "str|null", "bool"}
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", event.name) for event in CATALOGUE)


def test_a_field_of_one_name_has_one_type_and_one_unit() -> None:
    """One column of a log means one thing, whatever the event."""
    seen: dict[str, set[tuple[str, str]]] = {}
    for event in CATALOGUE:
        for field in event.fields:
            seen.setdefault(field.name, set()).add((field.type, field.unit))
    assert {name: kinds for name, kinds in seen.items() if len(kinds) > 1} == {}


def test_a_race_costs_something() -> None:
    """No race is free, and the counts are fields of the catalogue, each with a meaning."""
    assert all(any(race.counts) for race in RACES.values())
    assert [field.name for field in RACE_COUNTS] == [*Cost._fields]


def test_races_have_the_promised_fields() -> None:
    """Each race.* event carries winner, loser, tree, tree_nid, page_nid and kpfn in this order, then object, cost, and
    the cost as counts."""
    races = [event for event in CATALOGUE if event.name.startswith("race.")]
    promised = ["winner", "loser", "tree", "tree_nid", "page_nid", "kpfn", "object", "cost"]
    promised += Cost._fields
    assert len(races) > 10
    assert [[field.name for field in event.fields] for event in races] == [promised] * len(races)
