"""Shards: parts of a campaign's seeds for machines that share nothing, and their stores.

A shard is a contiguous part of the seeds, so that stores of shards follow each other in order of seeds. It begins where
a block begins, as far as that keeps the shards of similar size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from typing_extensions import override

from ksmactors.campaign.blocks import block_ends
from ksmactors.campaign.store import CampaignStore
from ksmactors.campaign.summary import counted
from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.quantity import quantity

SHARDS: Final = "shards"
"""Where the table `about` of a store says which shards it has."""

SHOWN_MAX: Final = 3
"""Shards that a message names."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `number` of `count`, counted from 1, of the seeds `whole`: of these, `seeds`."""

    number: int
    count: int
    whole: range
    seeds: range

    @property
    def place(self) -> tuple[int, int, int, int]:
        """What shards are sorted by: shards of the same seeds follow each other."""
        return self.whole.start, self.whole.stop, self.count, self.number

    @property
    def name(self) -> str:
        """The text of `--shard`."""
        return f"{self.number}/{self.count}"

    @override
    def __str__(self) -> str:
        return f"shard {self.name} of seeds {self.whole.start}:{self.whole.stop}"

    def as_json(self) -> list[int]:
        """Return what a store has of it."""
        return [self.number, self.count, self.whole.start, self.whole.stop, self.seeds.start, self.seeds.stop]


def parse_shard(text: str) -> tuple[int, int]:
    """Return number and count of `i/n`.

    Raises:
        UsageError: it is no such text.
    """
    match = re.fullmatch(r"(\d{1,19})/(\d{1,19})", text, re.ASCII)
    if match is None:
        raise UsageError(f"--shard must be I/N (shard I of N, from 1/N to N/N), not {quoted(text)}")
    number, count = int(match[1]), int(match[2])
    if not 1 <= number <= count:
        raise UsageError(f"--shard {text}: shards are numbered from 1, so they are 1/{count} to {count}/{count}")
    return number, count


def shard_of(asked: tuple[int, int], whole: range, strategy: str, workloads: int) -> Shard:
    """Return a shard of a campaign.

    Args:
        asked: its number, and the count of all.
        whole: the seeds of the campaign, as `--seeds` has them.
        strategy: the strategy, as `--strategy` has it.
        workloads: how many there are.

    Raises:
        UsageError: there are fewer seeds than shards.
    """
    number, count = asked
    size = whole.stop - whole.start
    if count > size:
        raise UsageError(f"--shard {number}/{count}: there are only {quantity(size, 'seed')}; ask for fewer shards")
    end = block_ends(strategy, workloads)
    seeds = range(_border(number - 1, count, whole, end), _border(number, count, whole, end))
    return Shard(number, count, whole, seeds)


def _border(number: int, count: int, whole: range, end: Callable[[int], int]) -> int:
    """The seed after so many shards: the next at which a block begins, unless that is half a shard away.

    So borders increase, whatever the blocks are.
    """
    size = whole.stop - whole.start
    border = whole.start + size * number // count
    if border in (whole.start, whole.stop):
        return border
    aligned = end(border - 1)
    return aligned if aligned - border <= size // count // 2 else border


def shards_in(store: CampaignStore) -> list[Shard]:
    """Return the shards that a store has, in order.

    Raises:
        ScheduleFormatError: it is damaged.
    """
    about = store.about()
    with store.guarded():
        return sorted({_shard_from(one) for one in about.get(SHARDS, [])}, key=lambda shard: shard.place)


def _shard_from(listed: Any) -> Shard:
    number, count, first, stop, start, end = map(counted, listed)
    if not (1 <= number <= count and first <= start < end <= stop):
        raise ValueError(f"there is no shard {number}/{count}")
    return Shard(number, count, range(first, stop), range(start, end))


def keep_shards(store: CampaignStore, shards: Iterable[Shard]) -> None:
    """Note in a store which shards it has, beside those that are noted already."""
    known = sorted({*shards_in(store), *shards}, key=lambda shard: shard.place)
    store.note(SHARDS, [shard.as_json() for shard in known])


def incomplete(shards: Sequence[Shard]) -> list[list[Shard]]:
    """Return shards of which not all of the same campaign are there, those of each campaign together."""
    groups = [list(group) for _, group in groupby(shards, key=lambda shard: shard.place[:-1])]
    return [group for group in groups if len(group) < group[0].count]


def whole_again(store: CampaignStore, asked: tuple[int, int]) -> range:
    """Return the seeds of which a store has that shard, for a campaign that goes on.

    Raises:
        UsageError: it has no such shard.
        ScheduleFormatError: it is damaged.
    """
    for shard in shards_in(store):
        if (shard.number, shard.count) == asked:
            return shard.whole
    raise _another(store, f"{asked[0]}/{asked[1]}")


def keep_shard(store: CampaignStore, shard: Shard, *, resume: bool) -> None:
    """Note in a store that it has a shard. One that is resumed must be there already.

    Raises:
        UsageError: it is not; the message says which are.
        ScheduleFormatError: the store is damaged.
    """
    if resume and shard not in shards_in(store):
        raise _another(store, f"{shard.name} of seeds {shard.whole.start}:{shard.whole.stop}")
    keep_shards(store, [shard])


def _another(store: CampaignStore, asked: str) -> UsageError:
    there = "; ".join(str(shard) for shard in shards_in(store)[:SHOWN_MAX]) or "a campaign that is no shard"
    return UsageError(f"--shard {asked}: {store.path.parent} holds {there}; ask for that, or give another --out")
