"""`docs kernel-map` names functions that exist, and has a row for every function of mm/ksm.c of v3.9."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parents[2] / "ksmactors"
PLACE: Final = re.compile(r"`([\w/]+\.py):(\w+)`")

MM_KSM_C: Final = re.findall(
    r"\w+",
    """
ksm_slab_init ksm_slab_free alloc_rmap_item free_rmap_item alloc_stable_node free_stable_node alloc_mm_slot free_mm_slot
get_mm_slot insert_to_mm_slots_hash ksm_test_exit break_ksm find_mergeable_vma break_cow page_trans_compound_anon
get_mergeable_page get_kpfn_nid remove_node_from_stable_tree get_ksm_page remove_rmap_item_from_tree
remove_trailing_rmap_items unmerge_ksm_pages remove_stable_node remove_all_stable_nodes
unmerge_and_remove_all_rmap_items calc_checksum memcmp_pages pages_identical write_protect_page replace_page
page_trans_compound_anon_split try_to_merge_one_page try_to_merge_with_ksm_page try_to_merge_two_pages
stable_tree_search stable_tree_insert unstable_tree_search_insert stable_tree_append cmp_and_merge_page
get_next_rmap_item scan_get_next_rmap_item ksm_do_scan ksmd_should_run ksm_scan_thread ksm_madvise __ksm_enter
__ksm_exit ksm_might_need_to_copy page_referenced_ksm try_to_unmap_ksm rmap_walk_ksm ksm_migrate_page just_wait
wait_while_offlining ksm_check_stable_tree ksm_memory_callback sleep_millisecs_show sleep_millisecs_store
pages_to_scan_show pages_to_scan_store run_show run_store merge_across_nodes_show merge_across_nodes_store
pages_shared_show pages_sharing_show pages_unshared_show pages_volatile_show full_scans_show ksm_init
""",
)
"""The functions of mm/ksm.c, v3.9, in their order."""

DIRECTIONS: Final = ("*same*", "*misses*", "*Misses*", "*false alarm*", "*False alarm*", "as above", "as `")
"""What the last column says, or that it is as in another row."""


@cache
def document() -> str:
    """The map."""
    return (PACKAGE / "docs" / "kernel-map.md").read_text()


def rows() -> list[list[str]]:
    """The cells of all rows of tables."""
    return [
        line[2:-2].split(" | ") for line in document().splitlines() if line.startswith("| ") and line.endswith(" |")
    ]


def named_in(path: Path) -> set[str]:
    """The functions, methods and classes of a module."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }


@pytest.mark.parametrize("module", sorted({module for module, _ in PLACE.findall(document())}))
def test_each_function_named_exists(module: str) -> None:
    """What the map says is in a module is defined there."""
    path = PACKAGE / module
    assert path.is_file()
    named = {name for place, name in PLACE.findall(document()) if place == module}
    assert named - named_in(path) == set()


def test_each_function_of_mm_ksm_c_has_one_row() -> None:
    """Every function of mm/ksm.c stands in the first cell of exactly one row."""
    firsts = [name for row in rows() for name in re.findall(r"`(\w+)`", row[0])]
    assert {name: firsts.count(name) for name in MM_KSM_C if firsts.count(name) != 1} == {}


def test_each_row_says_where_the_function_is() -> None:
    """A function is somewhere, merged into something, or left out."""
    mapped = [row for row in rows() if len(row) == 3 and "`" in row[0] and not row[1].startswith("v")]
    assert len(mapped) > 120
    assert [row[0] for row in mapped if not (PLACE.search(row[1]) or row[1].startswith("left out"))] == []


def test_each_row_says_in_which_direction_it_errs() -> None:
    """Each difference has a direction: none, bugs that are missed, or false alarms."""
    mapped = [row for row in rows() if len(row) == 3 and "`" in row[0] and not row[1].startswith("v")]
    assert [row[0] for row in mapped if not any(word in row[2] for word in DIRECTIONS)] == []


@pytest.mark.parametrize("folder", ["ksm", "mm"])
def test_no_module_of_the_emulated_kernel_is_forgotten(folder: str) -> None:
    """The map names something in each module of the emulated kernel, but for those that no kernel has."""
    ours = {
        "ksm/__init__.py", "ksm/instrumented.py", "ksm/index.py", "ksm/internal.py", "ksm/kernel.py", "ksm/ordered.py",
        "mm/__init__.py", "mm/const.py", "mm/hardware.py", "mm/internal.py", "mm/kernel.py", "mm/reports.py",
        "mm/store_buffer.py",
    }  # fmt: skip
    modules = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / folder).glob("*.py")}
    assert modules - ours - {module for module, _ in PLACE.findall(document())} == set()
