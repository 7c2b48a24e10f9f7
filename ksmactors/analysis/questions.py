"""Queries on logs, one function each; equal logs give equal answers in equal order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from ksmactors.analysis.store import Logs

COLUMNS_ASKED: Final = frozenset({
    "event", "run", "seed", "schedule", "step", "now", "actor",
    "workload", "kernel", "nodes", "strategy", "steps", "choices", "verdict",
    "signature", "watcher", "kind", "message",
    "winner", "loser", "tree", "tree_nid", "page_nid", "lock", "holder", "waited", "held",
    "pfn", "kpfn", "old_pfn", "nid", "err", "retries", "lost_merges", "pages_exiled",
})  # fmt: skip
"""The columns of `events` that these queries read."""

_SCHEDULE: Final = "(file, run, seed, schedule)"


@dataclass(frozen=True, slots=True)
class Run:
    """A run in a log. `steps` counts up to where the log ends; schedules without an end are `unfinished`."""

    file: str
    run: str
    workload: str | None
    kernel: str | None
    nodes: int | None
    strategy: str | None
    schedules: int
    steps: int
    choices: int
    verdicts: dict[str, int]


def runs(logs: Logs) -> list[Run]:
    """Return the runs in the logs, with settings and verdicts."""
    rows = logs.rows("""
        SELECT file, run, max(workload), max(kernel), max(nodes), max(strategy),
               count(*), sum(steps), sum(choices), histogram(verdict)
        FROM schedules GROUP BY file, run ORDER BY file, min(line)""")
    return [Run(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class RaceCount:
    """A kind of handled race: how often, in how many schedules, and where it was seen first (file and line).

    Its cost are sums over all of them; None for logs that do not have these keys.
    """

    kind: str
    count: int
    schedules: int
    file: str
    line: int
    retries: int | None = None
    lost_merges: int | None = None
    pages_exiled: int | None = None


def races(logs: Logs) -> list[RaceCount]:
    """Return the races that happened, most frequent first."""
    rows = logs.rows(f"""
        SELECT event, count(*) AS n, count(DISTINCT {_SCHEDULE}), arg_min((file, line), (file, line)) AS first,
               sum(retries)::BIGINT, sum(lost_merges)::BIGINT, sum(pages_exiled)::BIGINT
        FROM events WHERE event LIKE 'race.%' GROUP BY event ORDER BY n DESC, event""")
    return [RaceCount(kind, count, schedules, *first, *cost) for kind, count, schedules, first, *cost in rows]


@dataclass(frozen=True, slots=True)
class RacePlace:
    """Races of one kind in one tree, over pages of one node; `tree_nid` and `page_nid` are -1 where unknown."""

    kind: str
    tree: str | None
    tree_nid: int
    page_nid: int
    count: int


def race_places(logs: Logs) -> list[RacePlace]:
    """Return the tree and the page's node of each kind of race."""
    rows = logs.rows("""
        SELECT event, tree, coalesce(tree_nid, -1) AS tree_nid, coalesce(page_nid, -1) AS page_nid, count(*)
        FROM events WHERE event LIKE 'race.%' GROUP BY ALL ORDER BY event, tree NULLS FIRST, tree_nid, page_nid""")
    return [RacePlace(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class RacePair:
    """How often one actor beat another in one kind of race."""

    kind: str
    winner: str | None
    loser: str | None
    count: int


def race_pairs(logs: Logs) -> list[RacePair]:
    """Return winner and loser counts: the cells of a matrix for each kind."""
    rows = logs.rows("""
        SELECT event, winner, loser, count(*) AS n FROM events WHERE event LIKE 'race.%'
        GROUP BY event, winner, loser ORDER BY event, n DESC, winner, loser""")
    return [RacePair(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Contention:
    """How often an actor found a lock taken, and its holder (None without a single one, as with readers)."""

    lock: str
    waiter: str
    holder: str | None
    waits: int


def contention(logs: Logs) -> list[Contention]:
    """Return the waits by lock, waiter and holder, most frequent first."""
    rows = logs.rows("""
        SELECT lock, actor, holder, count(*) AS n FROM events WHERE event = 'lock.wait'
        GROUP BY lock, actor, holder ORDER BY n DESC, lock, actor, holder NULLS FIRST""")
    return [Contention(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class LockKind:
    """All locks of one kind (`mmap_sem`, `page lock`): waits, contended locks, waiting actors."""

    kind: str
    waits: int
    locks: int
    waiters: int
    waited: int | None = None
    held: int | None = None


def lock_kinds(logs: Logs) -> list[LockKind]:
    """Return the contended kinds of locks; a kind is the lock's name without its instance."""
    rows = logs.rows("""
        SELECT kind, count(*) FILTER (event = 'lock.wait') AS n, count(DISTINCT lock),
               count(DISTINCT actor) FILTER (event = 'lock.wait'),
               sum(waited) FILTER (event = 'lock.acquired')::BIGINT, sum(held)::BIGINT AS held
        FROM locks GROUP BY kind ORDER BY n DESC, held DESC NULLS LAST, kind""")
    return [LockKind(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class LoggedFinding:
    """A defect: in how many schedules it was found, and the first of them."""

    signature: str
    watcher: str
    kind: str
    message: str
    schedules: int
    file: str
    line: int
    run: str
    seed: int
    schedule: int
    step: int


def findings(logs: Logs) -> list[LoggedFinding]:
    """What watchers found, one row a signature, in the order of first appearance."""
    rows = logs.rows(f"""
        SELECT signature, arg_min((watcher, kind, message), (file, line)), count(DISTINCT {_SCHEDULE}),
               min((file, line)) AS first, arg_min((run, seed, schedule, step), (file, line))
        FROM events WHERE event = 'finding.found' GROUP BY signature ORDER BY first, signature""")
    return [
        LoggedFinding(signature, watcher, kind, message, count, *first, *where)
        for signature, (watcher, kind, message), count, first, where in rows
    ]


@dataclass(frozen=True, slots=True)
class NodeActivity:
    """Events of the pages of one node: counts of pages. `nid` is -1 for pages whose node the log omits."""

    nid: int
    first_touches: int
    cow_copies: int
    ksm_pages: int
    merged: int
    migrated_in: int
    migrated_out: int
    migrations_failed: int
    freed: int


def nodes(logs: Logs) -> list[NodeActivity]:
    """Return first touches, copies, new KSM pages, merges, migrations and frees on each node.

    Merges count for the node of the KSM page. A frame stays on its node, so any event with both determines it.
    """
    rows = logs.rows("""
        WITH homes AS (
            SELECT DISTINCT file, run, unnest([pfn, kpfn]) AS pfn, unnest([nid, coalesce(nid, page_nid)]) AS nid
            FROM events WHERE nid >= 0 OR page_nid >= 0),
        home AS (SELECT file, run, pfn, min(nid) AS nid FROM homes WHERE pfn >= 0 AND nid >= 0 GROUP BY ALL),
        uses AS (
            SELECT file, run, 'first_touch' AS use, pfn FROM events WHERE event = 'do_anonymous_page' UNION ALL
            SELECT file, run, 'cow', pfn FROM events WHERE event = 'do_wp_page' AND pfn <> old_pfn UNION ALL
            SELECT file, run, 'ksm_page', kpfn FROM events WHERE event = 'stable_tree_insert' UNION ALL
            SELECT file, run, 'merged', kpfn FROM events
            WHERE event = 'ksm_merge_with_ksm_page' AND err = 0 UNION ALL
            SELECT file, run, 'in', pfn FROM events WHERE event = 'migrate_page' AND err = 0 UNION ALL
            SELECT file, run, 'out', old_pfn FROM events WHERE event = 'migrate_page' AND err = 0 UNION ALL
            SELECT file, run, 'failed', pfn FROM events WHERE event = 'migrate_page' AND err <> 0 UNION ALL
            SELECT file, run, 'freed', pfn FROM events WHERE event = 'free_page')
        SELECT coalesce(nid, -1) AS nid, count(*) FILTER (use = 'first_touch'), count(*) FILTER (use = 'cow'),
               count(*) FILTER (use = 'ksm_page'), count(*) FILTER (use = 'merged'),
               count(*) FILTER (use = 'in'), count(*) FILTER (use = 'out'),
               count(*) FILTER (use = 'failed'), count(*) FILTER (use = 'freed')
        FROM uses LEFT JOIN home USING (file, run, pfn) GROUP BY 1 ORDER BY 1""")
    return [NodeActivity(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class TreeActivity:
    """Insertions into the trees with one index: pages and stable nodes."""

    tree_nid: int
    unstable_inserts: int
    stable_inserts: int
    misplaced: int
    reslotted: int
    collided: int


def trees(logs: Logs) -> list[TreeActivity]:
    """Return the insertions into the trees of each node, and the effects of migration on the stable ones."""
    rows = logs.rows("""
        SELECT tree_nid, count(*) FILTER (event = 'unstable_tree_search_insert') AS u,
               count(*) FILTER (event = 'stable_tree_insert') AS s,
               count(*) FILTER (event = 'stable_node.misplaced') AS m,
               count(*) FILTER (event = 'stable_node.reslotted') AS r,
               count(*) FILTER (event = 'stable_node.collided') AS c
        FROM events WHERE tree_nid >= 0 GROUP BY tree_nid HAVING u + s + m + r + c > 0 ORDER BY tree_nid""")
    return [TreeActivity(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class ActorActivity:
    """Activity of an actor: events it recorded, races won and lost, times it found a lock taken."""

    actor: str
    events: int
    won: int
    lost: int
    waits: int


def actors(logs: Logs) -> list[ActorActivity]:
    """Return the activity of each actor, the busiest first."""
    won: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for pair in race_pairs(logs):
        won[str(pair.winner)] += pair.count
        lost[str(pair.loser)] += pair.count
    rows = logs.rows("""
        SELECT actor, count(*) AS n, count(*) FILTER (event = 'lock.wait') FROM events
        GROUP BY actor ORDER BY n DESC, actor""")
    return [ActorActivity(actor, count, won[actor], lost[actor], waits) for actor, count, waits in rows]
