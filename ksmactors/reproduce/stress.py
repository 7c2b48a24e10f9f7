"""Writes the C program for a scenario with holds: no task is held, and the scene is repeated again and again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ksmactors.conformance.language import Comment, Scenario
from ksmactors.quantity import quantity
from ksmactors.reproduce.chance import RacePrediction
from ksmactors.reproduce.program import (
    RESTORED,
    Purpose,
    assemble,
    needed_nodes,
    opening,
    reading,
    statement_lines,
    write_step,
)
from ksmactors.reproduce.racing import RaceStep, RacingSteps
from ksmactors.reproduce.steps import MAIN

COUNTED: Final = (
    "\tatomic_int seen, broken;\n\tatomic_int ready, over;\n\tatomic_long slowest_us;\n\tlong rounds, hits;\n"
)

DEFECT: Final = {"HIT": "with the defect", "VERDICT": "DEFECT", "NOVERDICT": "no defect", "STATUS": "hits > 0"}
MET: Final = {"HIT": "after the race", "VERDICT": "MET", "NOVERDICT": "not met", "STATUS": "0"}
"""What a program says, by whether a repair is known."""


def write_stress(scenario: Scenario, prediction: RacePrediction, purpose: Purpose, measured: str = "") -> str:
    """Return the text of a C program for a scenario with holds. `measured` says how often it was met, and where.

    Raises:
        UsageError: an operation cannot be done in C.
    """
    steps = RacingSteps(scenario, prediction)
    crash = prediction.prediction.crash >= 0
    words = DEFECT if crash or purpose.repaired else MET
    scene = "\n".join(_scene(steps))
    head = _head(steps, prediction, purpose, measured)
    return assemble(steps, head, scene, steps.processes, {"COUNTED": COUNTED, **words})


def guest_recipe(scenario: Scenario) -> tuple[str, list[str]]:
    """Return the command that constructs the race on a guest, and the lines of the file that it names."""
    lines = [line.text for line in scenario.lines if not isinstance(line, Comment)]
    return f"ksmactors conform {scenario.name}.txt --guest PACKAGE --nodes {needed_nodes(scenario)}", lines


def _scene(steps: RacingSteps) -> Iterator[str]:
    """Yield the function of a round, and main()."""
    yield "static void scene(void)\n{"
    for step in steps.steps:
        yield _race(step) if isinstance(step, RaceStep) else write_step(step)
    yield f"\n\tif (!turn({MAIN}))\n\t\tturn({MAIN});\t\t/* the others wait here until they are ended */\n}}\n"
    yield "int main(int argc, char **argv)\n{\n\topen_ksm();\n\tbegin(argc, argv);"
    yield "\tdo\n\t\tscene();\n\twhile (round_over());\n\tverdict_of_rounds();\n}\n"


def _race(step: RaceStep) -> str:
    """Return a step that several processes do at once."""
    racers = " | ".join(f"1UL << {actor}" for actor in step.branches)
    lines = [f"\tif (race({racers}))", "\t\tswitch (me) {"]
    for actor, statements in step.branches.items():
        lines += [f"\t\tcase {actor}:", *(f"\t\t\t{line}" for line in statement_lines(statements)), "\t\t\tbreak;"]
    lines += ["\t\t}", f"\trace_over({racers});"]
    for actor in step.exits:
        lines += [f"\tif (me == {actor})", "\t\t_exit(0);"]
    return "\n".join(lines)


def _head(steps: RacingSteps, prediction: RacePrediction, purpose: Purpose, measured: str) -> Iterator[str]:
    """Yield the paragraphs of the comment at the top."""
    yield from opening(steps.scenario, purpose)
    yield "Build and run: gcc -O2 -o reproduce reproduce.c && ./reproduce [SECONDS]"
    yield ""
    yield (
        "It takes a race, which is left to chance. The scene is repeated for a minute, or for SECONDS. In each round "
        "the tasks of the race begin at the same moment, each after a delay that is drawn."
    )
    yield from _outcome(prediction, purpose)
    if measured:
        yield measured
    yield f"{RESTORED} After a hit, restart the machine: the kernel may use freed memory later."
    yield ""
    yield reading([name for name in steps.processes if name != MAIN], "scene")
    yield ""
    command, lines = guest_recipe(steps.scenario)
    yield (
        "A guest constructs the race for certain, by holding the tasks. Save the lines below as "
        f"{steps.scenario.name}.txt. PACKAGE is a kernel package of Debian, or a vmlinuz (ksmactors docs guests):"
    )
    yield ""
    yield f"   {command}"
    yield ""
    yield from (f"   {line}" for line in lines)


def _outcome(prediction: RacePrediction, purpose: Purpose) -> Iterator[str]:
    """Yield what the program prints."""
    if prediction.prediction.crash >= 0:
        yield (
            f"A kernel with the defect may crash in any round ({prediction.prediction.why}); if only ksmd dies, the "
            "program says DEFECT. Else the last line is `no defect in M rounds` (exit status 0), which proves nothing."
        )
    elif purpose.repaired:
        yield (
            "A round has the defect if all that is seen is as with the defect: see() in scene(). So it is on "
            f"{purpose.broken} if the race is met, and in none of {quantity(prediction.others, 'schedule')} of "
            f"{purpose.repaired}. The last line is `DEFECT: N of M rounds` (exit status 1) or `no defect in M rounds` "
            "(0), which proves nothing."
        )
    else:
        yield (
            f"The race is met in a round if all that is seen is as on {purpose.broken} after it: see() in scene(). "
            f"None of the {prediction.others} orders in which its tasks can work one after the other ends so. The last "
            "line is `MET: N of M rounds` or `not met in M rounds` (exit status 0)."
        )
