"""Results for continuous integration: JUnit, SARIF, and what GitHub shows of a step.

Every command states what came of it as a list of `Check`. What is written from that is decided here, in one place.
"""
