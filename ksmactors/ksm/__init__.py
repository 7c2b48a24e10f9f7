"""The subject: rmap items, stable and unstable trees, scan, merge, unmerge, migrate, hotplug, sysfs: v3.9's mm/ksm.c.

As in `mm/`, each module has one class over the state that all share (`core.KsmCore`, with the operations on it in
`shared.SharedState`), and `internal` declares what one calls in another. `kernel.Ksm` puts them together with those of
`mm/`. Functions bear the kernel's names, and do what v3.9 did, bug for bug; what was meant, and what came later, are
layers in `later/`. Labels such as CM4 or GK3 are steps of the protocol, the same wherever they are spoken of.
"""
