"""`ksmactors reproduce` of scenarios with holds: what is asked after a round, and programs that compile and count."""

from __future__ import annotations

import re
import subprocess
from functools import partial
from pathlib import Path

import pytest

from ksmactors import interruption
from ksmactors.cli import main
from ksmactors.conformance.emulator import Around, Setting, perform
from ksmactors.conformance.language import parse, read_scenario
from ksmactors.errors import UsageError
from ksmactors.reproduce.chance import STRATEGY, ChanceDriver, RacePrediction, predict_race
from ksmactors.reproduce.prediction import Prediction, Quantity, answers_of
from ksmactors.reproduce.program import HELPERS, Purpose
from ksmactors.reproduce.races import at_random, find_races, serial_orders
from ksmactors.reproduce.stress import COUNTED, DEFECT, MET, write_stress
from ksmactors.reproduce.subject import of_case
from tests.reproduce.compiling import BOTH, compiled

RACES = Path(__file__).parents[1] / "conformance" / "races" / "scenarios"
SEARCH = RACES / "r05_search_meets_migration_before_kpfn.txt"
SETTING = Setting("v7.3")
DEFECTIVE = Purpose("a title", "Linux v7.3", "Linux v7.3 with a repair")
SCENE = "set run 1\nproc A\nmap A r 2\nfill A r 0 7\nmergeable A r\nproc B\nmap B r 2\nfill B r 0 7\nmergeable B r\n"
"""Two processes with a page each that are about to merge."""


def scene_of(text: str, directory: Path) -> str:
    """Return the function of a round of a scenario with holds, after which a counter is asked for; it compiles."""
    scenario = parse(f"{SCENE}{text}counters\n")

    async def task() -> RacePrediction:
        answers = answers_of(await perform(scenario, SETTING))
        seen: list[dict[Quantity, tuple[str, str]]] = [{} for _ in answers]
        seen[-1][Quantity("counter", ("pages_shared",))] = ("1", "0")
        prediction = Prediction(tuple(seen), (True,) * len(seen))
        return RacePrediction(prediction, tuple(find_races(scenario, answers)), 1)

    program = write_stress(scenario, interruption.run(task), DEFECTIVE)
    compiled(program, directory, optimised=False)
    return program.partition("static void scene")[2]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run the command, which must refuse in one line; return it."""
    assert main(["reproduce", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


# -- the question ------------------------------------------------------------------------------------------------------


def test_only_the_held_race_answers_the_question() -> None:
    """A live node is freed: the counters are 0, as in none of 26 runs of the repaired kernel."""
    subject = of_case("H1")
    assert subject is not None
    found = interruption.run(partial(predict_race, subject.scenario, SETTING, subject.repair))
    asked = {key.about: both for one in found.prediction.seen for key, both in one.items() if key.kind == "counter"}
    assert asked["pages_shared",] == ("0", "1")
    assert found.others == 26
    assert [list(race.tasks) for race in found.races] == [["ksmd", "migrate"]]


def test_without_a_repair_no_serial_order_answers_the_question() -> None:
    """ksmd finds the page locked, and C's page stays alone: in both serial orders it merges."""
    found = interruption.run(partial(predict_race, read_scenario(SEARCH), SETTING, ()))
    asked = {key.about: both for one in found.prediction.seen for key, both in one.items() if key.kind == "counter"}
    assert asked["pages_sharing",] == ("1", "2")
    assert found.others == 2


def test_schedules_without_holds_meet_a_race_by_chance() -> None:
    """So that they would show a question that the repaired kernel answers, too: some end as the held race does."""
    scenario = read_scenario(SEARCH)

    async def task() -> tuple[int, int]:
        races = find_races(scenario, answers_of(await perform(scenario, SETTING)))
        met = schedules = 0
        for seed in range(30):
            for unheld in at_random(scenario, races, seed):
                transcript = await perform(unheld.scenario, SETTING, Around(STRATEGY, seed, ChanceDriver))
                (after,) = answers_of(transcript)[unheld.indices.index(28)]
                met += "sharing=1 " in after
                schedules += 1
        return met, schedules

    met, schedules = interruption.run(task)
    assert schedules == 30
    assert 0 < met < 30


def test_serial_orders_are_those_that_are_possible() -> None:
    """Tasks one after the other, each in its own order; none in which a process acts after its exit."""
    scenario = parse(
        f"{SCENE}hold ksmd at get_ksm_page\nbg step 1\nbg fill A r 0 8\nbg exit B\nrelease ksmd\ncounters\n"
    )
    answers = [["ok"]] * 10 + [["ksmd: held at get_ksm_page"], [], ["A: done ok", "B: done ok"], ["ksmd: done"], []]
    races = find_races(scenario, answers)
    orders = [[line.text for line in unheld.scenario.operations][9:] for unheld in serial_orders(scenario, races)]
    assert len(orders) == 6
    assert ["step 1", "fill A r 0 8", "exit B", "counters"] in orders
    assert ["exit B", "fill A r 0 8", "step 1", "counters"] in orders


