"""The machine under KSM: frames, nodes, page tables, faults, reverse mapping, migration, swap, hotplug, fork and exit.

One class grows module by module (`KsmHooks`, `Allocation`, `Pagevecs`, `PageTables`, `Swap`, `Rmap`, `Faults`,
`Migration`, `Reclaim`, `Mlock`, `Mappings`, `Processes`, `Swapoff`, `Hotplug`), each adding the functions of one of the
kernel's files under their own names; the last is a kernel without CONFIG_KSM. `ksm/` goes on from there, and a variant
of a kernel is a subclass that overrides functions. All of it is v3.9's.
"""
