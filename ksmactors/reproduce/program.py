"""Writes the C program: a comment, what it includes, those helpers that it needs, and the steps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Final

from ksmactors.conformance.language import Comment, Scenario
from ksmactors.escaping import escaped
from ksmactors.reproduce.names import Names
from ksmactors.reproduce.prediction import Prediction
from ksmactors.reproduce.steps import MAIN, ProgramStep, ProgramSteps

HELPERS: Final = Path(__file__).with_name("helpers.c")
MARK: Final = "//: "
"""Begins the line above a helper, with its name."""

WORD: Final = re.compile(r"[A-Za-z_]\w*")
STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
TEXT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)

HEADERS: Final = (
    ("dirent.h", "opendir"), ("endian.h", "htobe64"), ("errno.h", "errno EBUSY EINVAL"), ("fcntl.h", "open vmsplice"),
    ("sched.h", "sched_yield"),
    ("signal.h", "signal kill"), ("stdatomic.h", "atomic_int"), ("stdio.h", "printf perror snprintf fprintf"),
    ("stdlib.h", "exit atoi atol"), ("string.h", "strlen strcspn strcmp strncat strstr strncmp"),
    ("sys/mman.h", "mmap"), ("sys/prctl.h", "prctl"), ("sys/stat.h", "mkdir"), ("sys/syscall.h", "syscall"),
    ("sys/uio.h", "iovec process_vm_readv"), ("time.h", "clock_gettime"),
    ("unistd.h", "fork usleep"),
)  # fmt: skip
"""The headers of libc, and what each is included for."""

NUMBERS: Final = (
    ("MPOL_BIND", "2"), ("MPOL_MF_MOVE", "2"), ("MPOL_MF_MOVE_ALL", "4"), ("MADV_PAGEOUT", "21"),
)  # fmt: skip
"""Numbers of the kernel's interface that libc's headers may lack."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What the head of a program says: `title`, a line; and what the kernels are that were compared."""

    title: str
    broken: str
    repaired: str


def write_program(scenario: Scenario, prediction: Prediction, purpose: Purpose) -> str:
    """Return the text of a C program for a scenario without holds.

    Raises:
        UsageError: an operation cannot be done in C, or a program could not tell the kernels apart.
    """
    steps = ProgramSteps(scenario, prediction)
    main = "\n".join(_main(steps))
    fixed = {"COUNTED": "\tatomic_int seen, broken, repaired;\n" if "expect" in main else ""}
    head = _head(scenario, purpose, steps.names, _outcome(prediction, purpose))
    return assemble(steps, head, main, [MAIN, *steps.names.processes.values()], fixed)


def assemble(
    steps: ProgramSteps, head: Iterable[str], main: str, processes: Sequence[str], particular: Mapping[str, str]
) -> str:  # fmt: skip
    """Return a whole program: what `head` says, the helpers that `main` needs, and `main`. `particular` has the texts
    of this kind of program that helpers lack.
    """
    nodes, swap = needed_nodes(steps.scenario), needs_swap(steps.scenario)
    fixed = {
        "NEEDS": "".join(_needs(nodes, swap)),
        "CHILD": _child(steps, main),
        "CGROUP": "".join(CGROUP_LINES) if "reclaim(" in main else "",
        "REMOVE": "\trmdir(CGROUP);\n" if "reclaim(" in main else "",
        **particular,
    }
    helpers = _helpers(main, fixed)
    code = "\n".join([*helpers, main])
    constants = [
        f"static char *const {name} = (char *){address:#x};\t/* {pages} page{'s' * (pages != 1)} */"
        for name, (address, pages) in steps.names.constants.items()
        if re.search(rf"\b{name}\b", main)
    ]
    defines = [f"#ifndef {name}\n#define {name} {number}\n#endif" for name, number in NUMBERS if _uses(code, name)]
    if len(steps.pins):
        defines.append(f"#define PIPES {len(steps.pins)}")
    parts = [
        f"{chr(10).join(comment(head))}\n#define _GNU_SOURCE\n{chr(10).join(_includes(code))}\n",
        "\n".join([f"enum {{ {', '.join(processes)}, PROCESSES }};", *defines, *constants]) + "\n",
        *helpers,
        main,
    ]
    return "\n".join(parts)


