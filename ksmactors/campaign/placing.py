"""Where the store of a campaign is: in the directory that was named, or in one of its own in the state directory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from ksmactors.campaign.dealing import EQUAL
from ksmactors.campaign.findings import slug, state_directory
from ksmactors.campaign.identity import identity, made_with
from ksmactors.campaign.store import CampaignStore
from ksmactors.campaign.store_files import StoreInUse, has_store, open_to_write
from ksmactors.errors import UsageError
from ksmactors.files import make_private
from ksmactors.run.subject import Subject

_TWINS_MAX: Final = 64
"""Equal campaigns that may run at the same time without an `--out`."""


def default_home(of: Mapping[str, Any]) -> Path:
    """The directory of a campaign without an `--out`: one for each subject, strategy and budget, whatever the
    version."""
    decisive = ("subjects", "strategy") if of["budget"] == EQUAL else ("subjects", "strategy", "budget")
    asked = {key: of[key] for key in decisive}
    key = hashlib.blake2b(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
    names = [slug(one["workload"]) for one in of["subjects"]]
    first = names[0] if len(names) == 1 else f"{len(names)}_workloads"
    return state_directory() / "ksmactors" / "campaigns" / f"{first}-{key}"


def refuse_without_store(out: Path) -> None:
    """Refuse to resume a campaign where there is none.

    Raises:
        UsageError: the directory has no store, or does not exist.
    """
    if not has_store(out):
        raise UsageError(f"--resume: there is no campaign in {out}; give the --out it had")


@contextmanager
def store_of(
    out: Path | None,
    subjects: Sequence[Subject],
    strategy: str,
    *,
    resume: bool,
    budget: str = EQUAL,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[CampaignStore]:
    """Open the store of a campaign to write.

    Args:
        out: the directory that was named, which exists; None: the default one.
        subjects, strategy, budget: what the campaign is of.
        resume: whether it goes on with what is there; else a store of another campaign is set aside.
        tell: gets a line if one was.

    Raises:
        UsageError: there is nothing to go on with, or the store cannot be used; the message says why.
    """
    of, made = identity(subjects, strategy, budget), made_with(subjects)
    if out is not None:
        if resume:
            refuse_without_store(out)

        def set_aside(path: Path) -> None:
            tell(f"--out {out} held another campaign; its store is {path.name} now")

        with open_to_write(out, of, made, set_aside=None if resume else set_aside) as store:
            yield store
        return
    home = default_home(of)
    if resume and not has_store(home):
        raise UsageError("--resume: no campaign of this was run without --out; give the --out and the options it had")
    with ExitStack() as stack:
        yield _default(stack, home, of, made, resume=resume)


def _default(
    stack: ExitStack, home: Path, of: Mapping[str, Any], made: Mapping[str, Any], *, resume: bool
) -> CampaignStore:
    """Open the default store; another one beside it while an equal campaign writes there."""
    for number in range(1, _TWINS_MAX + 1):
        place = home if number == 1 else home.with_name(f"{home.name}.{number}")
        try:
            make_private(place, state_directory())
        except OSError as error:
            raise UsageError(f"{place}: cannot be created ({error.strerror}); give --out DIR") from None
        try:
            return stack.enter_context(open_to_write(place, of, made, replace=not resume))
        except StoreInUse:
            if resume:
                raise
    raise UsageError(f"{home}: {_TWINS_MAX} equal campaigns are under way; give --out DIR")
