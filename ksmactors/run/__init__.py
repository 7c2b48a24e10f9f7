"""One schedule: what is run, how it is prepared, and what comes of it."""
