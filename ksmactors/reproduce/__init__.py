"""Reproducers: a C program for a real kernel, and the text that a kernel mailing list expects with it.

`subject` finds the scenario of a case or of a file, `schedule` that of a finding. `prediction` asks the emulator what a
kernel with the defect and a repaired one show at each operation. `steps` writes the operations as statements of C,
`program` the whole program, with those of the `helpers.c` that it needs, and `mail` the text.
"""