@pytest.mark.parametrize(
    ("name", "repair", "why"),
    [
        ("r01_search_second_look_migrated", "", "also seen where its tasks work one after the other"),
        ("r90_live_node_freed", "half-ksm", "also seen on a repaired kernel"),
        ("h31_failed_run2_new_tree_emptied", "aborted-unmerge", "the emulator stops there and a kernel goes on"),
    ],
)
def test_a_race_that_shows_nothing_is_refused(
    name: str, repair: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line: no program could say whether it was met."""
    assert why in refused(capsys, str(RACES / f"{name}.txt"), *(("--repair", repair) if repair else ()))


@pytest.mark.parametrize(
    ("race", "why"),
    [
        ("pin A r 0\n", "scenario:12: pin while other tasks are at work cannot be left to chance"),
        ("bg fork A D\nfill D r 0 8\n", "scenario:13: D begins in the race, so that what it does then cannot"),
    ],
)
def test_what_cannot_be_left_to_chance_is_refused(race: str, why: str, tmp_path: Path) -> None:
    """With its line, and what constructs it."""
    with pytest.raises(UsageError, match=rf"{why}.*--guest KERNEL"):
        scene_of(f"hold ksmd at calc_checksum\nbg step 1\n{race}release ksmd\n", tmp_path)


# -- programs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimised", BOTH)
@pytest.mark.parametrize("name", ["r05_search_meets_migration_before_kpfn", "r23_exit_during_scan",
                                  "r60_search_meets_reclaim_unmapping", "h36_failed_run2_stable"])  # fmt: skip
def test_a_program_of_a_race_compiles(
    name: str, optimised: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without a repair it says how often the race was met, and how a guest constructs it."""
    assert main(["reproduce", str(RACES / f"{name}.txt")]) == 0
    text = capsys.readouterr().out
    compiled(text, tmp_path, optimised=optimised)
    assert f" *   ksmactors conform {name}.txt --guest PACKAGE --nodes 2\n" in text
    assert " *   hold " in text
    assert 'printf("MET: %ld of %ld rounds' in text


def test_the_lines_in_the_comment_are_the_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever has only the program can construct the race."""
    assert main(["reproduce", "H1"]) == 0
    recipe = capsys.readouterr().out.partition("--guest PACKAGE")[2].partition(" */")[0]
    lines = [line.removeprefix(" *   ") for line in recipe.splitlines()[2:]]
    subject = of_case("H1")
    assert subject is not None
    assert lines == [operation.text for operation in subject.scenario.operations]


def test_each_task_of_a_race_has_a_branch(tmp_path: Path) -> None:
    """ksmd's batch is made ready before; a process that exits is waited for, and one that is born does not race."""
    scene = scene_of(
        "hold ksmd at calc_checksum\nbg step 1\nbg fork A D\nbg exit B\nrelease ksmd\n",
        tmp_path,
    )
    racers = "1UL << KSMD | 1UL << A | 1UL << B"
    assert 'if (turn(KSMD))\n\t\tready_batch("1");' in scene
    assert f"if (race({racers}))\n\t\tswitch (me) {{\n\t\tcase KSMD:\n\t\t\trun_batch();\n\t\t\tbreak;" in scene
    assert "\t\tcase A:\n\t\t\tstart(D);\n\t\t\tif (me == D)\n\t\t\t\tbreak;\n\t\t\tbreak;" in scene
    assert f"race_over({racers});\n\tif (me == B)\n\t\t_exit(0);\n\tif (turn(MAIN)) {{\n\t\tend(B);" in scene


def test_a_signal_is_sent_by_the_main_process(tmp_path: Path) -> None:
    """To the process that makes the system call, which it ends."""
    scene = scene_of("hold set at break_ksm\nbg set run 2\nsignal set\nrelease set\n", tmp_path)
    assert "case MAIN:\n\t\t\tinterrupt(SET);\n" in scene


def test_what_may_fail_after_a_race_does_not_end_the_program(tmp_path: Path) -> None:
    """Before the race a failure ends it; after the race it may be due to the race."""
    scene = scene_of("hold ksmd at calc_checksum\nbg step 1\nrelease ksmd\nunmergeable A r\n", tmp_path)
    assert "must(advise(A_r, 2, MADV_MERGEABLE)" in scene
    assert "\tadvise(A_r, 2, MADV_UNMERGEABLE);" in scene


def test_a_mail_says_how_to_construct_the_race(tmp_path: Path) -> None:
    """The command for a guest, and that the program leaves it to chance."""
    file = tmp_path / "mail.txt"
    assert main(["reproduce", "H4", "--report", str(file), "-q"]) == 0
    prose, _, code = file.read_text().partition("Reproducer")
    assert "ksmactors conform H4.txt --guest PACKAGE --nodes 2" in prose
    assert "repeats the scene for a minute without holding any task" in " ".join(prose.split())
    assert all(len(line) <= 75 for line in prose.splitlines()[1:])
    assert "while (round_over());" in code


def test_the_same_program_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    """To the byte."""
    texts = set()
    for _ in range(2):
        assert main(["reproduce", str(SEARCH)]) == 0
        texts.add(capsys.readouterr().out)
    assert len(texts) == 1


# -- what a program does -----------------------------------------------------------------------------------------------


def helper(name: str, words: dict[str, str]) -> str:
    """Return the text of a helper, with the words of a kind of program."""
    (code,) = re.findall(rf"(?ms)^//: {name}$\n(.*?)(?=^//: |\Z)", HELPERS.read_text())
    return re.sub(r"@(\w+)@", lambda found: words[found[1]], code)


@pytest.mark.parametrize(
    ("words", "hits", "last", "status"),
    [
        (DEFECT, 3, "DEFECT: 3 of 50 rounds in 9 s", 1),
        (DEFECT, 0, "no defect in 50 rounds in 9 s (that proves nothing: ", 0),
        (MET, 3, "MET: 3 of 50 rounds in 9 s", 0),
        (MET, 0, "not met in 50 rounds in 9 s (that proves nothing: ", 0),
    ],
)
def test_a_program_says_how_often_it_was_met(
    words: dict[str, str], hits: int, last: str, status: int, tmp_path: Path
) -> None:
    """The knobs are put back first, and the exit status is the documented one."""
    text = (
        "#include <stdio.h>\n#include <stdlib.h>\n"
        f"static struct {{ long rounds, hits; }} counted = {{ 50, {hits} }}, *shared = &counted;\n"
        'static int seconds = 9;\nstatic void restore(void) { printf("put back\\n"); }\n'
        f"{helper('verdict_of_rounds', words)}int main(void)\n{{\n\tverdict_of_rounds();\n}}\n"
    )
    ran = subprocess.run([str(compiled(text, tmp_path, optimised=True))], check=False, capture_output=True, text=True)
    assert ran.stdout.startswith(f"put back\n{last}")
    assert ran.returncode == status


PROTOCOL = """
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
enum { MAIN, A, B, C, PROCESSES };
static struct {
	atomic_int done, failed;
@COUNTED@	atomic_int inside, together, in_turn;
	pid_t pid[PROCESSES];
} *shared;
static int me = MAIN, acting;
static pid_t main_pid;
static void quit(int status) { _exit(status + 3); }
static void die(const char *what) { perror(what); exit(3); }
static void work(void)
{
	shared->inside++;
	while (shared->inside < 2 && !shared->together)
		sched_yield();
	shared->together = 1;
}
static void scene(void)
{
	if (turn(MAIN)) start(A);
	if (turn(MAIN)) start(B);
	if (turn(MAIN)) start(C);
	if (turn(C)) shared->in_turn++;
	if (race(1UL << A | 1UL << B)) work();
	race_over(1UL << A | 1UL << B);
	if (turn(C)) shared->in_turn += shared->together;
	if (race(1UL << C)) shared->in_turn++;
	race_over(1UL << C);
	if (!turn(MAIN)) turn(MAIN);
}
int main(void)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	main_pid = getpid();
	signal(SIGCHLD, SIG_IGN);
	for (shared->rounds = 0; shared->rounds < 20; shared->rounds++) {
		scene();
		printf("%d%d ", shared->inside, shared->in_turn);
		shared->inside = shared->together = shared->in_turn = 0;
		end(A), end(B), end(C);
	}
}
"""


def test_racers_are_at_work_at_the_same_time_in_every_round(tmp_path: Path) -> None:
    """Each of two waits for the other inside the race; the steps before and after it do not overlap with it."""
    head, split, rest = PROTOCOL.replace("@COUNTED@", COUNTED).partition("static void work")
    names = ("end", "turn", "start", "now_us", "draw", "delay", "began_us", "race", "race_over")
    helpers = "".join(helper(name, {"CHILD": ""}) for name in names)
    program = compiled(head + helpers + split + rest, tmp_path, optimised=True)
    ran = subprocess.run([str(program)], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "23 " * 20
