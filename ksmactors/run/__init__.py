"""One schedule: what is run, how it is prepared, and its outcome."""
