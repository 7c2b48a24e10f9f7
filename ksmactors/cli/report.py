"""What a campaign came to: one JSON object, or a table and a paragraph for each finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Any, Final, TextIO

import orjson

from ksmactors import kernels, plugins, watch
from ksmactors.campaign.summary import Found, Summary
from ksmactors.cli.screen import console, echo, notice
from ksmactors.errors import WatcherFailed
from ksmactors.escaping import encodable, escaped
from ksmactors.history import COMMITS
from ksmactors.interleave.strategies import registry
from ksmactors.kernels import Removed, removed_layers
from ksmactors.quantity import quantity
from ksmactors.run.outcome import Defect, Verdict
from ksmactors.run.packages import named_in, rivals_of
from ksmactors.run.subject import Subject

COMMAND: Final = "replay: "
"""What the line with the command begins with that replays a finding."""

INDENT: Final = 2
"""Columns by which the lines of a finding are indented below its signature, and the rest of a long line below it."""

ALIKE: Final = 3
"""Cases of the corpus that a finding is said to look like, with their titles."""


def json_object(subjects: Sequence[Subject], strategy: str, tally: Summary, seconds: float, **more: Any) -> str:
    """The object that `run`, `stress`, `explore` and `replay` print with `--json`."""
    first = subjects[0]
    content = {
        "workloads": [subject.name for subject in subjects],
        "kernel": first.kernel,
        "without": list(first.without),
        "with": list(first.with_),
        "also_removes": [one._asdict() for one in _removed(first)],
        "nodes": first.nodes,
        "strategy": strategy,
        **tally.as_json(),
        "never_reached": tally.never_reached(subjects),
        "seconds": round(seconds, 3),
        **more,
    }
    return orjson.dumps(encodable(content), option=orjson.OPT_INDENT_2).decode()


def _removed(subject: Subject) -> list[Removed]:
    return removed_layers(kernel=subject.kernel, without=subject.without, with_=subject.with_)


def warn_of_removed(subject: Subject) -> None:
    """Report which repairs of the kernel a variant removes without a --without."""
    for one in _removed(subject):
        notice(str(one))


def warn_of_rivals(subjects: Sequence[Subject], strategy: str) -> None:
    """Report which of several plug-ins of one name is used."""
    named = [one for subject in subjects for one in named_in(subject.header(), strategy)]
    own_variants = [name for name, variant in kernels.VARIANTS.items() if variant.origin == kernels.OWN]
    built_in = {
        "variants": (*own_variants, *COMMITS), "watchers": watch.BUILT_IN, "strategies": registry.BUILT_IN,
    }  # fmt: skip
    for line in rivals_of(named, built_in):
        notice(line)


def print_table(tally: Summary, seconds: float, *, stream: TextIO, color: str) -> None:
    """The table at the end of a campaign, and each finding with how to see it again."""
    from rich.table import Table

    out = console(stream, color)
    table = Table(title=None, show_header=True, header_style="bold")
    table.add_column("")
    table.add_column("count", justify="right")
    table.add_column("per schedule", justify="right")
    table.add_column("in schedules", justify="right")
    schedules = tally.schedules
    table.add_row("schedules", f"{schedules:,}", "", "")
    table.add_row("distinct interleavings", f"{tally.distinct:,}", "", "")
    for name, count in (("steps", tally.steps), ("choices", tally.choices), ("merges", tally.merges)):
        table.add_row(name, f"{count:,}", _ratio(count, schedules), "")
    for name, count in tally.metrics.items():
        table.add_row(name.replace("_", " "), f"{count:,}", _ratio(count, schedules), "")
    if tally.races:
        table.add_section()
    for name, (count, within) in sorted(tally.races.items(), key=lambda race: (-race[1][0], race[0])):
        table.add_row(name, f"{count:,}", _ratio(count, schedules), f"{within:,}")
    table.add_section()
    table.add_row("findings", f"{len(tally.found):,}", "", f"{sum(f.count for f in tally.found.values()):,}")
    if tally.inconclusive:
        table.add_row("out of steps", f"{tally.inconclusive:,}", "", f"{tally.inconclusive:,}")
    out.print(table)
    print_defects(tally, stream=stream, color=color)
    out.print(
        f"{quantity(schedules, 'schedule')} in {seconds:.1f} s; verdict: {tally.judgement}; digest {tally.digest}",
        soft_wrap=True,
    )


def print_never_reached(tally: Summary, subjects: Sequence[Subject], *, stream: TextIO) -> None:
    """The marks that should have been reached: nothing can be said about what lies behind them."""
    expected = [(subject.name, mark) for subject in subjects for mark in subject.marks_expected()]
    print_unreached(tally.unreached(expected), stream=stream)


def print_unreached(marks: Iterable[tuple[str, str]], *, stream: TextIO) -> None:
    """A line for each of some marks, by workload and name."""
    for workload, mark in marks:
        echo(f"never reached: {plugins.from_here(workload)}: {mark}", file=stream)


def print_defects(tally: Summary, *, stream: TextIO, color: str) -> None:
    """All findings, and the first schedule that ran out of steps."""
    for found in (*tally.found.values(), tally.given_up):
        if found is not None:
            print_found(found, stream=stream, color=color)


def print_found(found: Found, *, stream: TextIO, color: str) -> None:
    """A finding: what, who met where, and how to see it again."""
    from rich.text import Text

    out = console(stream, color)
    signature, *lines = described(found)
    out.print(Text(escaped(signature), style="bold red"), soft_wrap=True)
    for line in lines:
        for part in _folded(escaped(line), out.width) if stream.isatty() else [escaped(line)]:
            out.print(Text(f"  {part}"), soft_wrap=True)


def _folded(line: str, width: int) -> list[str]:
    """A line in parts that fit a terminal, the later ones indented. A command to copy stays one line."""
    if line.startswith(COMMAND):
        return [line]
    return wrap(line, max(width - INDENT, 2 * INDENT), subsequent_indent=" " * INDENT, break_on_hyphens=False)


def described(found: Found) -> list[str]:
    """The lines about a finding: its signature, its message, the step that broke what is broken, and all the rest."""
    defect = found.defect
    times = f" ({quantity(found.count, 'schedule')})" if found.count > 1 else ""
    met = " and ".join(
        f"{actor} in {function}" for actor, function in zip(defect.actors, defect.functions, strict=True)
    )
    lines = [f"{defect.signature}{times}", defect.message]
    lines += [defect.cause] if defect.cause else []
    lines += [f"step {defect.step} of {plugins.from_here(found.outcome.workload)}, seed {found.outcome.seed}: {met}"]
    lines += _explained(defect)
    lines += [found.problem] if found.problem else []
    lines += [f"{COMMAND}{found.replay}"] if found.replay else []
    return lines


def _explained(defect: Defect) -> Iterator[str]:
    """Who met whom over what, which known defects look like it, and how the likeliest of them comes about."""
    if defect.found:
        yield defect.found
    if defect.broke is not None and defect.broke.held_until is not None:  # else the line before says who met
        yield from (f"{word}: {step}" for word, step in zip(("first", "then"), defect.met, strict=False))
    if defect.concerns:
        yield f"about: {'; '.join(defect.concerns)}"
    named = defect.looks_like[:ALIKE]
    if not named and not defect.symptom_of:
        return
    from ksmactors.history.cases import CASES  # which are many objects, and few campaigns find something

    for name in named:
        yield f"looks like {name}: {CASES[name].title}"
    if len(defect.looks_like) > ALIKE:
        yield f"or like {', '.join(defect.looks_like[ALIKE:])}: see `ksmactors corpus`"
    for name in defect.symptom_of[:ALIKE]:
        yield f"has the symptom of {name}, maybe by another cause: {CASES[name].title}"
    exact = [name for name in named if CASES[name].signature == defect.signature]
    if len(exact) == 1:
        yield f"{exact[0]}: {CASES[exact[0]].story}"


def report_crash(crash: Found) -> None:
    """A schedule in which code raised: its traceback, whose fault it is, and how to get there again."""
    outcome, defect = crash.outcome, crash.defect
    echo(defect.traceback, err=True, nl=False)
    notice(defect.message)
    if crash.problem:
        notice(crash.problem)
    if outcome.verdict is Verdict.BROKEN and not isinstance(outcome.error, WatcherFailed):  # which says whose it is
        notice(f"this is a defect of ksmactors; please report it, with: {crash.replay}")
    elif crash.replay:
        echo(f"replay: {crash.replay}", err=True)


def _ratio(count: int, schedules: int) -> str:
    return f"{count / schedules:,.1f}" if schedules else "-"
