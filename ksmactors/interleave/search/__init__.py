"""Systematic exploration: every relevant schedule, one after the other, each run from its start.

A search is a strategy that keeps the tree of choices it has explored. It follows the path to the next unexplored
branch, continues in the default order from there, and derives further branches from what it observes.
"""
