"""The page: one HTML file with our script and style, Apache ECharts and the data inside, and nothing from anywhere."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

import orjson

SCRIPTS: Final = (
    "data.js",
    "charts.js",
    "overview.js",
    "timeline.js",
    "beside.js",
    "trees.js",
    "finding.js",
    "main.js",
)
"""Our script, in the order in which it runs, as one: the parts share one scope."""

CAMPAIGN_SCRIPTS: Final = ("charts.js", "campaign.js")
"""The script of a campaign's page."""

FORMAT: Final = 1
"""The form of the data that the script reads."""


def page(
    title: str, data: Mapping[str, Any], *, scripts: Sequence[str] = SCRIPTS, body_of: str = "page/body.html"
) -> bytes:
    """Return the file. Equal data give equal bytes. `scripts` and `body_of` say which page it is.

    A content security policy lets nothing run but the two scripts and the style that are hashed here, and nothing be
    loaded. The data are JSON in a block that no browser runs; no `<` is in it, so that nothing ends it early.
    """
    library, script, style = text_of("vendor/echarts.min.js"), _script(scripts), text_of("page/page.css")
    assert "</script" not in library.lower()
    policy = (
        f"default-src 'none'; script-src {hash_of(library)} {hash_of(script)}; style-src {hash_of(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    embedded = orjson.dumps({"format": FORMAT, **data}).replace(b"<", b"\\u003c")
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n"
    )
    body = f'{text_of(body_of)}<script type="application/json" id="data">'
    tail = f"</script>\n<script>{library}</script>\n<script>{script}</script>\n</body>\n</html>\n"
    return b"".join((head.encode(), body.encode(), embedded, tail.encode()))


def _script(scripts: Sequence[str]) -> str:
    parts = "\n".join(text_of(f"page/{name}") for name in scripts)
    return f'(function () {{\n"use strict";\n{parts}\n}})();\n'


def hash_of(content: str) -> str:
    """Return what a content security policy says of a script or style."""
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def text_of(name: str) -> str:
    """Return a file of this folder."""
    return files("ksmactors.report").joinpath(name).read_text("utf-8")
