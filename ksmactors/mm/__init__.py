"""The machine under KSM: frames, nodes, page tables, faults, reverse mapping, migration, swap, hotplug, fork and exit.

Modules bear the names of the kernel's files. Each has one class with the functions of its file, under their own names,
over the state that all share (`core.MmCore`). What one file calls in another is declared in `internal`; `hooks` is what
mm asks of KSM. `kernel.MmKernel` puts the classes together, side by side: a kernel without CONFIG_KSM. `ksm/` adds its
own, and a variant of a kernel is a subclass that overrides functions. All of it is v3.9's.
"""
