"""The page of a comparison: one HTML file without a script, and nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from ksmactors.compare.comparing import Figure, PairedCampaigns
from ksmactors.compare.measures import GROUPS
from ksmactors.compare.words import number
from ksmactors.escaping import escaped
from ksmactors.report.page import hash_of, text_of

_WIDTH: Final = 220
_HEIGHT: Final = 16
_MARGIN: Final = 8


def comparison_page(title: str, found: PairedCampaigns, said: Sequence[tuple[str, str]]) -> bytes:
    """Return the file. Equal comparisons give equal bytes, but for the processor time.

    Args:
        title: what is compared.
        found: the comparison.
        said: it in words, as headings and texts.
    """
    style = text_of("page/page.css") + text_of("page/comparison.css")
    policy = f"default-src 'none'; style-src {hash_of(style)}; base-uri 'none'; form-action 'none'"
    parts = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        '<meta name="color-scheme" content="light dark">\n',
        f"<title>ksmactors: comparison</title>\n<style>{style}</style>\n</head>\n<body>\n",
        f"<header><h1>{_safe(title)}</h1></header>\n<main>\n",
        *_words(said),
        *_table(found),
        *_missing(found),
        "</main>\n",
        f"<footer>{_safe(_footer(found))}</footer>\n</body>\n</html>\n",
    )
    return "".join(parts).encode()


def _safe(text: str) -> str:
    return escape(escaped(text))


def _words(said: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield '<dl class="said">\n'
    for heading, text in said:
        kind = {"better": "good", "worse": "bad"}.get(heading, "plain")
        yield f'<dt class="{kind}">{_safe(heading)}</dt><dd>{_safe(text)}</dd>\n'
    yield "</dl>\n"


def _table(found: PairedCampaigns) -> Iterator[str]:
    yield '<div class="scroll"><table class="figures">\n<thead><tr><th>figure</th>'
    for title in ("without", "with the idea", "difference", "%", "95 % interval"):
        yield f'<th class="number">{title}</th>'
    yield "<th>difference and interval, 0 in the middle</th><th>p, corrected</th><th></th></tr></thead>\n"
    for group, what in GROUPS.items():
        figures = [figure for figure in found.measured if figure.measure.group == group]
        if figures:
            yield f'<tbody>\n<tr><th colspan="9" class="group">{_safe(what)}</th></tr>\n'
            for figure in figures:
                yield from _row(figure)
            yield "</tbody>\n"
    yield "</table></div>\n"


def _row(figure: Figure) -> Iterator[str]:
    unit = f" ({figure.measure.unit})" if figure.measure.unit else ""
    kind = {"better": "good", "worse": "bad"}.get(figure.verdict, "plain" if figure.differs else "quiet")
    bounds = f"{number(figure.bounds[0])} .. {number(figure.bounds[1])}" if figure.bounds else "-"
    percent = f"{figure.percent:+.1f}" if figure.percent is not None else "-"
    yield f'<tr class="{kind}"><td>{_safe(figure.measure.name + unit)}</td>'
    for cell in (number(figure.without), number(figure.idea), number(figure.change), percent, bounds):
        yield f'<td class="number">{_safe(cell)}</td>'
    mark = figure.verdict or ("perhaps" if figure.perhaps else "")
    yield f'<td>{_drawn(figure)}</td><td class="number">{number(figure.p)}</td><td class="mark">{mark}</td></tr>\n'


def _drawn(figure: Figure) -> str:
    """The difference as a dot and its interval as a line, around 0; each figure has a scale of its own."""
    if figure.change is None or figure.bounds is None:
        return ""
    low, high = figure.bounds
    reach = max(abs(low), abs(high), abs(figure.change)) or 1.0
    middle, y = _WIDTH / 2, _HEIGHT / 2

    def x(value: float) -> float:
        return round(middle + value / reach * (middle - _MARGIN), 1)

    text = f"{number(figure.change)}, {number(low)} to {number(high)}"
    return (
        f'<svg role="img" aria-label="{_safe(text)}" width="{_WIDTH}" height="{_HEIGHT}">'
        f'<line class="rule" x1="{middle}" x2="{middle}" y1="0" y2="{_HEIGHT}"/>'
        f'<line class="interval" x1="{x(low)}" x2="{x(high)}" y1="{y}" y2="{y}"/>'
        f'<circle class="dot" cx="{x(figure.change)}" cy="{y}" r="4"/></svg>'
    )


def _missing(found: PairedCampaigns) -> Iterator[str]:
    missing = [figure for figure in found.figures if not figure.measured]
    if missing and found.pairs:
        yield "<h2>Not measured</h2>\n<ul>\n"
        for figure in missing:
            yield f"<li>{_safe(figure.measure.name)}: no {_safe(figure.measure.needs)}</li>\n"
        yield "</ul>\n"


def _footer(found: PairedCampaigns) -> str:
    aside = ""
    if found.cpu is not None:
        aside = f"; processor time aside, of this machine: {found.cpu[0]:.3f} and {found.cpu[1]:.3f} s a schedule"
    return f"{found.pairs:,} pairs of schedules; us and ms are virtual time, 1 us a step{aside}"
