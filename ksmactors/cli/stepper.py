"""The prompt of `ksmactors replay --step`: commands from a terminal, or from a pipe, one a line."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from ksmactors.aside import stdout
from ksmactors.campaign.summary import Found
from ksmactors.cli.exploring import checked, lines_of
from ksmactors.cli.places import actor_lines, goal_named, lock_lines, object_lines, say, where
from ksmactors.cli.report import print_found, report_crash
from ksmactors.cli.screen import echo
from ksmactors.diagnose.continuations import Continuations, explore
from ksmactors.diagnose.lookup import KINDS, SINGLE, canonical, is_known, known_names, missing
from ksmactors.diagnose.moments import AtDeparture, AtEnd, AtMoment, AtStep, AtTouch, Goal
from ksmactors.diagnose.replaying import Recorded
from ksmactors.diagnose.standing import moment_lines, trees_of
from ksmactors.diagnose.stepping import Answer, Back, Quit, Walker, walk
from ksmactors.errors import FOUND, UsageError
from ksmactors.escaping import quoted
from ksmactors.events.declared import all_events
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.run.async_run import run_async
from ksmactors.run.outcome import Verdict

PROMPT: Final = "(step) "

LINE_MAX: Final = 1_000
"""Characters of a command."""

SHOWN_MAX: Final = 20
"""Moments that are shown of those that a walk has passed."""

LISTED: Final = 10
"""Moments that `list` shows, unless it is told how many."""

NUMBER_DIGITS: Final = 9
"""Digits of a number in a command."""

EXPLORED_MAX: Final = 100_000
"""Continuations of one command."""


class Command(NamedTuple):
    """A command: its names, the first in full; what may follow it; what it does, in a line."""

    names: tuple[str, ...]
    follows: str
    does: str


COMMANDS: Final = (
    Command(("next", "n"), "[N]", "go on by one moment, or by N: an operation, or a departure"),
    Command(("back", "b"), "[N]", "go back by one moment, or by N: the replay starts again"),
    Command(("departure", "d"), "", "go on to the next departure from the default order"),
    Command(("until", "u"), "STEP|OBJECT|EVENT", "go to a step, or on until an object is touched or an event happens"),
    Command(("end", "c"), "", "go on to the end"),
    Command(("start",), "", "go back to the first moment"),
    Command(("list", "l"), "[N]", "show the last moments"),
    Command(("print", "p"), "OBJECT", "show all fields of an object: `help objects`"),
    Command(("actors", "a"), "", "show where each actor stands, and in which functions"),
    Command(("who", "w"), "", "show who holds what, and who waits for what"),
    Command(("trees", "t"), "", "show the trees of each node, and migrate_nodes"),
    Command(("explore", "x"), "N [STRATEGY]", "draw N continuations from here, and say how many of them fail"),
    Command(("help", "h", "?"), "[objects|events]", "show this; or what objects and events there are"),
    Command(("quit", "q"), "", "end"),
)


class CommandLines:
    """Commands, one a line: from a terminal with line editing and a prompt, from anything else without."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty() and stdout().isatty()
        if self.interactive:
            import readline  # noqa: F401  # input() uses it
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="backslashreplace")

    def read(self) -> str | None:
        """Return the next line without its end; None at the end of input. A line that is too long is cut off.

        Raises:
            UsageError: standard input cannot be read.
        """
        try:
            return self._read()
        except OSError as error:
            raise UsageError(f"standard input: cannot be read ({error.strerror})") from None

    def _read(self) -> str | None:
        if self.interactive:
            try:
                return input(PROMPT)
            except EOFError:
                echo("")
                return None
        line = sys.stdin.readline(LINE_MAX + 1)
        if not line:
            return None
        rest = line
        while rest and not rest.endswith("\n"):
            rest = sys.stdin.readline(LINE_MAX)
        return line.rstrip("\n")


