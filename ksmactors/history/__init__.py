"""The series as history: one module per commit, each what the code did *before* it, as a layer.

`--without SLUG` undoes a commit: its layer overrides just the functions that the commit changed with what they did
before. `mutants/` holds smaller layers (a missing re-check, a skipped lock) that are no commit of their own, and
`cases/` the corpus: for each known defect the variant that has it, a workload small enough to read that reaches it, the
watcher that must report it, and a directed schedule that shows it in one run.
"""

from __future__ import annotations

from ksmactors.history.commits import COMMITS, Commit

__all__ = ["COMMITS", "Commit"]
