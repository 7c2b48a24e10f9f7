"""Litmus tests: a few actors meet once over one or two pages. One module for each pair of those who meet."""
