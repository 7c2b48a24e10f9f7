"""Systematic exploration: every schedule that matters, one after the other, each run from its start.

A search is a strategy that remembers the tree of choices it has been through. It follows the path to the next branch
that it has not taken, goes on in the default order from there, and learns from what it sees which branches there are.
"""
