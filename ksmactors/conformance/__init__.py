"""The scenario language; the emulator and recordings of real kernels as two performers of the same script.

A scenario is a small text of operations on processes, pages and knobs. `language` parses it, `emulator` performs
it on an emulated kernel and writes down what happened in the form that recordings have, `recording` reads what a
real kernel did and compares.
"""
