"""The scenario language, and its drivers: the emulator, this machine's kernel, and recordings.

A scenario is a small text of operations on processes, pages and knobs. `language` parses it. `transcript` writes its
results in the form of recordings, on an emulated kernel (`emulator_driver`, `emulator`) or on the running one (`live`,
with real processes). `recording` reads what a kernel did once. `compare` compares two of them line by line. `generate`
writes random scenarios, `contents` computes what must be read back in them, and `fuzz` compares them one after the
other, shrinks those that differ and keeps them.
"""
