"""The subject: rmap items, stable and unstable trees, scan, merge, unmerge, migrate, hotplug, sysfs: v3.9's mm/ksm.c.

Like `mm/`, one class that grows module by module: `KsmCore`, `SharedState`, `Keyhole`, `KsmHotplug`, `Unmerging`,
`Merging`, `Trees`, `Scanning`, `EntryPoints`, `Sysfs`; the last is `kernel.Ksm`. Functions bear the kernel's names, and
do what v3.9 did, bug for bug; what was meant, and what came later, are layers in `later/`. Labels such as CM4 or GK3
are steps of the protocol, the same wherever they are spoken of.
"""
