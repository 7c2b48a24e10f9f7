"""`python -m ksmactors` is the same as `ksmactors`."""

from __future__ import annotations

import sys

from ksmactors.cli import main

if __name__ == "__main__":
    sys.exit(main())
