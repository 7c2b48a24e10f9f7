"""Lines from templates are, byte for byte, those that structlog's chain ends in."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from typing import Any

import pytest

from ksmactors.events import catalogue as ev
from ksmactors.events import templates
from ksmactors.events.check import validate_all
from ksmactors.events.logs import LogWriter, json_line
from ksmactors.events.trace import Record

TEXTS = ("", "ksmd", '100%s "quoted" \\', "läg \u202e\x1b[31m\0\n", "{kpfn} {0}", "mmap_sem of vm0")
NUMBERS = (-1, 0, 1, 7, 2**63 - 1, -(2**63))


@dataclass
class _Actor:
    name: str
    cpu: int
    node: int


def through_structlog(logger: Any, level: str, event: Any, /) -> bytes:
    """The same form under another name: nothing is known of it."""
    return json_line(logger, level, event)


def record(event: ev.Event, draw: random.Random, *, now: int, number: int) -> Record:
    """An event with fields of its types."""
    values: dict[str, Any] = {"int": NUMBERS, "bool": (False, True), "str": TEXTS, "str|null": (*TEXTS, None)}
    fields = [draw.choice(values[field.type]) for field in event.recorded]
    if event.code == ev.WORKLOAD_LOG:
        fields[1] = draw.choice(("debug", "info", "warning", "error"))
    return (event.code, draw.randrange(9), now, number, *fields)


@pytest.mark.parametrize("seed", range(5))
def test_templates_give_the_bytes_of_structlog(seed: int) -> None:
    """Every event, by actors that come and whose labels change meanwhile, with texts that JSON and formats escape."""
    draw = random.Random(seed)
    written = []
    for form in (json_line, through_structlog):
        draw.seed(seed)
        stream = io.BytesIO()
        stream.close = lambda: None  # type: ignore[method-assign]  # what was written is looked at afterwards
        actors = [_Actor("main", 0, 0)]
        with LogWriter(stream, "test", form) as writer:
            sink = writer.sink(actors, run='r%d "x"', seed=2**64 - 1, schedule=3)
            for chunk in range(4):
                records = [
                    record(event, draw, now=draw.choice((0, 10**9 + chunk, 2**62)), number=draw.randrange(len(actors)))
                    for event in draw.sample(ev.CATALOGUE, len(ev.CATALOGUE))
                ]
                validate_all(records)
                sink(records)
                actors.append(_Actor(f'"%s{chunk}" é', chunk, 1))
                actors[0].cpu = draw.randrange(9)
        written.append(stream.getvalue())
    assert written[0].count(b"\n") == 4 * len(ev.CATALOGUE)
    assert written[0] == written[1]


def test_the_json_that_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that are all different are not all kept."""
    monkeypatch.setattr(templates, "VALUES_MAX", 3)
    values = templates._Values()
    assert [values[text] for text in "abcdefg"] == [f'"{text}"' for text in "abcdefg"]
    assert len(values) <= 3
