"""The catalogue of events: only these can be logged.

A name without a dot is the kernel's: that of a tracepoint where there is one (same fields), else of the function. A
name with a dot is the emulator's own. Each constant is the event's code, its index in `CATALOGUE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ksmactors.events.races import COUNTS, RACES, Race


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event: its type (int, str, str|null, bool), its unit or what it counts, and its meaning."""

    name: str
    type: str
    unit: str
    help: str


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event. `level` is debug, info, warning or error.

    `derived` are the last of its `fields`: they follow from the kind and the others, or from the version of ksmactors. So
    they are in log lines, and neither in records nor in digests. `race` says how.
    """

    code: int
    name: str
    level: str
    summary: str
    fields: tuple[Field, ...]
    derived: int = 0
    race: Race | None = None

    @property
    def recorded(self) -> tuple[Field, ...]:
        """The fields that a record has."""
        return self.fields[: len(self.fields) - self.derived]


CATALOGUE: Final[list[Event]] = []

PFN: Final = Field("pfn", "int", "page frame number", "the page")
KPFN: Final = Field("kpfn", "int", "page frame number", "the KSM page")
NID: Final = Field("nid", "int", "node", "where the page is")
TREE_NID: Final = Field("tree_nid", "int", "node", "index of the tree")
MM: Final = Field("mm", "str", "", "the address space")
ADDRESS: Final = Field("address", "int", "bytes", "virtual address, page aligned")
ITEM: Final = Field("rmap_item", "int", "", "number of the rmap_item, in order of allocation")
NODE: Final = Field("stable_node", "int", "", "number of the stable_node, in order of allocation")
ERR: Final = Field("err", "int", "-errno", "0 or a negative errno")
OLD_PFN: Final = Field("old_pfn", "int", "page frame number", "the page before")


RACE_COUNTS: Final = tuple(Field(name, "int", unit, said) for name, unit, said in COUNTS)
"""The cost of a race as counts: the fields of `races.Cost`, in their order."""


def _event(name: str, level: str, summary: str, *fields: Field, derived: int = 0) -> int:
    code = len(CATALOGUE)
    CATALOGUE.append(Event(code, name, level, summary, fields, derived))
    return code


def _race(kind: str, summary: str) -> int:
    race = RACES[kind]
    said = f"{race.winner}; `unknown`: {race.unknown}" if race.unknown else race.winner
    fields = (
        Field("winner", "str", "", said),
        Field("loser", "str", "", "the actor that must try again or give up"),
        Field("tree", "str|null", "", "stable, unstable or null"),
        Field("tree_nid", "int", "node", "index of the tree, -1 if none"),
        Field("page_nid", "int", "node", "where the page is, -1 if unknown"),
        Field("kpfn", "int", "page frame number", "the contended page, -1 if unknown"),
        Field("object", "str", "", "what they met over"),
        Field("cost", "str", "", f"`{race.cost}`: {race.meaning}"),
        *RACE_COUNTS,
    )
    code = len(CATALOGUE)
    CATALOGUE.append(Event(code, f"race.{kind}", "info", summary, fields, 2 + len(RACE_COUNTS), race))
    return code


# -- events of the emulator -----------------------------------------------------------------------------------------
RUN_START: Final = _event(
    "run.start", "info", "A schedule starts.",
    Field("workload", "str", "", "its name"), Field("kernel", "str", "", "the kernel emulated"),
    Field("nodes", "int", "", "NUMA nodes"), Field("strategy", "str", "", "the strategy"),
    Field("version", "str", "", "the version of ksmactors that wrote the log"), derived=1,
)  # fmt: skip
RUN_END: Final = _event(
    "run.end", "info", "A schedule has ended.",
    Field("verdict", "str", "", "ok, finding, inconclusive or crashed"),
    Field("steps", "int", "points", "its length"), Field("choices", "int", "", "where two or more were ready"),
)  # fmt: skip
LOCK_WAIT: Final = _event(
    "lock.wait", "debug", "An actor finds a lock taken.",
    Field("lock", "str", "", "the lock's name"), Field("holder", "str|null", "", "the actor that holds it, or null"),
)  # fmt: skip
SYSFS_WRITE: Final = _event(
    "sysfs.write", "info", "A knob was written.",
    Field("knob", "str", "", "file under /sys/kernel/mm/ksm"), Field("value", "str", "", "what was written"), ERR,
)  # fmt: skip
WORKLOAD_MARK: Final = _event(
    "workload.mark", "info", "A workload passed one of its marks.",
    Field("mark", "str", "", "the mark's name"),
)  # fmt: skip
FINDING: Final = _event(
    "finding.found", "error", "A watcher reports.",
    Field("watcher", "str", "", "the watcher"), Field("kind", "str", "", "the defect"),
    Field("signature", "str", "", "equal for equal defects"), Field("message", "str", "", "what happened in this schedule"),
)  # fmt: skip
KSM_WARN: Final = _event(
    "ksm.warn", "warning", "The kernel would print a warning (WARN_ON_ONCE).",
    Field("function", "str", "", "where"), Field("message", "str", "", "what"),
)  # fmt: skip

# -- processes and the memory under them ------------------------------------------------------------------------
MMAP: Final = _event("mmap", "info", "Anonymous memory was mapped.", MM, ADDRESS, Field("pages", "int", "pages", "how many"))  # fmt: skip
MUNMAP: Final = _event("munmap", "info", "Memory was unmapped.", MM, ADDRESS, Field("pages", "int", "pages", "how many"))  # fmt: skip
MREMAP: Final = _event(
    "mremap", "info", "A mapping moved.", MM, ADDRESS, Field("new_address", "int", "bytes", "where to"), ERR
)
MADVISE: Final = _event(
    "madvise", "info", "Advice was given.", MM, ADDRESS, Field("pages", "int", "pages", "how many"),
    Field("advice", "str", "", "its name, MADV_MERGEABLE for one"), ERR,
)  # fmt: skip
FORK: Final = _event(
    "dup_mmap", "info", "A process forked.", MM, Field("child", "str", "", "the child's address space")
)
EXIT_MMAP: Final = _event("exit_mmap", "info", "An address space was torn down.", MM)
DO_ANONYMOUS_PAGE: Final = _event("do_anonymous_page", "info", "First touch of a page.", MM, ADDRESS, PFN, NID)
DO_WP_PAGE: Final = _event(
    "do_wp_page", "info", "A write to a read-only page: copied (old_pfn differs), or made writable in place.",
    MM, ADDRESS, PFN, OLD_PFN, NID,
)  # fmt: skip
FREE_PAGE: Final = _event("free_page", "info", "A frame went back to its node.", PFN, NID)
MIGRATE_PAGE: Final = _event(
    "migrate_page", "info", "A page was migrated, or was not.",
    Field("pfn", "int", "page frame number", "the page after the call"), OLD_PFN, NID, ERR,
)  # fmt: skip
SLOT: Final = Field("slot", "int", "", "number of the swap slot, in order of allocation")
SWAP_READPAGE: Final = _event(
    "swap_readpage",
    "info",
    "A page was read from swap.",
    SLOT,
    PFN,
    NID,
    Field("failed", "bool", "", "it was unreadable"),
)
SWAP_WRITEPAGE: Final = _event("swap_writepage", "info", "A page was written to swap.", SLOT, PFN, NID)
DO_SWAP_PAGE: Final = _event(
    "do_swap_page", "info", "A page came back from the swap cache, or a copy of it (old_pfn differs).",
    MM, ADDRESS, PFN, OLD_PFN, NID,
)  # fmt: skip
RECLAIM_PAGE: Final = _event(
    "shrink_page_list", "info", "Reclaim examined a page.", PFN, NID,
    Field("outcome", "str", "", "freed, writing, or why it was kept"),
)  # fmt: skip
SWAPOFF: Final = _event("swapoff", "info", "swapoff has read all pages back, or failed (err).", ERR)
OFFLINE_PAGES: Final = _event(
    "offline_pages", "info", "Memory was taken offline, or was not.",
    Field("start_pfn", "int", "page frame number", "the first frame"), Field("pages", "int", "pages", "how many"), NID, ERR,
)  # fmt: skip
ONLINE_PAGES: Final = _event(
    "online_pages", "info", "Memory came back.",
    Field("start_pfn", "int", "page frame number", "the first frame"), Field("pages", "int", "pages", "how many"), ERR,
)  # fmt: skip
MIGRATION_ENTRY_WAIT: Final = _event(
    "migration_entry_wait", "debug", "A fault met a migration entry and waits.", MM, ADDRESS, PFN
)

# -- ksm: the kernel's tracepoints ------------------------------------------------------------------------------
KSM_START_SCAN: Final = _event(
    "ksm_start_scan", "info", "A full scan starts.",
    Field("seq", "int", "scans", "full scans completed"), Field("rmap_entries", "int", "", "rmap_items"),
)  # fmt: skip
KSM_STOP_SCAN: Final = _event(
    "ksm_stop_scan", "info", "A full scan has ended.",
    Field("seq", "int", "scans", "full scans completed"), Field("rmap_entries", "int", "", "rmap_items"),
)  # fmt: skip
KSM_ENTER: Final = _event("ksm_enter", "info", "An address space is registered.", MM)
KSM_EXIT: Final = _event("ksm_exit", "info", "An address space leaves.", MM)
KSM_MERGE_ONE_PAGE: Final = _event(
    "ksm_merge_one_page", "info", "ksmd tried to make a page a KSM page.", PFN, ITEM, MM, ERR
)
KSM_MERGE_WITH_KSM_PAGE: Final = _event(
    "ksm_merge_with_ksm_page", "info", "ksmd tried to merge a page into a KSM page.", KPFN, PFN, ITEM, MM, ERR
)
KSM_REMOVE_KSM_PAGE: Final = _event("ksm_remove_ksm_page", "info", "A stable node was removed.", PFN)
KSM_REMOVE_RMAP_ITEM: Final = _event(
    "ksm_remove_rmap_item", "info", "An rmap_item left its stable node.", PFN, ITEM, MM
)
KSM_ADVISOR: Final = _event(
    "ksm_advisor", "info", "The advisor set pages_to_scan at the end of a full scan.",
    Field("scan_time", "int", "s", "how long the scan took"),
    Field("pages_to_scan", "int", "pages", "the new value"),
    Field("cpu_percent", "int", "%", "of a CPU that ksmd used"),
)  # fmt: skip

# -- ksm: functions ---------------------------------------------------------------------------------------------
CALC_CHECKSUM: Final = _event(
    "calc_checksum", "info", "A page's checksum was computed. Its value is not recorded: it depends on every byte of "
    "the page, and two runs may differ in bytes that nothing else depends on.", MM, ADDRESS, PFN,
    Field("changed", "bool", "", "differs from the last one"),
)  # fmt: skip
UNSTABLE_TREE_INSERT: Final = _event(
    "unstable_tree_search_insert", "info", "A page went into the unstable tree.", MM, ADDRESS, PFN, ITEM, TREE_NID
)
STABLE_TREE_INSERT: Final = _event(
    "stable_tree_insert", "info", "A new KSM page went into the stable tree.", NODE, KPFN, TREE_NID
)
STABLE_TREE_APPEND: Final = _event(
    "stable_tree_append", "info", "A mapping joined a stable node.", ITEM, NODE, KPFN, MM, ADDRESS
)
KSM_MIGRATE_PAGE: Final = _event(
    "ksm_migrate_page", "info", "A stable node's page moved.", NODE, KPFN, OLD_PFN, NID, TREE_NID
)
NODE_MISPLACED: Final = _event(
    "stable_node.misplaced", "info", "A stable node was found in another node's tree, and put on migrate_nodes.",
    NODE, KPFN, TREE_NID, NID,
)  # fmt: skip
NODE_RESLOTTED: Final = _event(
    "stable_node.reslotted", "info", "A stable node came from migrate_nodes into the tree of its node.",
    NODE, KPFN, TREE_NID,
)  # fmt: skip
NODE_COLLIDED: Final = _event(
    "stable_node.collided", "info", "A moved stable node met an equal one in the tree of its new node.",
    NODE, KPFN, TREE_NID, Field("other_kpfn", "int", "page frame number", "the KSM page already there"),
)  # fmt: skip
ALLOC_STABLE_NODE_CHAIN: Final = _event(
    "alloc_stable_node_chain", "info", "A stable node became a chain of nodes with equal pages.", NODE, TREE_NID
)
FREE_STABLE_NODE_CHAIN: Final = _event(
    "free_stable_node_chain",
    "info",
    "A chain was freed: it was empty, or its last node took its place.",
    NODE,
    TREE_NID,
)
STABLE_NODE_CHAIN_ADD_DUP: Final = _event(
    "stable_node_chain_add_dup", "info", "A stable node joined a chain.", NODE, KPFN,
    Field("chain", "int", "", "number of the chain, in order of allocation of stable_nodes"),
)  # fmt: skip
BREAK_COW: Final = _event("break_cow", "info", "An incomplete merge was undone.", ITEM, MM, ADDRESS)
BREAK_KSM: Final = _event("break_ksm", "info", "A KSM page was unshared by a write fault.", MM, ADDRESS, PFN)

# -- races that the protocol handles ----------------------------------------------------------------------------
RACE_PAGE_MIGRATED: Final = _race("page_migrated", "A KSM page was migrated while it was being looked up.")
RACE_PAGE_FROZEN: Final = _race("page_frozen", "A KSM page's references were frozen while it was being looked up.")
RACE_STALE_NODE: Final = _race("stale_node", "A stable node's page was gone: the node was pruned.")
RACE_TRYLOCK_LOST: Final = _race("trylock_lost", "A page to be merged was locked by another actor.")
RACE_CHECKSUM_CHANGED: Final = _race("checksum_changed", "A page was written between two scans.")
RACE_CONTENT_CHANGED: Final = _race("content_changed", "A page was written between being found equal and being merged.")
RACE_PTE_CHANGED: Final = _race("pte_changed", "A page table entry changed under a fault or a merge.")
RACE_PAGE_PINNED: Final = _race("page_pinned", "Another actor held a reference: the page could not be write-protected.")
RACE_MIGRATION_BUSY: Final = _race(
    "migration_busy", "A migration backed off: a reference or a mapping it did not find."
)
RACE_MIGRATION_LOCKED: Final = _race("migration_locked", "A migration found the page locked.")
RACE_UNSTABLE_GONE: Final = _race("unstable_gone", "A page in the unstable tree was gone when a search met it.")
RACE_UNSTABLE_MOVED: Final = _race("unstable_moved", "An equal page in the unstable tree had moved to another node.")
RACE_NODE_MISPLACED: Final = _race(
    "node_misplaced", "A search met an equal KSM page that had been moved away from the tree's node."
)
RACE_NODE_COLLIDED: Final = _race("node_collided", "A moved KSM page met an equal one on its new node.")
RACE_MM_EXITED: Final = _race("mm_exited", "An address space exited before ksmd got to its page.")
RACE_VMA_GONE: Final = _race("vma_gone", "A mapping went, or lost its advice, before ksmd got to its page.")
RACE_INSERT_LOST: Final = _race(
    "insert_lost", "An equal page had come into the stable tree before a new one was inserted."
)
MLOCK: Final = _event(
    "mlock", "info", "A range was locked in memory, or unlocked.", MM, ADDRESS,
    Field("pages", "int", "pages", "how many"), Field("on", "bool", "", "mlock, not munlock"), ERR,
)  # fmt: skip

# -- faults -------------------------------------------------------------------------------------------------------
FAULT_INJECT: Final = _event(
    "fault.inject", "warning", "A fault was injected.",
    Field("kind", "str", "", "the kind, see `stress --help`"), Field("victim", "str", "", "the actor or process it happened to"),
)  # fmt: skip

# -- detail: recorded with --detail only, and in no digest --------------------------------------------------------
LOCK: Final = Field("lock", "str", "", "the lock's name")
SHARED: Final = Field("shared", "bool", "", "taken for read, together with other readers")
FUNCTION: Final = Field("function", "str", "", "the kernel function it happens in, empty if none is known")
HELD: Final = Field("held", "int", "ns", "virtual time for which it was held")
WAITED: Final = Field("waited", "int", "ns", "virtual time for which the actor had waited for it")
TREE: Final = Field("tree", "str|null", "", "stable or unstable")
ENTRY: Final = (
    TREE, TREE_NID,
    Field("stable_node", "int", "", "number of the stable_node that is the entry, -1 if it is none"),
    Field("rmap_item", "int", "", "number of the rmap_item that is the entry, -1 if it is none"),
    Field("pfn", "int", "page frame number", "the entry's page, -1 if it has none"),
    Field("page_nid", "int", "node", "where that page is, -1 if it has none"),
)  # fmt: skip
_DETAIL_FROM: Final = len(CATALOGUE)
LOCK_ACQUIRED: Final = _event(
    "lock.acquired", "debug", "An actor has got a lock.", LOCK, SHARED,
    Field("tried", "bool", "", "it would not have waited"), WAITED,
    Field("handed_by", "str|null", "", "the actor whose release ended its wait, or null"), FUNCTION,
)  # fmt: skip
LOCK_RELEASED: Final = _event(
    "lock.released", "debug", "An actor has given a lock back.", LOCK, SHARED, HELD, WAITED, FUNCTION
)
ACTOR_BLOCKED: Final = _event(
    "actor.blocked", "debug", "An actor begins to wait.",
    Field("object", "str", "", "what for: a lock, a wait queue, a mailbox, its alarm"),
    Field("holder", "str|null", "", "who holds it, or null"), FUNCTION,
)  # fmt: skip
ACTOR_WOKEN: Final = _event(
    "actor.woken", "debug", "An actor is ready again.",
    Field("woken", "str", "", "the actor that had waited"),
    Field("waker", "str|null", "", "the actor that woke it; null: its time had come, or it was resumed from outside"),
    Field("object", "str", "", "what it had waited for"), WAITED,
)  # fmt: skip
ACTOR_STARTED: Final = _event(
    "actor.started", "debug", "An actor has been started.",
    Field("started", "str", "", "the new actor"),
    Field("started_cpu", "int", "", "its CPU"), Field("started_node", "int", "node", "its node"),
)  # fmt: skip
ACTOR_ENDED: Final = _event("actor.ended", "debug", "An actor has ended.")
TURN_PASSED: Final = _event(
    "turn.passed", "debug", "The turn goes to another actor.",
    Field("next_actor", "str", "", "the actor that gets it"),
    Field("why", "str", "", "switched (a choice of the schedule), yielded, blocked, slept or ended"),
    Field("function", "str", "", "the kernel function that the actor which gives it away is in, empty if none is known"),
    Field("operation", "str", "", "what that actor does next when the turn comes back, empty if it has ended"),
)  # fmt: skip
FUNCTION_ENTERED: Final = _event(
    "function.entered", "debug", "An actor does its first operation on behalf of another kernel function than before.",
    FUNCTION, Field("operation", "str", "", "that operation, as `reads kpfn/7`"),
)  # fmt: skip
PAGE_MAPPED: Final = _event(
    "page.mapped", "debug", "A page table entry names a page that it did not name before.", MM, ADDRESS, PFN, NID,
    Field("write", "bool", "", "the entry allows writes"),
)  # fmt: skip
PAGE_UNMAPPED: Final = _event(
    "page.unmapped", "debug", "A page table entry does not map a page any more.", MM, ADDRESS, PFN, NID,
    Field("became", "str", "", "what is there now: nothing, page, migration, swap or hwpoison"),
)  # fmt: skip
PAGE_PROTECTED: Final = _event(
    "page.protected", "debug", "The write permission of a page table entry changed.", MM, ADDRESS, PFN,
    Field("write", "bool", "", "the entry allows writes from now on"),
)  # fmt: skip
PAGE_MAPPING: Final = _event(
    "page.mapping", "debug", "page->mapping was stored: what kind of page a frame is.", PFN, NID,
    Field("mapping", "str", "", "anon, ksm or none"),
    Field("stable_node", "int", "", "number of the stable_node that it names, -1 if none"),
)  # fmt: skip
PAGE_REFERENCES: Final = _event(
    "page.references", "debug", "The reference count of a page changed.", PFN, NID,
    Field("refcount", "int", "", "the count; 0 or less while it is frozen or free"), FUNCTION,
)  # fmt: skip
TREE_INSERTED: Final = _event("tree.inserted", "debug", "An entry was linked into a tree.", *ENTRY)
TREE_ERASED: Final = _event("tree.erased", "debug", "An entry was taken out of a tree.", *ENTRY)
TREE_RESET: Final = _event("tree.reset", "debug", "An unstable tree was thrown away: a scan begins.", TREE, TREE_NID)
KSM_COUNTERS: Final = _event(
    "ksm.counters", "debug", "The counters of KSM changed.",
    Field("pages_shared", "int", "pages", "stable nodes with a mapping"),
    Field("pages_sharing", "int", "pages", "further mappings of these"),
    Field("pages_unshared", "int", "pages", "rmap_items in unstable trees"),
    Field("rmap_items", "int", "", "all rmap_items; what is in none of the others is volatile"),
    Field("migrate_nodes", "int", "", "stable nodes on migrate_nodes"),
)  # fmt: skip
NODE_LISTED: Final = _event(
    "stable_node.listed", "debug", "A stable node came onto migrate_nodes.", NODE, KPFN, NID, TREE_NID
)
NODE_UNLISTED: Final = _event(
    "stable_node.unlisted", "debug", "A stable node left migrate_nodes.", NODE, KPFN, NID, TREE_NID
)
NODE_FREED: Final = _event("stable_node.freed", "debug", "A stable node was freed.", NODE, KPFN, TREE_NID)


# -- beside the schedule: in no digest ----------------------------------------------------------------------------
WORKLOAD_LOG: Final = _event(
    "workload.log", "info", "A workload has given a record to Python's `logging`. The line's level is that of the record.",
    Field("logger", "str", "", "name of the logger"),
    Field("severity", "str", "", "debug, info, warning or error"),
    Field("message", "str", "", "what it says"), Field("exception", "str|null", "", "what was raised, if it says so"),
)  # fmt: skip
DETAIL: Final = range(_DETAIL_FROM, WORKLOAD_LOG)
"""The codes of the events of detail."""


def code_of(name: str) -> int:
    """Return the code of an event by its name; KeyError if there is none."""
    return _CODES[name]


_CODES: Final = {event.name: event.code for event in CATALOGUE}
