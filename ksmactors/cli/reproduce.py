"""`ksmactors reproduce`: a C program that shows a defect on a real kernel, and the text to send with it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click

from ksmactors.aside import keep_result_apart
from ksmactors.cli.options import NamedPath, trust_option
from ksmactors.cli.outputs import Output, files_of, refuse_overwriting
from ksmactors.cli.report_sources import refuse_existing, write_output
from ksmactors.cli.screen import echo, notice
from ksmactors.conformance.emulator import Setting
from ksmactors.escaping import escaped
from ksmactors.files import MIB, read_start
from ksmactors.reproduce import subject as subjects
from ksmactors.reproduce.applicable import refuse_unfit
from ksmactors.reproduce.chance import predict_race
from ksmactors.reproduce.mail import Mail, write_mail
from ksmactors.reproduce.prediction import predict
from ksmactors.reproduce.program import Purpose, needed_nodes, write_program
from ksmactors.reproduce.races import has_holds
from ksmactors.reproduce.stress import write_stress
from ksmactors.run.async_run import run_async
from ksmactors.run.extensions import need

KERNEL: Final = "v7.3"
"""The newest kernel that is emulated."""


@click.command()
@click.argument("source", metavar="CASE|SCENARIO|FINDING")
@click.option("--c", "program", type=NamedPath(path_type=Path), metavar="FILE", help="Write the C program here.")
@click.option(
    "--report", type=NamedPath(path_type=Path), metavar="FILE", help="Write the text for a mailing list here."
)
@click.option(
    "--kernel", default=KERNEL, show_default=True, metavar="NAME",
    help="The emulated kernel that says what a kernel with the defect shows.",
)  # fmt: skip
@click.option(
    "--repair", multiple=True, metavar="NAME",
    help="The variant that says what a kernel without the defect shows [default: the case's]. Repeatable.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an output file that exists.")
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="Only what went wrong.")
def reproduce(
    source: str, program: Path | None, report: Path | None, kernel: str, repair: tuple[str, ...], force: bool,
    trust: bool, quiet: bool,
) -> int:  # fmt: skip
    """Write a C program that shows a defect on a real kernel, and the text for a kernel mailing list.

    CASE is one of `ksmactors list cases` that has a scenario; SCENARIO is a file as `conform` has them; FINDING is a
    finding file. The program needs libc alone. It compares what it sees with what the emulator says of the kernel with
    and without the defect. Without --c and --report the program goes to standard output.

    For a scenario with holds the program leaves the race to chance: it repeats the scene for a minute, and says in how
    many rounds the race was met. Its first comment has the command that constructs the race on a guest.

    A scenario without --repair gives a program that compares with what the emulated kernel does.
    """
    keep_result_apart()
    for name in repair:
        need("variants", name)
    outputs: list[Output] = [("--c", program), ("--report", report)]
    is_case = subjects.of_case(source) is not None
    refuse_overwriting(outputs, [] if is_case else [(source, "what the program is made of")])
    for path, option in ((program, "--c"), (report, "--report")):
        if path is not None:
            refuse_existing(path, option, force=force)
    subject = _subject(source, trust, outputs)
    if subject.note:
        notice(subject.note)
    repair = repair or subject.repair
    run_async(partial(refuse_unfit, subject, kernel, repair))
    setting = Setting(kernel, needed_nodes(subject.scenario), with_=subject.added)
    repaired = f"Linux {kernel} with a repair ({', '.join(repair)})" if repair else ""
    purpose = Purpose(subject.title, f"Linux {kernel}", repaired)
    if has_holds(subject.scenario):
        raced = run_async(partial(predict_race, subject.scenario, setting, repair))
        prediction, text = raced.prediction, write_stress(subject.scenario, raced, purpose, subject.measured)
    else:
        prediction = run_async(partial(predict, subject.scenario, setting, repair))
        text = write_program(subject.scenario, prediction, purpose)
    if program is not None:
        write_output(program, "--c", lambda file: file.write(text.encode()), force=force)
    if report is not None:
        mail = Mail(subject, kernel, repair, prediction, text)
        content = write_mail(mail).encode()
        write_output(report, "--report", lambda file: file.write(content), force=force)
        if not (mail.is_defect or quiet):
            notice(
                f"{escaped(str(report))}: reports no defect, since none is known in {subject.scenario.origin}; "
                "--repair NAME says what a kernel without it does"
            )
    if program is None and report is None:
        echo(text, nl=False)
    elif program is not None and not quiet:
        name = escaped(str(program))
        notice(f"{name}: gcc -O2 -o reproduce {name}; run it as root on a machine of its own")
    return 0


def _subject(source: str, trust: bool, outputs: Sequence[Output]) -> subjects.ReproducedDefect:
    """Find what is named."""
    path = Path(source)
    found = subjects.of_case(source if path.exists() else subjects.spelled_case(source))
    if found is not None:
        return found
    if not path.exists():
        raise subjects.no_such(source)
    if not read_start(path, MIB, "file").lstrip().startswith(b"{"):
        return subjects.of_scenario(path)
    return _finding(source, trust, outputs)


def _finding(source: str, trust: bool, outputs: Sequence[Output]) -> subjects.ReproducedDefect:
    """Replay a finding and tell its schedule as a scenario."""
    from ksmactors.diagnose.replaying import recorded
    from ksmactors.reproduce.schedule import of_finding

    then = recorded(source, trust=trust, tell=notice)
    refuse_overwriting(outputs, files_of([then.subject], then.strategy))
    found: subjects.ReproducedDefect = run_async(partial(of_finding, then, escaped(source)))
    return found
