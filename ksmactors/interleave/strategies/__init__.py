"""Strategies: each decides who moves next, one file of the size of its idea."""
