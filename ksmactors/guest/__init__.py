"""Guests: a real kernel in a virtual machine, for scenarios that this machine's kernel must not or cannot run.

`image` finds the kernel and its modules, also in a package of a distribution. `boot` starts it with virtme-ng and qemu.
`machine` sends it scenarios and receives their lines; `inside` is the program in the guest that performs them with the
drivers of live kernels. `console` reads from the guest's last words how its kernel crashed.
"""
