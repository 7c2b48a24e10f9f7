"""Files that hold a boolean: what they take, and what they take by v6.18. Recording: live_booleans."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.const import EINVAL
from ksmactors.seams import seam


class Booleans(Ksm):
    """What the files of use_zero_pages and smart_scan are read with; no file of v3.9 is."""

    @seam
    def kstrtobool(self, text: str) -> int:
        """Parse a boolean: 1, y, t, on are 1; 0, n, f, off are 0; capitals too. Only the first one or two characters
        count. Anything else: -EINVAL."""
        first, second = text[:1].lower(), text[1:2].lower()
        if first in {"1", "y", "t"} or (first == "o" and second == "n"):
            return 1
        if first in {"0", "n", "f"} or (first == "o" and second == "f"):
            return 0
        return -EINVAL


ENABLE: Final = {"e": 1, "d": 0}


class BoolEnable(Booleans):
    """A boolean may begin with e (enable) or d (disable), too; capitals as well."""

    @override
    def kstrtobool(self, text: str) -> int:
        value = ENABLE.get(text[:1].lower())
        return super().kstrtobool(text) if value is None else value
