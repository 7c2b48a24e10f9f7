"""Who moves next: the conductor, strategies, schedules, virtual time, locks and mailboxes.

Nothing here knows of memory: this folder could serve another kernel subsystem tomorrow. Exactly one actor
holds the *turn*; all others are parked. Every operation on shared state passes a *point*, where the
strategy may give the turn to another ready actor. What it decides, and everything else that is drawn, is
recorded on one tape, which is the schedule.
"""
