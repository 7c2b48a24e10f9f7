"""A campaign in blocks: by this process or by several, with what a store has of it, and added up in order of seeds.

What comes out is the same for any number of processes and any history of interruptions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ksmactors.campaign.blocks import (
    Block,
    Piece,
    as_text,
    block_ends,
    coalesced,
    micros_of,
    packed,
    pieces,
)
from ksmactors.campaign.dealing import AdaptiveDeal
from ksmactors.campaign.merging import needed, shape_of, take_block
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.campaign.summary import Found, Summary
from ksmactors.errors import ScheduleFormatError
from ksmactors.interleave.task_pool import TaskPool, open_task_pool
from ksmactors.run.header import SEED_LIMIT
from ksmactors.run.outcome import Outcome, Verdict

if TYPE_CHECKING:
    from ksmactors.campaign.worker_pool import WorkerPool
    from ksmactors.campaign.workers import BlockAnswer

GRACE_SECONDS: Final = 60
"""Seconds after the deadline in which workers may finish the schedules under way: one may wait in C code for ever."""


class BlockStore(Protocol):
    """What a campaign asks of a store."""

    def stored(self) -> dict[int, int]:
        """The blocks there are: the first seed of each, and the seed after its last."""
        ...

    def read(self, first: int) -> tuple[Block, dict[int, tuple[str, Found | None]]]:
        """The block that begins with a seed, and what it found."""
        ...

    def write(self, block: Block, outcomes: list[Outcome]) -> None:
        """Keep a block, with the outcomes of its schedules."""
        ...

    def crashed(self, outcome: Outcome) -> None:
        """Keep a schedule in which code raised; it counts as not done."""
        ...


class NoStore:
    """Keeps nothing."""

    def stored(self) -> dict[int, int]:
        return {}

    def read(self, first: int) -> tuple[Block, dict[int, tuple[str, Found | None]]]:
        raise LookupError(first)

    def write(self, block: Block, outcomes: list[Outcome]) -> None:
        """Nothing is kept."""

    def crashed(self, outcome: Outcome) -> None:
        """Nothing is kept."""


@dataclass(slots=True)
class Drive:
    """A campaign under way, in blocks.

    Args:
        plan: what it is to do.
        store: where its blocks are kept.
        resume: whether blocks of the store are taken from there and not run again.
        workers: the other processes that may run blocks; None: this one alone.
        stop_at_first, deadline: as for a Campaign.

    Attributes:
        campaign: the sums, and the hooks that are called as they grow.
        interrupted: whether an interruption ended it.
        timed_out: whether the deadline did.
    """

    plan: Plan
    store: BlockStore = field(default_factory=NoStore)
    resume: bool = False
    workers: WorkerPool | None = None
    stop_at_first: bool = False
    deadline: float | None = None
    campaign: Campaign = field(init=False)
    interrupted: bool = False
    _pieces: Iterator[Piece] = field(init=False)
    _next_seed: int = field(init=False)
    _open: dict[int, Piece] = field(default_factory=dict)
    _came: dict[int, BlockAnswer | None] = field(default_factory=dict)
    _left: list[range] = field(default_factory=list)
    _merged: int = 0
    _exhausted: bool = False
    _deal: AdaptiveDeal | None = None
    _ahead: Piece | None = None
    _learned: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        plan = self.plan
        self.campaign = Campaign(plan, stop_at_first=self.stop_at_first, resumed=self.resume)
        self.campaign.deadline = self.deadline
        stored = self.store.stored()
        stop = plan.seeds.stop
        if isinstance(plan.deal, AdaptiveDeal):
            self._deal, stop = plan.deal, SEED_LIMIT  # its rounds end where blocks do that are not cut short
            for first, after in stored.items():
                if first in plan.seeds and not self._deal.within_a_round(range(first, after)):
                    why = "that no adaptive budget makes; give another --out"
                    raise ScheduleFormatError(f"the store has a block from seed {first} on {why}")
        end = block_ends(plan.strategy, len(plan.subjects), stop)
        self._pieces = pieces(plan.seeds, end, stored, again=not self.resume)
        self._next_seed = plan.seeds.start

    @property
    def tally(self) -> Summary:
        """The sums so far."""
        return self.campaign.tally

    @property
    def stopped(self) -> bool:
        """Whether it ended before its last seed, by itself."""
        return bool(self.seeds_left) and not self.interrupted and self.tally.crash is None

    @property
    def seeds_left(self) -> str:
        """The seeds that were left undone, as `A:B,C:D`; empty if none was, or a crash was the end."""
        if self.tally.crash is not None:
            return ""
        if self.campaign.ended:
            return self.campaign.seeds_left
        open_ones = [piece.seeds for piece in self._open.values()]
        return as_text(coalesced([*self._left, *open_ones, range(self._next_seed, self.plan.seeds.stop)]))

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Run what is asked for. Ctrl-C ends what is under way, never the writing of what was done."""
        with suppress(KeyboardInterrupt):  # after the last schedule: there is nothing left to interrupt
            async with open_task_pool() as task_pool:
                await self._run(task_pool)

    async def _run(self, task_pool: TaskPool) -> None:
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            try:
                await self._run_all(task_pool, nursery)
            except KeyboardInterrupt:
                self.interrupted = True
            except Exception as error:  # as it is, and not in a group
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not self.campaign.ended:
            self._merge_the_rest()

    async def _run_all(self, task_pool: TaskPool, nursery: trio.Nursery) -> None:
        if self.workers is None:
            await self._run_here(task_pool)
        else:
            self.workers.start(nursery, self._take_when_decided, self._known)
            left = inf if self.deadline is None else max(0.0, self.deadline - monotonic()) + GRACE_SECONDS
            with trio.move_on_after(left):
                await self._gather(task_pool, self.workers)

    # -- this process -------------------------------------------------------------------------------------------------

    async def _run_here(self, task_pool: TaskPool) -> None:
        """Run pieces in this process until there are no more, or the campaign ends."""
        goes_on = True
        while goes_on and (piece := self._take()) is not None:
            goes_on = (piece.stored and self._merge_stored(piece)) or await self._run_piece(task_pool, piece)

    async def _run_piece(self, task_pool: TaskPool, piece: Piece) -> bool:
        """Run a piece in this process; whether the campaign goes on."""
        campaign, outcomes, micros = self.campaign, list[Outcome](), list[int]()

        def note(outcome: Outcome, seconds: float) -> None:
            outcomes.append(outcome)
            micros.append(micros_of(seconds))

        campaign.on_outcome = note
        try:
            goes_on = await campaign.run_seeds(task_pool, piece.seeds, piece.index)
        finally:
            self._keep(piece, outcomes, micros)
        self._close(piece, [outcome.shape for outcome in outcomes])
        self.interrupted = campaign.interrupted_at is not None
        return goes_on

    def _known(self) -> tuple[frozenset[str], bool]:
        """The signatures that are known by now, and whether a schedule that ran out of steps is."""
        return frozenset(self.tally.found), self.tally.given_up is not None

    # -- all processes ------------------------------------------------------------------------------------------------

    async def _gather(self, task_pool: TaskPool, workers: WorkerPool) -> None:
        """Add up what the workers send, in order, until all is done or the campaign ends."""
        while not (self._exhausted and not self._open):
            piece = self._open.get(self._merged)
            if piece is not None and self._merged in self._came:
                answer = self._came.pop(self._merged)
                if not self._merge(piece, answer) and not await self._run_piece(task_pool, piece):
                    return
                workers.merged()
                if self.campaign.ended:
                    return
                continue
            self._arrived(*await workers.receive())

    def _arrived(self, piece: Piece | None, answer: BlockAnswer | None) -> None:
        """Keep what a worker has sent, until its turn to be added up comes."""
        if piece is not None:
            self._came[piece.number] = answer
            if answer is not None:
                self._keep(piece, answer.outcomes, answer.micros)

    def _merge_the_rest(self) -> None:
        """Add up what was done beyond a gap that an interruption or the deadline has left."""
        if self.workers is not None:
            for piece, answer in self.workers.waiting():
                self._arrived(piece, answer)
        for number in sorted(self._came):
            if not self.campaign.ended:
                self._merge(self._open[number], self._came.pop(number))

    def _merge(self, piece: Piece, answer: BlockAnswer | None) -> bool:
        """Add up a piece; None: it is in the store. False: it has to be run again."""
        if answer is None:
            return self._merge_stored(piece)
        campaign, workers = self.campaign, self.workers
        assert workers is not None
        workers.print_and_log(answer, self.plan.log)
        for at, outcome in enumerate(answer.outcomes):
            campaign.take(outcome)
            if campaign.ended:
                self._close(piece, [outcome.shape for outcome in answer.outcomes[: at + 1]])
                return True
        self._close(piece, [outcome.shape for outcome in answer.outcomes])
        if answer.failure is not None:
            raise answer.failure
        if answer.interrupted:
            raise KeyboardInterrupt
        return True

    def _merge_stored(self, piece: Piece) -> bool:
        """Add up a piece from the store; False if it has to be run again."""
        block, findings = self.store.read(piece.seeds.start)
        if self._deal is not None and list(block.arms) != self._deal.numbers(piece.arms):
            return False  # it is of a campaign that began with another seed
        known_edges = self.tally.locks.edges
        if self.stop_at_first and (findings or any((e.held, e.taken) not in known_edges for _, e in block.edges)):
            return False  # the campaign may end within it
        if needed(self.campaign, findings):
            return False
        take_block(self.campaign, block, findings)
        self._close(piece, [shape_of(block, place) for place in range(len(piece.seeds))])
        return True

    # -- pieces -------------------------------------------------------------------------------------------------------

    def _next(self) -> Piece | None:
        """The piece that is taken next; None if there is none, or no time for it."""
        late = self.deadline is not None and monotonic() >= self.deadline
        if self._ahead is None and not late:
            self._ahead = next(self._pieces, None)
        return None if late else self._ahead

    def _take(self) -> Piece | None:
        """Take the next piece, all before which that matter to it must be added up."""
        piece = self._next()
        if piece is None:
            self._exhausted = True
            return None
        self._ahead = None
        if self._deal is not None:
            piece = replace(piece, arms=self._deal.deal(piece.seeds))
        self._next_seed = piece.seeds.stop
        self._open[piece.number] = piece
        return piece

    async def _take_when_decided(self) -> Piece | None:
        """Take the next piece, as soon as it can be said what its seeds are run with."""
        while self._deal is not None and (piece := self._next()) is not None and not self._deal.decided(piece.seeds):
            await self._learned.wait()
        return self._take()

    def _close(self, piece: Piece, shapes: list[bytes]) -> None:
        """Schedules of a piece are added up: the first ones, with these shapes."""
        del self._open[piece.number]
        self._merged = piece.number + 1
        self._left.append(piece.seeds[len(shapes) :])
        if self._deal is not None:
            self._deal.learn(piece.seeds, shapes)
            self._learned.set()
            self._learned = trio.Event()

    def _keep(self, piece: Piece, outcomes: list[Outcome], micros: list[int]) -> None:
        """Write what was run of a piece to the store."""
        crashed = [outcome for outcome in outcomes if outcome.verdict in (Verdict.CRASHED, Verdict.BROKEN)]
        for outcome in crashed:
            self.store.crashed(outcome)
        done = len(outcomes) - len(crashed)
        if done and piece.kept:
            arms = self._deal.numbers(piece.arms[:done]) if self._deal is not None else ()
            self.store.write(packed(outcomes[:done], micros[:done], arms), outcomes[:done])
