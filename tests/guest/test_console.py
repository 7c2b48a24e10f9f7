"""What the last words of a kernel are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.guest.console import crash, last_words

RECORDED = Path(__file__).parent.parent / "conformance" / "confirmed"

NULL = """\
[    1.000000] Linux version 6.12.117
[   18.138273] BUG: kernel NULL pointer dereference, address: 00000000000000a8
[   18.138559] #PF: supervisor write access in kernel mode
[   18.138946] Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI
[   18.139791] RIP: 0010:down_read+0x1e/0xa0
[   18.141309] Call Trace:
[   18.141372]  <TASK>
[   18.141400]  ? __die_body.cold+0x19/0x27
[   18.141420]  down_read+0x1e/0xa0
[   18.141432]  ksm_scan_thread+0xf90/0x2430
[   18.141529]  ? __pfx_ksm_scan_thread+0x10/0x10
[   18.145797]  kthread+0xd2/0x100
[   18.146748] ---[ end trace 0000000000000000 ]---
[   19.000000] Kernel panic - not syncing: Fatal exception
"""


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (NULL, "NULL dereference in down_read, called from ksm_scan_thread"),
        (NULL.replace("\n", "\r\n"), "NULL dereference in down_read, called from ksm_scan_thread"),
        (NULL.split("[   18.141309]", maxsplit=1)[0], "NULL dereference in down_read"),
        ("", ""),
        ("[ 1.0] WARNING: CPU: 0 PID: 45 at mm/ksm.c:1 f+0x1/0x2\n", ""),
        (
            "[ 3.0] kernel BUG at mm/ksm.c:2345!\n[ 3.1] RIP: 0010:remove_node_from_stable_tree+0x1/0x2\n",
            "BUG at mm/ksm.c:2345 in remove_node_from_stable_tree",
        ),
        (
            "[ 3.0][   T45] BUG: unable to handle page fault for address: ffff88801\n[ 3.1] RIP: 0010:get_it+0x1/0x2\n",
            "page fault at ffff88801 in get_it",
        ),
        (
            "<4>[ 3.0] Oops: general protection fault, probably for: 0000 [#1]\n[ 3.1] RIP: 0010:rb_erase+0x1/0x2\n",
            "general protection fault in rb_erase",
        ),
        ("[ 3.0] BUG: KASAN: slab-use-after-free in ksm_scan_thread+0x1/0x2\n", "KASAN: slab-use-after-free"),
        ("[ 3.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n", "panic: VFS: Unable to mount root fs"),
        ("[ 3.0] Oops: 0000 [#1] SMP\n", "Oops: 0000 [#1] SMP"),
    ],
)
def test_a_crash_is_named_by_its_first_report(text: str, how: str) -> None:
    """What happened, where, and called from where; a warning is no crash."""
    assert crash(text) == how


def test_the_recorded_console_says_what_the_recording_said() -> None:
    """The console that was kept when H2 was confirmed."""
    consoles = sorted(RECORDED.rglob("*.console.txt"))
    if not consoles:
        pytest.skip("the recordings here have no console")
    for console in consoles:
        assert crash(console.read_text()).startswith("NULL dereference in down_read, called from ksm_")


def test_the_last_words_are_those_that_say_something() -> None:
    """Without time stamps and empty lines."""
    assert last_words("[    1.0] one\n\nvirtme-run: two \n[ 2.0]  \n") == "virtme-run: two"
    assert last_words("one\ntwo\n", lines=2) == "one / two"
    assert last_words("") == ""
