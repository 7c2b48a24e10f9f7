"""Scheduling: the conductor, strategies, schedules, virtual time, locks and mailboxes.

Nothing in this folder depends on memory management, so it could serve another kernel subsystem. Exactly one actor holds
the *turn*; all others are parked. Every operation on shared state passes a scheduling *point*, where the strategy may
give the turn to another ready actor. One tape records these decisions and all other random draws; its content is the
schedule.
"""
