"""Where a command runs."""

from __future__ import annotations

from collections.abc import Mapping


def is_github(environment: Mapping[str, str]) -> bool:
    """Return whether this is a step of GitHub Actions."""
    return environment.get("GITHUB_ACTIONS", "").lower() == "true"
