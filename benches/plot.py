"""Bars as SVG, readable on white and on black: no background, colours of middle lightness."""

import statistics
from xml.sax.saxutils import escape

from table import ratio, with_unit

OURS, THEIRS, TEXT = "#2f81f7", "#c07a1e", "#7d8590"
WIDTH, LABEL, BAR, GAP, TOP = 760, 290, 16, 14, 44
VALUE = 130  # what is left for the figure behind the longest bar


def text(x, y, words, size=13, anchor="start", weight="normal", fill=TEXT):
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" '
        f'font-weight="{weight}" fill="{fill}">{escape(words)}</text>'
    )


def bar(y, value, longest, unit, colour):
    """A bar and its figure."""
    length = max(value / longest, 0) * (WIDTH - LABEL - VALUE) if longest > 0 else 0
    return [
        f'<rect x="{LABEL}" y="{y:.0f}" width="{max(length, 1):.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
        text(LABEL + length + 6, y + BAR - 3, with_unit(value, unit)),
    ]


def medians(row):
    """What the row's one or two bars show."""
    return [statistics.median(samples) for samples in (row.ours, row.theirs) if samples]


def scales(rows):
    """The longest value of each unit: bars can be compared within a unit."""
    longest = {}
    for row in rows:
        longest[row.unit] = max(longest.get(row.unit, 0), *medians(row), 0)
    return longest


def group(row, longest, y):
    """A row's bars; gives the shapes and their height."""
    values = list(zip(medians(row), (OURS, THEIRS)))
    height = len(values) * (BAR + 2)
    shapes = [text(LABEL - 10, y + 13, row.name, anchor="end")]
    factor = ratio(row)
    note = "" if factor is None else f"ratio {factor:.2f}, "
    note += "more is better" if row.higher_is_better else "less is better"
    shapes.append(text(LABEL - 10, y + 28, note, size=11, anchor="end"))
    for index, (value, colour) in enumerate(values):
        shapes += bar(y + index * (BAR + 2), value, longest, row.unit, colour)
    return shapes, max(height, 30)


def legend(peer):
    shapes = [f'<rect x="{LABEL}" y="26" width="10" height="10" fill="{OURS}"/>', text(LABEL + 15, 35, "libfluid", 12)]
    if peer:
        shapes += [f'<rect x="{LABEL + 85}" y="26" width="10" height="10" fill="{THEIRS}"/>']
        shapes += [text(LABEL + 100, 35, peer, 12)]
    return shapes


def svg(title, rows):
    """The plot of one section."""
    shapes = [text(LABEL, 17, title, 15, weight="bold"), *legend(rows[0].peer)]
    y, longest = TOP, scales(rows)
    for row in rows:
        drawn, height = group(row, longest[row.unit], y)
        shapes += drawn
        y += height + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
        f'font-family="system-ui, sans-serif" role="img" aria-label="{escape(title)}">\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )
