"""Planted against measured, as a table in Markdown."""

from collections.abc import Sequence

from tools.responders.planted import Finding, number


def table_of(findings: Sequence[Finding]) -> str:
    """A row for each metric of one benchmark, a column for each responder.

    Of responders of one name, which differ in what they know, a cell has the one of which something is claimed.
    """
    cells: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        key = finding.metric, finding.responder
        if key not in cells or cells[key].expected is None:
            cells[key] = finding
    metrics = list(dict.fromkeys(metric for metric, _ in cells))
    responders = list(dict.fromkeys(responder for _, responder in cells))
    lines = [
        [f"`{metric}`", number(cells[metric, responders[0]].measured.before)]
        + [_cell(cells[metric, responder]) for responder in responders]
        for metric in metrics
    ]
    head = ["metric", "model", *responders]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])


def _cell(finding: Finding) -> str:
    measured, expected = finding.measured, finding.expected
    if expected is not None and expected.of_level:
        shown = number(measured.after)
    else:
        shown = number(measured.change, signed=True)
    if expected is None:
        return shown
    return f"{shown} ({expected.text})" + " ✗" * finding.fails
