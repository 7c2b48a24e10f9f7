"""Litmus tests: a few actors use one or two pages concurrently. One module for each pair of activities."""
