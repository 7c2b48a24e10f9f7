"""Files that somebody else wrote, mutated: none may cost more than one line.

`test_fuzz` runs a few hundred inputs; `python -m tests.fuzz --examples 20000` runs many and says what they cost.
"""