def needs_swap(scenario: Scenario) -> bool:
    """Whether a scenario needs swap."""
    return any(operation.flags == ("swap",) for operation in scenario.operations)


def needed_nodes(scenario: Scenario) -> int:
    """Return how many NUMA nodes a scenario needs."""
    return max(
        max(operation.node + 1, operation.number if operation.flags == ("nodes",) else 1)
        for operation in scenario.operations
    )


def _uses(code: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", code) is not None


def _includes(code: str) -> Iterator[str]:
    for header, words in HEADERS:
        if any(_uses(code, word) for word in words.split()):
            yield f"#include <{header}>"


CGROUP_LINES: Final = (
    '\twrite_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");\n',
    "\tmkdir(CGROUP, 0755);\n",
    '\tif (access(CGROUP "/memory.reclaim", W_OK))\n\t\tdie(CGROUP "/memory.reclaim");\n',
)


def _needs(nodes: int, swap: bool) -> Iterator[str]:
    """Yield the checks of what a scenario needs beside root and KSM."""
    if nodes > 1:
        yield f'\tif (access("/sys/devices/system/node/node{nodes - 1}", F_OK)) {{\n'
        yield f'\t\tfprintf(stderr, "needs {nodes} NUMA nodes\\n");\n\t\texit(2);\n\t}}\n'
    if swap:
        yield '\tif (!has_swap()) {\n\t\tfprintf(stderr, "needs swap\\n");\n\t\texit(2);\n\t}\n'


def _child(steps: ProgramSteps, main: str) -> str:
    """What a new process does first."""
    text = '\twrite_file(CGROUP "/cgroup.procs", "0");\n' if "reclaim(" in main else ""
    if "interrupt(" in main:
        text += "\tlet_signals_end_calls();\n"
    if steps.pins:
        text += "\tfor (who = 0; who < PIPES; who++)\n\t\tif (pipes[who][0])\n\t\t\tunpin(who);\n"
    return text


def _helpers(main: str, fixed: dict[str, str]) -> list[str]:
    """Return the helpers that are needed, in the order in which they can be compiled."""
    chunks: dict[str, str] = {}
    for chunk in re.split(rf"(?m)^{MARK}", HELPERS.read_text(encoding="utf-8"))[1:]:
        name, _, body = chunk.partition("\n")
        chunks[name] = re.sub(r"@(\w+)@", lambda found: fixed.get(found[1], ""), body.rstrip("\n") + "\n")
    needed: set[str] = set()
    todo = [main]
    while todo:
        words = set(WORD.findall(STRING.sub("", TEXT.sub("", todo.pop()))))
        for name in (words & chunks.keys()) - needed:
            needed.add(name)
            todo.append(chunks[name])
    return [text for name, text in chunks.items() if name in needed]


def _main(steps: ProgramSteps) -> Iterator[str]:
    yield "int main(void)\n{\n\topen_ksm();\n"
    for step in steps.steps:
        yield write_step(step)
    verdict = "verdict_alive" if not steps.observed else "verdict" if steps.prediction.repaired else "verdict_values"
    yield f"\n\tif (turn({MAIN}))\n\t\t{verdict}();"
    yield f"\tturn({MAIN});\t\t/* the others wait here until they are ended */\n\treturn 0;\n}}\n"


def write_step(step: ProgramStep) -> str:
    """Return what one process does in its turn."""
    lines = statement_lines(step.statements)
    if len(lines) == 1:
        return f"\tif (turn({step.actor}))\n\t\t{lines[0]}"
    return "\n".join([f"\tif (turn({step.actor})) {{", *(f"\t\t{line}" for line in lines), "\t}"])


def statement_lines(statements: Sequence[str]) -> list[str]:
    """Return statements as lines of less than a hundred characters."""
    return [line for statement in _joined(statements) for line in _wrapped(statement)]


def _joined(statements: Sequence[str]) -> Iterator[str]:
    """Yield statements, with single steps of ksmd put together, and no rest after another."""
    pending = 0
    before = ""
    for statement in statements:
        if found := re.fullmatch(r"steps\((\d+)\);", statement):
            pending += int(found[1])
            continue
        if pending:
            yield f"steps({pending});"
            pending, before = 0, ""
        if statement == "rest();" == before:
            continue
        yield statement
        before = statement
    if pending:
        yield f"steps({pending});"


def _wrapped(statement: str) -> Iterator[str]:
    """Yield a statement in lines of less than a hundred characters."""
    if len(statement) > 80 and (found := re.fullmatch(r'(\w+\("[^"]*",) (.*)', statement)):
        yield found[1]
        yield f"{' ' * (statement.index('(') + 1)}{found[2]}"
    else:
        yield statement


def _head(scenario: Scenario, purpose: Purpose, names: Names, outcome: Iterable[str]) -> Iterator[str]:
    """Yield the paragraphs of the comment at the top."""
    yield from opening(scenario, purpose)
    yield "Build and run: gcc -O2 -o reproduce reproduce.c && ./reproduce"
    yield ""
    yield from outcome
    yield RESTORED
    yield ""
    yield reading(names.processes.values())


def opening(scenario: Scenario, purpose: Purpose) -> Iterator[str]:
    """Yield the first paragraphs: what goes wrong, and what a machine needs."""
    swap, nodes = needs_swap(scenario), needed_nodes(scenario)
    needs = ["root", f"{nodes} NUMA nodes" if nodes > 1 else "", "swap, and cgroup v2" if swap else ""]
    story = [line.text.lstrip("# ") for line in scenario.lines if isinstance(line, Comment)]
    yield from (purpose.title, "")
    if story:
        yield from (" ".join(story), "")
    yield f"Needs {', '.join(need for need in needs if need)}; CONFIG_KSM, and no other program that uses KSM."


def comment(paragraphs: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a comment. A paragraph that begins with spaces is a line, and is not wrapped."""
    yield "/*"
    for paragraph in paragraphs:
        harmless = escaped(paragraph).replace("*/", "* /").replace("/*", "/ *")
        if not paragraph:
            yield " *"
        elif paragraph.startswith(" "):
            yield f" *{harmless}"
        else:
            yield from (f" * {line}" for line in wrap(harmless, 76))
    yield " */"


RESTORED: Final = "All knobs of KSM are put back at the end, and after SIGINT, SIGTERM and SIGHUP."


def reading(processes: Iterable[str], function: str = "main") -> str:
    """Return how the steps are to be read."""
    return (
        f"The steps are in {function}(). {', '.join(processes)}: one process each, beside MAIN. turn(X) is "
        "true in the process X alone, and a step begins when the one before is over."
    )


def _outcome(prediction: Prediction, purpose: Purpose) -> Iterator[str]:
    """Yield what the program prints."""
    if prediction.crash >= 0:
        yield (
            f"With the defect ksmd uses freed memory ({prediction.why}): it crashes, and the program says DEFECT if "
            "the machine survives. What has the freed memory by then may hide it: run it some times. Without the "
            "defect the last line is NO DEFECT (exit status 0)."
        )
    elif prediction.repaired:
        yield (
            f"The last line is DEFECT (exit status 1), as on {purpose.broken}, NO DEFECT (0), as on "
            f"{purpose.repaired}, or UNCLEAR (4). The lines above it say what was seen."
        )
    else:
        yield (
            f"The last line is SAME (exit status 0) if this kernel does what {purpose.broken} does, else DIFFERENT "
            "(1). The lines above it say what was seen."
        )
