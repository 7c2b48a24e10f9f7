"""What is read of a kernel's memory, with a made kernel of made types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ksmactors.conformance.btf import Btf, LayoutError
from ksmactors.conformance.kernel_memory import KernelMemory, PageTable
from ksmactors.conformance.live_structures import LiveStructures
from ksmactors.conformance.page_map import NamedPages, NamedRegion
from tests.helpers.kernel_memory import BASE, Memory, Types

ZONEINFO = """\
Node 0, zone      DMA
        spanned  4
  start_pfn:           0
Node 1, zone   Normal
        spanned  4
  start_pfn:           4
"""

NODE = {"node": 0, "list": 24, "hlist_dup": 8, "hlist": 40, "kpfn": 48, "rmap_hlist_len": 56, "nid": 60}
ITEM = {"rmap_list": 0, "mm": 16, "address": 24, "node": 40, "head": 40, "hlist": 48}
ARENA = 1 << 38


def kernel_types() -> Types:
    """The structures that are read, as a 6.12 has them; the pages are smaller."""
    types = Types()
    types.add("page", 32, [("flags", 0, None), ("", 8, [("mapping", 8, None)]), ("_refcount", 24, None)])
    types.add("rb_node", 24, [("__rb_parent_color", 0, None), ("rb_right", 8, None), ("rb_left", 16, None)])
    dup = [("hlist_dup", 8, None), ("list", 24, None), ("head", 0, None)]
    types.add(
        "ksm_stable_node", 64,
        [("", 0, [("node", 0, None), ("", 0, dup)]),
         *((name, NODE[name], None) for name in ("hlist", "kpfn", "rmap_hlist_len", "nid"))],
    )  # fmt: skip
    types.add("ksm_rmap_item", 64, [(name, offset, None) for name, offset in ITEM.items()])
    types.add("mm_slot", 40, [("hash", 0, None), ("mm_node", 16, None), ("mm", 32, None)])
    types.add("ksm_mm_slot", 48, [("slot", 0, None), ("rmap_list", 40, None)])
    types.add("ksm_scan", 32, [("mm_slot", 0, None), ("address", 8, None)])
    types.add("task_struct", 64, [("tasks", 0, None), ("pid", 16, None), ("mm", 24, None)])
    return types


@dataclass
class Made:
    """A kernel with two processes, whose memory is written when it is read."""

    directory: Path
    memory: Memory

    def __post_init__(self) -> None:
        memory = self.memory
        self.pages = memory.take(8 * 32)
        memory.put(memory.take(8, "vmemmap_base"), self.pages)
        self.stable, self.unstable = memory.take(16), memory.take(16)
        memory.put(memory.take(8, "root_stable_tree"), self.stable)
        memory.put(memory.take(8, "root_unstable_tree"), self.unstable)
        memory.put(memory.take(4, "nr_node_ids"), 2, 4)
        memory.put(memory.take(4, "ksm_nr_node_ids"), 2, 4)
        self.migrate = memory.take(16, "migrate_nodes")
        self.mm_head, self.scan = memory.take(48, "ksm_mm_head"), memory.take(32, "ksm_scan")
        self.init = memory.take(64, "init_task")
        self.tasks = [memory.take(64), memory.take(64)]
        self.slots = [memory.take(48), memory.take(48)]
        self.ring(self.migrate, [])
        self.ring(self.mm_head + 16, [slot + 16 for slot in self.slots])
        self.ring(self.init, self.tasks)
        for number, (task, slot) in enumerate(zip(self.tasks, self.slots, strict=True)):
            memory.put(task + 16, 100 + number, 4)
            memory.put(task + 24, self.mm(number))
            memory.put(slot + 32, self.mm(number))
        memory.put(self.scan, self.mm_head)

    def mm(self, number: int) -> int:
        """The address of a process's mm_struct; nothing in it is read."""
        return BASE + 0x100_0000 + 0x1000 * number

    def ring(self, head: int, entries: list[int]) -> None:
        """Link a list_head with its entries."""
        links = [head, *entries]
        for link, following in zip(links, [*links[1:], head], strict=True):
            self.memory.put(link, following)
            self.memory.put(following + 8, link)

    def item(self, process: int, page: int, following: int = 0) -> int:
        """A new rmap item; `following` is the next one of its stable node."""
        item = self.memory.take(64)
        self.memory.put(item + ITEM["mm"], self.mm(process) if process >= 0 else 0)
        self.memory.put(item + ITEM["address"], ARENA + 4096 * page | 0x200)
        self.memory.put(item + ITEM["hlist"], following and following + ITEM["hlist"])
        return item

    def node(self, pfn: int, first: int = 0, *, length: int = 0, fresh: bool = True, nid: int = 0) -> int:
        """A new stable node with its items, or a chain (`length` below 0)."""
        node = self.memory.take(64)
        offset = ITEM["hlist"] if length >= 0 else NODE["hlist_dup"]
        self.memory.put(node + NODE["hlist"], first and first + offset)
        self.memory.put(node + NODE["kpfn"], pfn)
        self.memory.put(node + NODE["rmap_hlist_len"], length, 4)
        self.memory.put(node + NODE["nid"], nid, 4)
        if fresh:
            self.memory.put(self.pages + 32 * pfn + 16, node | 3)
            self.memory.put(self.pages + 32 * pfn + 24, 1, 4)
        return node

    def read(self) -> LiveStructures:
        """Read it; the processes are A (PID 100) and B."""
        memory = KernelMemory(**self.memory.write(self.directory, kernel_types().blob()))
        zoneinfo = self.directory / "zoneinfo"
        zoneinfo.write_text(ZONEINFO)
        inside = LiveStructures(memory, PageTable(memory), zoneinfo)
        for number, name in enumerate("AB"):
            process = NamedPages(name)
            process.add(NamedRegion("r", ARENA, 8))
            inside.began(100 + number, process)
        return inside


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A kernel in which nothing is merged."""
    return Made(tmp_path, Memory())


def test_an_empty_kernel_has_its_processes_only(made: Made) -> None:
    """Between two scans there is no unstable tree."""
    inside = made.read()
    assert inside.trees() == []
    assert inside.scan_order() == ["processes A B", "cursor start"]


def test_trees_are_shown_in_order_with_their_items(made: Made) -> None:
    """A node with two items in the second tree, a stale one before it; a chain of two dups; one that waits."""
    put = made.memory.put
    two = made.node(5, made.item(1, 0, made.item(0, 3)), length=1)
    stale = made.node(6, made.item(0, 1), fresh=False)
    put(made.stable + 8, two)
    put(two + 16, stale)  # rb_left
    dups = [made.node(1, made.item(0, 0), nid=0), made.node(4, made.item(1, 7))]
    put(dups[0] + NODE["hlist_dup"], dups[1] + NODE["hlist_dup"])
    chain = made.node(0, dups[0], length=-1024, fresh=False)
    put(made.stable, chain)
    waits = made.node(2, nid=1)
    made.ring(made.migrate, [waits + NODE["list"]])
    assert made.read().trees() == [
        "stable.0 chain:",
        "stable.0   dup node=0 len=1: A.r.0",
        "stable.0   dup node=1 len=1: B.r.7",
        "stable.1 stale len=1: A.r.1",
        "stable.1 node=1 len=2: B.r.0 A.r.3",
        "migrate node=0 nid=1 len=0:",
    ]


def test_the_unstable_trees_are_there_within_a_scan(made: Made) -> None:
    """Items that were freed have no process; the cursor is behind the page that was scanned last."""
    put = made.memory.put
    put(made.scan, made.slots[1])
    put(made.scan + 8, ARENA + 4096 * 3)
    root, left = made.item(0, 2), made.item(-1, 0)
    put(made.unstable, root + ITEM["node"])
    put(root + ITEM["node"] + 16, left + ITEM["node"])
    inside = made.read()
    assert inside.trees() == ["unstable.0 ? A.r.2"]
    assert inside.scan_order() == ["processes A B", "cursor B.r.3"]


def test_names_outlive_their_processes(made: Made) -> None:
    """An exited process has a `!`; one that is not of the scenario has no name."""
    made.memory.put(made.stable, made.node(1, made.item(0, 0)))
    made.memory.put(made.slots[1] + 32, made.mm(7))
    inside = made.read()
    for process in inside.processes.values():
        process.exited = process.name == "A"
    assert inside.trees() == ["stable.0 node=0 len=1: A!.r.0"]
    assert inside.scan_order() == ["processes A! ?", "cursor start"]


def test_damage_has_an_end(made: Made) -> None:
    """Lists and trees that lead into themselves, or out of memory, are said and not followed for ever."""
    node = made.node(1)
    made.memory.put(made.stable, node)
    made.memory.put(node + 16, 0x1234)
    with pytest.raises(LayoutError, match="/proc/kcore has no memory at 0x1234"):
        made.read().trees()


def test_what_a_kernel_does_not_show_is_said(made: Made, tmp_path: Path) -> None:
    """Each in one line."""
    whole = made.memory.write(tmp_path, kernel_types().blob())
    absent = tmp_path / "absent"
    bare = Types()
    bare.add("page", 32, [("flags", 0, None)])
    (tmp_path / "bare").write_bytes(bare.blob())
    (tmp_path / "hidden").write_text("0000000000000000 d ksm_scan\n")
    (tmp_path / "empty").write_text("")
    for files, said in [
        (whole | {"types": absent}, "it needs CONFIG_DEBUG_INFO_BTF"),
        (whole | {"kcore": absent}, "it needs CONFIG_PROC_KCORE, and root"),
        (whole | {"kcore": tmp_path / "empty"}, "empty cannot be read: .*ELF"),
        (whole | {"kallsyms": tmp_path / "hidden"}, "hides addresses; it needs root"),
        (whole | {"kallsyms": tmp_path / "empty"}, "does not have migrate_nodes; it needs CONFIG_KALLSYMS_ALL"),
        (whole | {"types": tmp_path / "bare"}, "struct page has no member _refcount in this kernel"),
    ]:
        with pytest.raises(LayoutError, match=said) as refused:
            opened(files)
        assert "\n" not in str(refused.value)


def opened(files: dict[str, Path]) -> PageTable:
    """What is needed of a kernel before a scenario begins."""
    memory = KernelMemory(**files)
    memory.symbol("migrate_nodes")
    return PageTable(memory)


def test_types_are_found_by_name_and_member() -> None:
    """Older kernels have another `mm_slot` in another file, and other names."""
    types = Types()
    types.add("mm_slot", 16, [("mm_list", 8, None)])
    types.add("mm_slot", 24, [("mm_list", 0, None), ("rmap_list", 16, None)])
    btf = Btf(types.blob())
    assert btf.layout("mm_slot").size == 16
    assert btf.layout("ksm_mm_slot", "mm_slot", having="rmap_list").size == 24
    with pytest.raises(LayoutError, match="no struct ksm_mm_slot or slot"):
        btf.layout("ksm_mm_slot", "slot")


def _cut(data: bytes) -> bytes:
    return data[:-3]


def _loops(data: bytes) -> bytes:
    """The members of the first structure are of its own type, and anonymous."""
    types = Types()
    types.add("page", 8, [("", 0, [("x", 0, None)])])
    changed = bytearray(types.blob())
    start = 24 + 16 + 12
    changed[start : start + 8] = (0).to_bytes(4, "little") + (2).to_bytes(4, "little")
    return bytes(changed)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _: b"", "is damaged"),
        (lambda data: b"\x7fELF" + data, "is no BTF of version 1"),
        (_cut, "is cut off"),
        (lambda data: data[:24] + b"\xff" * 12 + data[36:], "is damaged"),
        (_loops, "is damaged: a structure contains itself"),
    ],
)
def test_damaged_types_are_refused(damage: Callable[[bytes], bytes], said: str) -> None:
    """Before anything is read by them."""
    with pytest.raises(LayoutError, match=said):
        Btf(damage(kernel_types().blob())).layout("page")


@pytest.mark.skipif(not Path("/sys/kernel/btf/vmlinux").exists(), reason="this kernel carries no types")
def test_this_machines_types_can_be_read() -> None:
    """A real kernel's: the first member of a list is at its start."""
    btf = Btf(Path("/sys/kernel/btf/vmlinux").read_bytes())
    assert btf.layout("list_head").offsets == {"next": 0, "prev": 8}
    assert btf.layout("page").size % 8 == 0
