"""Strategies: each chooses the next actor at every scheduling point, one module each."""
