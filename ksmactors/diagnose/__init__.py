"""From a finding to its cause: replay it, name the step that broke the invariant, shrink its schedule, tell its story.

Everything here runs recorded schedules again. A replay is exact, so whatever an explanation needs is observed then, and
a campaign pays nothing for it.
"""
