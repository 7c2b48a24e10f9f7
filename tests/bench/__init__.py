"""Benchmarks: ratios taken within one run, so that the machine cancels out. `python -m tests.bench [CASE...]`."""