class StepPrompt:
    """Asks at each stop of a walk what to do, and shows where it is."""

    def __init__(self, then: Recorded, *, color: str) -> None:
        self._then, self._color = then, color
        self._lines = CommandLines()
        self._shown = 0
        """Moments that have been shown, or passed."""
        self._quiet = False
        """Whether the walk stops where it was before, and says nothing."""
        self._told = False
        """Whether the end has been reached before."""
        self._last = ""
        self._goal: Goal = AtMoment(1)
        self._exploring: Continuations | None = None
        self._does: dict[str, Callable[[Walker, list[str]], Answer | None]] = {
            "next": self._next, "back": self._back, "departure": self._departure, "until": self._until,
            "end": self._end, "start": self._start, "list": self._list, "print": self._print,
            "actors": self._actors, "who": self._who, "trees": self._trees, "explore": self._explore,
            "help": self._help, "quit": self._quit,
        }  # fmt: skip

    def run(self, goal: Goal | None) -> int:
        """Walk, first to a goal if there is one. Returns the exit status."""
        self._goal = goal or AtMoment(1)
        outcome = run_async(partial(walk, self._then, self._goal, self.stop, self.between))
        if outcome is None:
            return 0
        return outcome.verdict.exit_status or (0 if self._then.confirms(outcome) else FOUND)

    def stop(self, walker: Walker) -> Answer:
        """The walk has stopped: show where, and ask what to do until something moves."""
        if not self._quiet:
            self._arrived(walker)
        self._quiet = False
        while True:
            line = self._lines.read()
            if line is None:
                return Quit()
            words = line.split()
            if not words and self._lines.interactive:
                words = self._last.split()
            if not words or words[0].startswith("#"):
                continue
            self._last = " ".join(words)
            answer = self._answer(walker, line, words)
            if answer is not None:
                return self._going(walker, answer)

    async def between(self) -> None:
        """Draw continuations, if that was asked."""
        into, self._exploring = self._exploring, None
        if into is None:
            return
        await explore(self._then, into)
        say(lines_of(into))

    def _answer(self, walker: Walker, line: str, words: list[str]) -> Answer | None:
        if len(line) > LINE_MAX:
            say([f"a line of more than {LINE_MAX} characters is no command; `help` lists them"])
            return None
        meant = [one for one in COMMANDS if words[0] in one.names] or [
            one for one in COMMANDS if one.names[0].startswith(words[0])
        ]
        if len(meant) != 1:
            say([f"no command {quoted(words[0], 40)}; `help` lists them"])
            return None
        try:
            return self._does[meant[0].names[0]](walker, words[1:])
        except UsageError as error:
            say([str(error)])
            return None

    def _going(self, walker: Walker, answer: Answer) -> Answer:
        self._shown = 0 if isinstance(answer, Back) else walker.moments
        if not isinstance(answer, Quit):
            self._goal = answer.goal if isinstance(answer, Back) else answer
        return answer

    def _arrived(self, walker: Walker) -> None:
        passed = [moment for moment in walker.recent if moment.number > self._shown]
        few = passed if isinstance(self._goal, AtMoment) and self._shown else passed[-1:]
        if len(few) > SHOWN_MAX:
            say([f"({len(few) - SHOWN_MAX} earlier moments are not shown)"])
        for moment in few[-SHOWN_MAX:]:
            say(moment_lines(walker, moment))
        if walker.outcome is not None:
            self._concluded(walker)

    def _concluded(self, walker: Walker) -> None:
        outcome, goal = walker.outcome, self._goal
        assert outcome is not None
        if not walker.reached and not isinstance(goal, AtEnd | AtMoment):
            say([f"{goal} does not come; this is the end"])
            if isinstance(goal, AtTouch) and not is_known(walker, goal.name):
                say([f"{missing(walker, goal.name)} in this replay"])
        if self._told:
            pass  # all of it has been said before
        elif outcome.verdict in (Verdict.CRASHED, Verdict.BROKEN):
            report_crash(Found(outcome))
        elif outcome.defect is not None and outcome.verdict is not Verdict.DIVERGED:
            print_found(Found(outcome), stream=stdout(), color=self._color)
        self._told = True
        say([f"the end, at step {outcome.steps}: {self._then.compare(outcome)}"])

    # -- commands that move -------------------------------------------------------------------------------------------

    def _next(self, walker: Walker, words: list[str]) -> Answer | None:
        return self._onward(walker, AtMoment(walker.moments + _number(words)))

    def _back(self, walker: Walker, words: list[str]) -> Answer | None:
        if walker.moments <= 1:
            raise UsageError("this is the first moment")
        return Back(AtMoment(max(1, walker.moments - _number(words))))

    def _departure(self, walker: Walker, words: list[str]) -> Answer | None:
        _none(words)
        return self._onward(walker, AtDeparture())

    def _until(self, walker: Walker, words: list[str]) -> Answer | None:
        if not words:
            raise UsageError("until what? A step, an object (`help objects`) or an event (`help events`)")
        goal = goal_named(" ".join(words))
        if isinstance(goal, AtStep) and walker.last is not None and goal.step < walker.last.step:
            return Back(goal)
        return self._onward(walker, goal)

    def _end(self, walker: Walker, words: list[str]) -> Answer | None:
        _none(words)
        return self._onward(walker, AtEnd())

    def _start(self, _: Walker, words: list[str]) -> Answer | None:
        _none(words)
        return Back(AtMoment(1))

    def _quit(self, _: Walker, words: list[str]) -> Answer | None:
        _none(words)
        return Quit()

    def _onward(self, walker: Walker, goal: Goal) -> Answer:
        if walker.outcome is not None:
            raise UsageError("the replay is over; `back`, `start`, or `quit`")
        return goal

    def _explore(self, walker: Walker, words: list[str]) -> Answer | None:
        if not words:
            raise UsageError("explore how many? `explore 50` draws 50 continuations from here")
        count = _number(words[:1])
        if walker.outcome is not None:
            raise UsageError("the replay is over: no choice is left")
        if count > EXPLORED_MAX or len(words) > 2:
            raise UsageError(f"explore takes a number up to {EXPLORED_MAX:,}, and a strategy")
        strategy = words[1] if len(words) > 1 else RandomWalk.name
        checked(strategy)
        self._quiet = True
        self._exploring = Continuations(walker.moments, where(walker), self._then.signature, strategy, count)
        return Back(AtMoment(walker.moments))

    # -- commands that show -------------------------------------------------------------------------------------------

    def _list(self, walker: Walker, words: list[str]) -> None:
        for moment in list(walker.recent)[-(_number(words) if words else LISTED) :]:
            say(moment_lines(walker, moment))

    def _print(self, walker: Walker, words: list[str]) -> None:
        if not words:
            raise UsageError("print what? `help objects` says what there is")
        say(object_lines(walker, canonical(" ".join(words))))

    def _actors(self, walker: Walker, words: list[str]) -> None:
        _none(words)
        say(actor_lines(walker))

    def _who(self, walker: Walker, words: list[str]) -> None:
        _none(words)
        say(lock_lines(walker))

    def _trees(self, walker: Walker, words: list[str]) -> None:
        _none(words)
        if walker.machine is None:
            raise UsageError("there are no trees: there is no machine, or not yet")
        say(trees_of(walker.machine.kernel))

    def _help(self, walker: Walker, words: list[str]) -> None:
        if words == ["objects"]:
            width = max(map(len, (*KINDS, *SINGLE))) + 2
            say(f"  {f'{kind}/...':<{width + 4}}{text}" for kind, text in KINDS.items())
            say(f"  {kind:<{width + 4}}{text}" for kind, text in SINGLE.items())
            say(["  a lock or a variable of mm/ksm.c by its name: page_lock/N, mmap_sem/MM, ksm_thread_mutex, ksm_run"])
            names = known_names(walker)
            say([f"touched so far: {', '.join(names)}"] if names else [])
        elif words == ["events"]:
            say([", ".join(event.name for event in all_events())])
        else:
            for one in COMMANDS:
                head = " ".join((", ".join(one.names), one.follows)).strip()
                say([f"  {head:<32}{one.does}"])
            say(["An empty line repeats the last command on a terminal. A line that starts with # is skipped."])


def _number(words: list[str]) -> int:
    """The number that follows a command, 1 if there is none.

    Raises:
        UsageError: it is none, or something else follows.
    """
    if not words:
        return 1
    text = words[0]
    if len(words) > 1 or not (text.isascii() and text.isdigit()) or len(text) > NUMBER_DIGITS or not int(text):
        raise UsageError(f"{quoted(' '.join(words), 40)} is no number from 1 on, of at most {NUMBER_DIGITS} digits")
    return int(text)


def _none(words: list[str]) -> None:
    if words:
        raise UsageError(f"nothing may follow this command, not {quoted(' '.join(words), 40)}")
