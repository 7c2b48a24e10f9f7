"""The text for a kernel mailing list: what goes wrong, where, how to see it, and how it may be repaired."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import cleandoc, unwrap
from pathlib import Path
from textwrap import wrap
from typing import Final

import ksmactors
from ksmactors.conformance.language import Comment
from ksmactors.escaping import escaped
from ksmactors.kernels import VARIANTS, kernel_class
from ksmactors.ksm.kernel import Ksm
from ksmactors.reproduce.prediction import Prediction
from ksmactors.reproduce.races import has_holds
from ksmactors.reproduce.stress import guest_recipe
from ksmactors.reproduce.subject import ReproducedDefect

WIDTH: Final = 75
KERNEL_MAP: Final = Path(ksmactors.__file__).parent / "docs" / "kernel-map.md"
ROW: Final = re.compile(r"\| ([^|]*) \| ([^|]*) \|")
FILE: Final = re.compile(r"\(([\w/]+\.c)\)")
CODE: Final = re.compile(r"`([^`]*)`")


@dataclass(frozen=True, slots=True)
class Mail:
    """What a mail is made of: `kernel` is the emulated one, `program` the text of the C program."""

    subject: ReproducedDefect
    kernel: str
    repair: tuple[str, ...]
    prediction: Prediction
    program: str

    @property
    def is_defect(self) -> bool:
        """Whether a defect is known: a case, a finding, a crash, or what a repair changes."""
        subject = self.subject
        return bool(self.repair) or subject.case is not None or subject.is_finding or self.prediction.crash >= 0


def write_mail(mail: Mail) -> str:
    """Return the text; prose is wrapped at 75 columns, the program is not."""
    lines = [line.rstrip() for paragraph in _paragraphs(mail) for line in (*paragraph, "")]
    return "\n".join(lines) + "\n" + mail.program


def _paragraphs(mail: Mail) -> Iterator[list[str]]:
    subject = mail.subject
    kind = "[BUG] mm/ksm:" if mail.is_defect else "mm/ksm: what a kernel does in"
    yield [f"Subject: {kind} {subject.title}"]
    story = " ".join(line.text.lstrip("# ") for line in subject.scenario.lines if isinstance(line, Comment))
    if story:
        yield _prose(story)
    yield from _kernels(mail)
    yield from _source(mail)
    yield from _steps(mail)
    if has_holds(subject.scenario):
        yield from _race(mail)
    for name in mail.repair:
        yield from _repair(name)
    yield ["Reproducer (as root; it puts all knobs back):"]


def _kernels(mail: Mail) -> Iterator[list[str]]:
    case = mail.subject.case
    if case is not None and case.confirmed:
        kernels = ", ".join(name.removeprefix("v") for name in case.confirmed)
        yield _prose(f"Kernels: seen on stock kernels of Linux {kernels}.")
    model = f"ksmactors, an emulator of KSM, in its model of Linux {mail.kernel.removeprefix('v')}"
    if mail.is_defect:
        yield _prose(f"It was found with {model}.")
    else:
        yield _prose(f"No defect is known in these steps. The values in the program are those of {model}.")


def _source(mail: Mail) -> Iterator[list[str]]:
    """The functions of the kernel concerned: where the emulator reports the defect, and what the repair changes."""
    case = mail.subject.case
    if case is not None and case.where:
        yield _prose(f"The consequence shows in {case.where}() ({_kernel_functions().get(case.where, 'mm')}).")
    changed = list(dict.fromkeys(text for name in mail.repair for text in _changed(name, mail.kernel)))
    if changed:
        yield _prose(f"The source concerned: {', '.join(changed)}.")


def _steps(mail: Mail) -> Iterator[list[str]]:
    lines = [f"  {escaped(operation.text)}" for operation in mail.subject.scenario.operations]
    yield ["Steps (pages are numbered from 0):", "", *lines]
    prediction = mail.prediction
    if prediction.crash >= 0:
        yield _prose(f"What happens: {prediction.why}, at the latest when ksmd goes on after the last steps.")


def _race(mail: Mail) -> Iterator[list[str]]:
    """How the race is constructed, and that the program leaves it to chance."""
    yield _prose(
        "It is a race. In a guest qemu's gdb stub makes each held task sleep at its place. With the steps in a file, "
        "this command constructs the race for certain (PACKAGE: a kernel package of Debian, or a vmlinuz):"
    )
    yield [f"  {escaped(guest_recipe(mail.subject.scenario)[0])}"]
    yield _prose(
        "The program below repeats the scene for a minute without holding any task, and counts the rounds in which "
        f"the race was met. {mail.subject.measured}"
    )


def _repair(name: str) -> Iterator[list[str]]:
    """A repair as its docstring explains it. The emulator's v3.9 is what all kernels build on."""
    summary, *rest = cleandoc(VARIANTS[name].layer.__doc__ or "").split("\n\n")
    yield _prose(f"A possible repair ({name}, in the emulator only): {' '.join(summary.split())}")
    for paragraph in rest:
        yield _prose(" ".join(paragraph.split()))


def _prose(text: str) -> list[str]:
    return wrap(escaped(text.replace("`", "")), WIDTH, break_long_words=False, break_on_hyphens=False)


def _changed(name: str, kernel: str) -> Iterator[str]:
    """Yield the functions of the kernel that a repair changes, with their files.

    What the emulator has split off is looked for in the functions that call it.
    """
    files, parts = _kernel_functions(), _parts()
    users = _users(kernel_class(kernel=kernel))
    for function in vars(VARIANTS[name].layer):
        if function.startswith("_"):  # its own
            continue
        near, seen = {function}, {function}
        while near and not any(one in parts for one in near):
            near = {user for one in near for user in users.get(one, ())} - seen
            seen |= near
        for one in sorted(near):
            yield from (f"{kernel_name}() in {files[kernel_name]}" for kernel_name in parts.get(one, ()))


def _users(kernel: type[Ksm]) -> dict[str, list[str]]:
    """Return, for each function, those that call it."""
    users: dict[str, list[str]] = {}
    for cls in kernel.__mro__:
        for name, value in vars(cls).items():
            code = getattr(unwrap(value) if callable(value) else None, "__code__", None)
            for called in getattr(code, "co_names", ()):
                if called != name:
                    users.setdefault(called, []).append(name)
    return users


def _rows() -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the rows of the kernel map: the kernel's file, its functions, and those of the emulator."""
    file = ""
    for line in KERNEL_MAP.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            file = next((word for word in line.split() if word.endswith(".c")), "mm")
        elif file and (row := ROW.match(line)):
            other = FILE.search(row[1])
            names = [name.partition(":")[2] for name in CODE.findall(row[2])]
            yield other[1] if other else file, CODE.findall(row[1]), names


def _kernel_functions() -> dict[str, str]:
    """Return the file of each function of the kernel."""
    return {name: file for file, names, _ in _rows() for name in names}


def _parts() -> dict[str, list[str]]:
    """Return, for each function of the emulator, those of the kernel that it stands for or is a part of."""
    parts: dict[str, list[str]] = {}
    for _, kernels, functions in _rows():
        for function in functions:
            parts.setdefault(function, []).extend(kernels)
    return {function: kernels for function, kernels in parts.items() if function and kernels}
