"""Rows of samples as Markdown: medians, ratios, aims."""

import statistics


def number(value):
    """Three digits that count, without an exponent."""
    size = abs(value)
    if size >= 1_000:
        return f"{value:,.0f}"
    digits = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{digits}f}"


def with_unit(value, unit):
    return f"{number(value)} {unit}".strip()


def ratios(row):
    """libfluid's sample over the peer's, round by round; none where a peer's sample is 0."""
    return [ours / theirs for ours, theirs in zip(row.ours, row.theirs) if theirs]


def ratio(row):
    """The median of the rounds' ratios, or None."""
    of_rounds = ratios(row)
    return statistics.median(of_rounds) if of_rounds else None


def ratio_cell(row):
    of_rounds = ratios(row)
    if not of_rounds:
        return ""
    text = f"{statistics.median(of_rounds):.2f}"
    return text if len(of_rounds) == 1 else f"{text} ({min(of_rounds):.2f} to {max(of_rounds):.2f})"


def is_met(row):
    """Whether the row reaches its aim; None where it has none."""
    if not row.aim:
        return None
    what, relation, wanted = row.aim
    value = ratio(row) if what == "ratio" else statistics.median(row.ours)
    if value is None:
        return False
    return value >= wanted if relation == ">=" else value <= wanted


def aim_cell(row):
    if not row.aim:
        return ""
    what, relation, wanted = row.aim
    unit = row.unit if what == "libfluid" else ""
    sign = {">=": "at least", "<=": "at most"}[relation]
    return f"{what} {sign} {wanted:g} {unit}".rstrip() + (": met" if is_met(row) else ": **missed**")


def line(row):
    theirs = with_unit(statistics.median(row.theirs), row.unit) if row.theirs else ""
    cells = (
        f"{row.name}{'' if row.higher_is_better else ' (less is better)'}",
        with_unit(statistics.median(row.ours), row.unit),
        theirs,
        ratio_cell(row),
        aim_cell(row),
    )
    return f"| {' | '.join(cells)} |"


def sections(rows):
    """The rows by section, in the order they came."""
    found = {}
    for row in rows:
        found.setdefault(row.section, []).append(row)
    return found


def markdown(rows):
    """One table for each section, with its plot above."""
    text = []
    for section, members in sections(rows).items():
        text += [f"### {section}", "", f"![{section}]({file_name(section)})", ""]
        text += [f"| | libfluid | {members[0].peer or 'peer'} | ratio | aim |", "|---|---|---|---|---|"]
        text += [line(row) for row in members] + [""]
    return "\n".join(text)


def file_name(section):
    """Of the section's plot."""
    words = "".join(letter if letter.isalnum() else " " for letter in section.replace(",", "").lower()).split()
    return "-".join(words) + ".svg"
