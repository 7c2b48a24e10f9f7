"""Stores of one campaign with different seeds, put together into a new one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from ksmactors.campaign.findings import kept, prepare
from ksmactors.campaign.identity import refuse_another
from ksmactors.campaign.overview import overview_of
from ksmactors.campaign.shards import keep_shards, shards_in
from ksmactors.campaign.store import CampaignStore
from ksmactors.campaign.store_files import has_store, open_to_read, open_to_write, remove
from ksmactors.errors import UsageError
from ksmactors.run.outcome import Outcome
from ksmactors.run.trust import Source


def merge_stores(directories: Sequence[Path], out: Path) -> list[str]:
    """Merge stores into a new one in `out`, and write the finding file of each defect there. `out` need not exist.

    Returns a line for each finding file that could not be written.

    Raises:
        UsageError: they are not of one campaign, have seeds in common, or there is a store in `out` already.
        ScheduleFormatError: one is damaged.
    """
    if has_store(out):
        raise UsageError(f"--out {out}: holds a campaign already; give an empty directory")
    with ExitStack() as stack:
        stores = [stack.enter_context(open_to_read(directory)) for directory in directories]
        about = stores[0].about()
        for store, directory in zip(stores[1:], directories[1:], strict=True):
            refuse_another(about["identity"], store.about()["identity"], str(directory), "merge stores of one campaign")
        _refuse_common_seeds(stores)
        begun = min(store.about()["begun"] for store in stores)
        with open_to_write(prepare(out), about["identity"], about["made"], begun=begun) as merged:
            try:
                for store in stores:
                    merged.copy(store)
                _note_shards(merged, stores)
                return _write_findings(merged, out)
            except UsageError:
                remove(out)
                raise


def _note_shards(merged: CampaignStore, stores: Sequence[CampaignStore]) -> None:
    """Of shards, the whole campaign is asked for: so what other shards have shows as left."""
    shards = [shard for store in stores for shard in shards_in(store)]
    if shards:
        keep_shards(merged, shards)
        for whole in dict.fromkeys(shard.whole for shard in shards):
            merged.ask(whole)


def _refuse_common_seeds(stores: Sequence[CampaignStore]) -> None:
    blocks = sorted((first, stop, str(store.path.parent)) for store in stores for first, stop in store.stored().items())
    for (_, stop, one), (first, _, other) in pairwise(blocks):
        if first < stop:
            raise UsageError(f"{one} and {other} have seed {first} in common; merge campaigns of different seeds")


def _write_findings(store: CampaignStore, out: Path) -> list[str]:
    files = store.about()["made"].get("files", [])
    problems = []
    names = [subject["workload"] for subject in store.about()["identity"]["subjects"]]
    for found in overview_of(store, out).tally.found.values():
        if found.outcome.schedule:
            again = kept(_with_files(found.outcome, names, files), out)
            problems += [again.problem] if again.problem else []
    return problems


def _with_files(outcome: Outcome, names: Sequence[object], files: object) -> Outcome:
    """An outcome with the files that its workload was run with, if they are known."""
    try:
        known = files[names.index(outcome.workload)]  # type: ignore[index]  # what it is not, ends below
        return replace(outcome, sources=tuple(Source(str(file), str(sha256)) for file, sha256 in known))
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return outcome
