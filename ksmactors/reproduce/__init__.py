"""Reproducers: a C program for a real kernel, and the text that a kernel mailing list expects with it.

`subject` finds the scenario of a case or of a file, `schedule` that of a finding. `prediction` asks the emulator what a
kernel with the defect and a repaired one show at each operation. `steps` writes the operations as statements of C,
`program` the whole program, with those of the `helpers.c` that it needs, and `mail` the text.

For a scenario with holds, `races` finds which tasks are at work at the same time, `chance` what only the held race
shows, `racing` the steps of a round, and `stress` the program that repeats it. `measured` has how often races were met.
"""
