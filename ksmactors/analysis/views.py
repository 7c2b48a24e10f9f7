"""The views that queries can ask, beside `events`: the same lines, with the columns that belong to one subject.

A column that a line of the log does not have is NULL. All views have `file`, `line`, `run`, `seed`, `schedule`, `step`
and `now` (ns), but for `schedules` and `actors`, which have one row for each schedule, and each actor of one.
"""

from __future__ import annotations

from typing import Final

_WHERE: Final = "file, line, run, seed, schedule, step, now"

VIEWS: Final[dict[str, str]] = {
    "races": f"""
        SELECT {_WHERE}, substr(event, 6) AS kind, winner, loser, tree, tree_nid, page_nid, kpfn,
               retries, lost_merges, pages_exiled, nodes_freed, pages_skipped
        FROM events WHERE event LIKE 'race.%'""",
    "locks": f"""
        SELECT {_WHERE}, event, lock, regexp_replace(lock, ' of .*$| \\d+$', '') AS kind, actor, holder, waited, held
        FROM events WHERE lock IS NOT NULL""",
    "pages": f"""
        SELECT {_WHERE}, event, actor, coalesce(kpfn, pfn) AS pfn, coalesce(old_pfn, other_kpfn) AS old_pfn,
               coalesce(nid, page_nid) AS nid, mm, address, err
        FROM events WHERE coalesce(kpfn, pfn) >= 0""",
    "actors": """
        SELECT file, run, seed, schedule, actor, any_value(node) AS node, count(*) AS events,
               count(*) FILTER (event = 'lock.wait') AS lock_waits, min(step) AS first_step, max(step) AS last_step
        FROM events GROUP BY file, run, seed, schedule, actor""",
    "schedules": """
        SELECT file, run, seed, schedule, min(line) AS line, max(workload) AS workload, max(kernel) AS kernel,
               max(nodes) AS nodes, max(strategy) AS strategy, coalesce(max(steps), max(step)) AS steps,
               coalesce(max(choices), 0) AS choices,
               coalesce(max(verdict), 'unfinished') AS verdict, max(now) AS now, count(*) AS events,
               count(*) FILTER (event LIKE 'race.%') AS races, max(signature) AS signature
        FROM events GROUP BY file, run, seed, schedule""",
}
"""By name: the query of each. A schedule whose end is not in the log has the verdict `unfinished`."""
