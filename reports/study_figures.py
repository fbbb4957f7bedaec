"""The figures of several runs, in the style of `reports.figures`."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from reports.course_figures import ARMS, step_axis
from reports.figures import COLOURS, WIDTH, canvas, legend, panel, skip_colours, style, thinned
from reports.results import number, p_equation, skip_columns

_MOMENTS = {"before": "o", "after": "D", "control": "s"}
_NAMES = 138
_RIGHT = 14
_LEFT = 48
_PANEL = 210
_LINE = 14


def forest_figure(effects: pd.DataFrame, *, title: str) -> Figure:
    """The change that each arm made, with its 95 % interval; a filled mark: the test finds a change.

    Args:
        effects: a row for each arm, in the order of the figure: label, value, ci_low, ci_high (may be missing), found.
    """
    with style():
        figure, axes, centres = _rows(list(effects["label"]), per_row=1, title=title)
        axes.axvline(0, color=COLOURS["muted"], linewidth=1, linestyle=(0, (3, 3)))
        columns = [effects[name] for name in ("value", "ci_low", "ci_high", "found")]
        for row, value, low, high, found in zip(centres, *columns, strict=True):
            if not (pd.isna(low) or pd.isna(high)):
                axes.plot([low, high], [row, row], color=COLOURS["after"], linewidth=2, solid_capstyle="butt")
            face = COLOURS["after"] if found else "none"
            axes.plot([value], [row], "D", color=COLOURS["after"], markersize=6, markerfacecolor=face)
        axes.margins(x=0.08)
    return figure


def levels_figure(levels: pd.DataFrame, *, title: str, neutral: float | None) -> Figure:
    """A metric before, after and in the control arm of each arm, with 95 % intervals; dashed: an unbiased model.

    Args:
        levels: label, moment, value, ci_low, ci_high (may be missing); the arms in the order of the figure.
    """
    with style():
        figure, axes, centres = _rows(list(levels["label"].drop_duplicates()), per_row=3, title=title, keyed=True)
        rows = dict(zip(levels["label"].drop_duplicates(), centres, strict=True))
        if neutral is not None:
            axes.axvline(neutral, color=COLOURS["muted"], linewidth=1, linestyle=(0, (3, 3)))
        for place, (moment, marker) in enumerate(_MOMENTS.items()):
            chosen = levels[levels["moment"] == moment]
            if chosen.empty:
                continue
            y = [rows[label] + 10 * (place - 1) for label in chosen["label"]]
            colour = COLOURS[moment]
            axes.hlines(y, chosen["ci_low"], chosen["ci_high"], color=colour, linewidth=2)
            axes.plot(chosen["value"], y, marker, color=colour, markersize=5.5, label=moment)
        axes.margins(x=0.08)
        legend(axes)
    return figure


def _rows(labels: Sequence[str], *, per_row: int, title: str, keyed: bool = False) -> tuple[Figure, Axes, list[float]]:
    """Axes with a name at the left of each row; the vertical unit is a pixel. Also where each row's middle is."""
    wrapped = ["\n".join(textwrap.wrap(label, 21)) for label in labels]
    heights = [max(_LINE * (1 + name.count("\n")), 10 * per_row) + 9 for name in wrapped]
    total, top = sum(heights), 46 if keyed else 26
    figure = canvas(top + total + 26)
    axes = panel(figure, top=top, height=total, left=_NAMES, right=_RIGHT)
    axes.set_title(title, x=-_NAMES / (WIDTH - _NAMES - _RIGHT), pad=26 if keyed else 8)
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    centres = [sum(heights[:index]) + height / 2 for index, height in enumerate(heights)]
    axes.set_yticks(centres, wrapped, verticalalignment="center")
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.set_ylim(total, 0)
    return figure, axes, centres


def dose_figure(points: pd.DataFrame, slopes: pd.DataFrame, *, title: str) -> Figure:
    """A metric over the share of the text that was changed: each run's value, and each cell's line and slope.

    Args:
        points: of `reports.dose_response.dose_points`.
        slopes: of `reports.dose_response.all_slopes`, the same cells and metric.
    """
    names = [_slope_label(line) for line in slopes.to_dict("records")]
    extra = sum(22 + 16 * name.count("\n") for name in names) - 16
    with style():
        figure = canvas(250 + extra)
        axes = panel(figure, top=46 + extra, height=162, left=_LEFT, right=_RIGHT)
        axes.set_title(title, x=-_LEFT / (WIDTH - _LEFT - _RIGHT), pad=26 + extra)
        for count, (line, label) in enumerate(zip(slopes.to_dict("records"), names, strict=True)):
            colour, marker, dashes = ARMS[count % len(ARMS)]
            own = points[points["cell"] == line["cell"]]
            axes.plot(own["fraction"], own["value"], marker, color=COLOURS[colour], ms=5, label=label)
            ends = [float(own["fraction"].min()), float(own["fraction"].max())]
            fitted = [line["intercept"] + line["slope"] * end for end in ends]
            axes.plot(ends, fitted, color=COLOURS[colour], linewidth=1.7, linestyle=dashes)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), borderaxespad=0)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.set_xlabel("share of the occurrences that were changed")
    return figure


def _slope_label(line: Mapping[Any, Any]) -> str:
    """A cell, its slope, and how sure that is, on lines that fit the figure."""
    tested = [f"slope {number(line['slope'], 3, signed=True)}"]
    if not pd.isna(line["ci_low"]):
        tested[0] += f" ({number(line['ci_low'], 3)} to {number(line['ci_high'], 3)})"
        tested.append(f"{p_equation(line['p_holm'])} by Holm’s correction")
    elif line["suites"] == 1:
        tested[0] += ", of one suite: no interval"
    return "\n".join([*textwrap.wrap(line["cell"], 46), *tested])


def ledger_figure(swaps: pd.DataFrame) -> Figure:
    """Occurrences of the forms over the steps of the segment: how many were swapped, and how many left, by reason.

    Args:
        swaps: swaps.parquet of a run; where it has many steps a point is a mean over some.
    """
    columns = ["swapped", *(column for column in skip_columns(swaps) if swaps[column].sum() > 0)]
    steps = thinned(swaps.groupby("step", as_index=False)[columns].sum())
    colours = skip_colours(columns[1:])
    extra = 18 * -(-len(columns) // 2) - 18
    with style():
        figure = canvas(_PANEL + extra)
        axes = panel(figure, top=46 + extra, height=122, left=_LEFT, right=_RIGHT)
        axes.set_title("Words in a step", x=-_LEFT / (WIDTH - _LEFT - _RIGHT), pad=26 + extra)
        labels = [column.replace("skipped_", "left: ").replace("_", " ") for column in columns]
        parts = [steps[column].to_numpy("float64") for column in columns]
        axes.stackplot(steps["step"], parts, labels=labels, colors=[colours[column] for column in columns], linewidth=0)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2, borderaxespad=0, columnspacing=1.6)
        axes.set_ylim(bottom=0)
        axes.margins(x=0)
        step_axis(axes)
    return figure
