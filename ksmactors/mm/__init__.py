"""The machine under KSM: frames, nodes, page tables, faults, reverse mapping, migration, swap, hotplug, fork and exit.

The files are named after the kernel's and have the functions of these under their own names: one class each, siblings
over `MmInternal`, which declares what is called across files (`internal`), over the state that all use (`state`) and
the hooks into KSM (`hooks`). `kernel.Mm` is made of all of them: a kernel without CONFIG_KSM. `ksm/` goes on there,
and a variant of a kernel is a subclass that overrides functions. All of it is v3.9's.
"""
