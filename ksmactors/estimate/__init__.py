"""What KSM would save on real pages: files, ELF cores, live processes.

Nothing is emulated page by page here. `files` and `process` read pages into a `PageIndex`, which knows each page's
content and node in a few bytes; `protocol` says which counters ksmd's scans converge to, and how many of them that
takes; `answer` puts the two together for both values of `merge_across_nodes`. That the result is the emulator's own,
counter for counter and scan for scan, is what tests/estimate/test_against_emulator.py shows.
"""
