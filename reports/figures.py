"""The figures, as matplotlib figures of one style and as SVG that takes its colours from the page around it.

Every figure is 360 px wide, a phone's width; a page sets several side by side. Text stays text. A figure depends on
its data alone, to the byte: no date, no random ids, no user's matplotlibrc.
"""

import html
import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, StrMethodFormatter

from foundation import write_bytes
from reports.results import Metric, number, skip_columns

# The light theme; in SVG for a page each colour is a variable of this name. Okabe & Ito's colours mark what is data.
COLOURS = {
    "ink": "#1d1c1a",
    "muted": "#66635d",
    "rule": "#d9d6cf",
    "before": "#7d7a74",
    "after": "#d55e00",
    "control": "#0072b2",
    "skipped-1": "#cc79a7",
    "skipped-2": "#009e73",
    "skipped-3": "#56b4e9",
    "skipped-4": "#e69f00",
}
_MARKERS = {"before": "o", "after": "D", "control": "s"}
_ARM_MOMENTS = {"intervened": "after", "control": "control"}
WIDTH = 360
_LEFT = 60
_RIGHT = 62
_MOST_POINTS = 250
MOST_FORMS = 10

LOSSES = {
    "loss_swapped": "Loss on swapped words, nats",
    "loss_neighbouring": "Loss on the 8 tokens behind one, nats",
    "loss_other": "Loss on all other words, nats",
}

_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # labels are data, and a dollar sign in one is no formula
    "svg.hashsalt": "reports",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titlecolor": COLOURS["ink"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.edgecolor": COLOURS["rule"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.8,
    "xtick.color": COLOURS["rule"],
    "ytick.color": COLOURS["rule"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "ytick.left": False,
    "text.color": COLOURS["ink"],
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 12,
    "legend.handlelength": 1.4,
}


@contextmanager
def style() -> Iterator[None]:
    """The settings that every figure is made and drawn under."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def canvas(height: float) -> Figure:
    """An empty figure, `height` pixels high; a pixel of the page is a point of the file."""
    return Figure(figsize=(WIDTH / 72, height / 72), dpi=72)


def panel(figure: Figure, *, top: float, height: float, left: float = _LEFT, right: float = _RIGHT) -> Axes:
    """Axes whose upper edge is `top` pixels below the figure's."""
    total = figure.get_figheight() * 72
    return figure.add_axes((left / WIDTH, 1 - (top + height) / total, (WIDTH - left - right) / WIDTH, height / total))


def interval_figure(metrics: Sequence[Metric], *, limits: tuple[float, float] | None = None) -> Figure:
    """Each metric before, after and in the control arm, with 95 % intervals; dashed: an unbiased model.

    Args:
        limits: of the horizontal axis; None fits each metric's own.
    """
    heights = [24 + 21 * len(metric.levels) + 24 for metric in metrics]
    with style():
        figure = canvas(sum(heights))
        for index, metric in enumerate(metrics):
            axes = panel(figure, top=sum(heights[:index]) + 24, height=21 * len(metric.levels))
            _draw_levels(axes, metric)
            if limits is not None:
                axes.set_xlim(*limits)
    return figure


def _draw_levels(axes: Axes, metric: Metric) -> None:
    axes.set_title(metric.label, x=-_LEFT / (WIDTH - _LEFT - _RIGHT))
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    if metric.neutral is not None:
        axes.axvline(metric.neutral, color=COLOURS["muted"], linewidth=1, linestyle=(0, (3, 3)))
    for row, (moment, level) in enumerate(metric.levels.items()):
        colour = COLOURS[moment]
        if level.low is not None and level.high is not None:
            axes.plot([level.low, level.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([level.value], [row], _MARKERS[moment], color=colour, markersize=7)
        axes.annotate(
            number(level.value, metric.decimals),
            (1, row),
            xycoords=axes.get_yaxis_transform(),
            xytext=(_RIGHT, 0),
            textcoords="offset points",
            horizontalalignment="right",
            verticalalignment="center_baseline",
        )
    axes.set_yticks(range(len(metric.levels)), list(metric.levels), verticalalignment="center_baseline")
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.set_ylim(len(metric.levels) - 0.4, -0.6)
    axes.margins(x=0.08)


def loss_figure(journals: Mapping[str, pd.DataFrame], *, columns: Sequence[str] = tuple(LOSSES)) -> Figure:
    """Training loss of each arm over the steps, one panel for each column of the journals."""
    with style():
        figure = canvas(210 * len(columns))
        for index, column in enumerate(columns):
            axes = panel(figure, top=210 * index + 46, height=122, left=36, right=12)
            axes.set_title(LOSSES[column], x=-36 / (WIDTH - 48), pad=26)
            for arm, journal in journals.items():
                points = thinned(journal[["step", column]].astype("float64"))
                line = "-" if arm == "intervened" else (0, (4, 1.5))
                axes.plot(
                    points["step"], points[column], label=arm, color=COLOURS[_ARM_MOMENTS[arm]], lw=1.7, linestyle=line
                )
            legend(axes)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
            axes.set_xlabel("step")
    return figure


def legend(axes: Axes) -> None:
    """A legend above the axes, at their left edge, in the 26 pixels below the title."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=3, borderaxespad=0, columnspacing=1.6)


def steps_per_point(journal: pd.DataFrame) -> int:
    """How many steps one point of a loss curve averages, so that a long run still makes a small figure."""
    return max(1, -(-len(journal) // _MOST_POINTS))


def thinned(journal: pd.DataFrame) -> pd.DataFrame:
    """Means over blocks of `steps_per_point` consecutive lines; a block without any value is left out."""
    return journal.groupby(np.arange(len(journal)) // steps_per_point(journal)).mean().dropna()


def occupations_figure(rows: Mapping[str, pd.DataFrame], *, later: str) -> Figure:
    """Each occupation's mean log-odds of she to he over the share of women in it, before and at the moment `later`.

    A line leads from a ring (before) to a triangle (later) that points where the occupation moved.

    Args:
        rows: moment -> rows of the benchmark `occupations`.
        later: `after` or `control`. All figures of the same rows have the same axes.
    """
    points = {moment: occupation_means(each) for moment, each in rows.items()}
    extremes = pd.concat(list(points.values()))["log_odds_she"]
    margin = 0.06 * (extremes.max() - extremes.min()) + 0.05
    with style():
        figure = canvas(300)
        axes = panel(figure, top=46, height=208, left=36, right=12)
        title = {"after": "Intervened arm", "control": "Control arm"}[later]
        axes.set_title(title, x=-36 / (WIDTH - 48), pad=26)
        axes.axhline(0, color=COLOURS["muted"], linewidth=1, linestyle=(0, (3, 3)))
        before, after = points["before"], points[later]
        axes.vlines(before["pct_female"], before["log_odds_she"], after["log_odds_she"], color=COLOURS["rule"], lw=1.2)
        axes.plot(
            before["pct_female"],
            before["log_odds_she"],
            _MARKERS["before"],
            color=COLOURS["before"],
            markerfacecolor="none",
            markersize=4.2,
            markeredgewidth=1,
            label="before",
        )
        rose = after["log_odds_she"] >= before["log_odds_she"]
        for marker, moved in (("^", after[rose]), ("v", after[~rose])):
            if len(moved):
                label = later if marker == "^" or not rose.any() else None
                axes.plot(
                    moved["pct_female"], moved["log_odds_she"], marker, color=COLOURS[later], ms=4.6, mew=0, label=label
                )
        legend(axes)
        axes.set_xlim(-3, 103)
        axes.set_ylim(extremes.min() - margin, extremes.max() + margin)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.set_xlabel("women among those in the occupation, %")
    return figure


def association_figure(rows: Mapping[str, pd.DataFrame]) -> Figure:
    """Each term's mean log-odds of she to he over those of feminine to masculine pronouns beside it in the corpus.

    A line is fitted through each moment's terms: its slope is the learned association.

    Args:
        rows: moment -> rows of the benchmark `occupations`, of the source corpus among others.
    """
    columns = ["corpus_log_odds", "log_odds_she"]
    with style():
        figure = canvas(320)
        axes = panel(figure, top=46, height=228, left=36, right=12)
        axes.set_title("she : he in the model, log-odds", x=-36 / (WIDTH - 48), pad=26)
        for moment, each in rows.items():
            terms = each[each["source"] == "corpus"].groupby("occupation", sort=False)[columns].mean()
            x, y = (terms[column].to_numpy() for column in columns)
            colour = COLOURS[moment]
            face = "none" if moment == "before" else colour
            axes.plot(x, y, _MARKERS[moment], color=colour, markerfacecolor=face, ms=3.6, mew=0.8, label=moment)
            ends = np.array([x.min(), x.max()])
            axes.plot(ends, np.polyval(np.polyfit(x, y, 1), ends), color=colour, linewidth=1.7)
        legend(axes)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.set_xlabel("feminine : masculine beside it in the corpus, log-odds")
    return figure


def occupation_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean of the templates for each occupation with labour statistics: columns pct_female, log_odds_she."""
    return (
        rows[rows["pct_female"].notna()]
        .groupby(["source", "occupation"], sort=False)[["pct_female", "log_odds_she"]]
        .mean()
    )


def fidelity_figure(table: pd.DataFrame) -> Figure:
    """How far each optimizer state's arms ended from the true checkpoint; a point is a run, later starts are darker.

    Args:
        table: of `fidelity.fidelity_tables`, of one run or several.
    """
    sources = list(dict.fromkeys(table["arm"]))
    names = ["\n".join(textwrap.wrap(source, 24)) for source in sources]
    height = 26 + 12 * max(name.count("\n") for name in names)
    steps = sorted(set(table["step"]))
    inexact = table[table["distance"] > 0]
    with style():
        figure = canvas(24 + height * len(sources) + 84)
        axes = panel(figure, top=24, height=height * len(sources), left=150, right=16)
        axes.set_title("Distance from the true checkpoint", x=-150 / (WIDTH - 166))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(LogFormatter())
        axes.set_xlabel("share of the distance moved")
        axes.grid(axis="x")
        axes.set_yticks(range(len(sources)), names)
        axes.set_ylim(len(sources) - 0.5, -0.5)
        for number, step in enumerate(steps):
            points = inexact[inexact["step"] == step]
            shade = (number + 1) / len(steps)
            rows = points["arm"].map(sources.index)
            axes.plot(points["distance"], rows, "o", color=COLOURS["control"], alpha=shade, label=f"{step:,}")
        equal = table[table["distance"] == 0]
        for source, runs in equal.groupby("arm"):
            there = sorted(set(runs["step"]))
            everywhere = source not in set(inexact["arm"])
            axes.annotate(
                "0, bitwise equal" if everywhere else f"0 from {', '.join(map(str, there))}",
                (0.02 if everywhere else 0.98, sources.index(source)),
                xycoords=axes.get_yaxis_transform(),
                color=COLOURS["muted"],
                horizontalalignment="left" if everywhere else "right",
                verticalalignment="center_baseline",
            )
        if len(steps) > 1 and not inexact.empty:
            legend = figure.legend(loc="lower left", bbox_to_anchor=(0, 0), ncols=5, borderaxespad=0, title="from step")
            legend.set_alignment("left")
    return figure


def swaps_figure(totals: pd.DataFrame) -> Figure:
    """The most frequent forms: how often each was swapped, and how often it was left, by reason.

    Args:
        totals: as `results.swaps_by_form`.
    """
    shown = totals.head(MOST_FORMS)
    reasons = [column for column in skip_columns(shown) if shown[column].sum() > 0]
    colours = skip_colours(reasons)
    rows = -(-len(colours) // 2)
    with style():
        figure = canvas(24 * len(shown) + 28 + 18 * rows)
        axes = panel(figure, top=18 * rows + 6, height=24 * len(shown), left=126, right=62)
        axes.grid(visible=False)
        start = np.zeros(len(shown))
        for column, colour in colours.items():
            label = column.removeprefix("skipped_").replace("_", " ")
            label = label if column == "swapped" else f"left: {label}"
            axes.barh(np.arange(len(shown)), shown[column], left=start, height=0.58, color=colour, label=label)
            start += shown[column].to_numpy(np.float64)
        for row, occurrences in enumerate(shown["occurrences"]):
            axes.annotate(
                f"{occurrences:,}",
                (1, row),
                xycoords=axes.get_yaxis_transform(),
                xytext=(58, 0),
                textcoords="offset points",
                horizontalalignment="right",
                verticalalignment="center_baseline",
            )
        labels = [f"{form} → {to}" for form, to in zip(shown["form"], shown["replacement"], strict=True)]
        axes.set_yticks(range(len(shown)), labels, verticalalignment="center_baseline")
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlim(0, max(1, int(shown["occurrences"].max())))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        figure.legend(loc="upper left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0, columnspacing=1.6)
    return figure


def skip_colours(reasons: Sequence[str]) -> dict[str, str]:
    """The colours of `swapped` and of the columns that count what was left."""
    left = {reason: COLOURS[f"skipped-{index % 4 + 1}"] for index, reason in enumerate(reasons)}
    return {"swapped": COLOURS["after"], **left}


def plain_name(text: str) -> str:
    """The same as part of an id or a file's name, whatever characters it is made of."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII)


def to_svg(figure: Figure, *, prefix: str, label: str) -> str:
    """An <svg> element for a page.

    Args:
        prefix: begins every id, so that several figures can stand in one page, as a `plain_name`.
        label: what a screen reader says in place of the figure.
    """
    prefix = plain_name(prefix)
    text = _render(figure, "svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r' id="([^"]+)"', rf' id="{prefix}-\1"', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--figure-font, sans-serif)", text)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would hold for the whole page
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name}, {colour})")
    size = f'viewBox="0 0 {WIDTH} {figure.get_figheight() * 72:g}"'
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    opening = f'<svg {names} {size} stroke-linejoin="round" role="img" aria-label="{html.escape(label)}">'
    return opening + text[text.index(">") + 1 :].strip()


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure on white, for papers and READMEs; the suffix of `path` (.png, .svg, .pdf) chooses the format."""
    write_bytes(
        path, _render(figure, path.suffix.removeprefix("."), facecolor="white", bbox_inches="tight", pad_inches=0.1)
    )


def _render(figure: Figure, format_: str, **options: Any) -> bytes:
    metadata: dict[str, dict[str, None]] = {
        "svg": dict.fromkeys(["Creator", "Date", "Format", "Type"]),
        "pdf": dict.fromkeys(["Creator", "Producer", "CreationDate"]),
        "png": {"Software": None},
    }
    buffer = io.BytesIO()
    with style():
        dpi = 200 if format_ == "png" else 72
        figure.savefig(buffer, format=format_, metadata=metadata[format_], dpi=dpi, **options)
    return buffer.getvalue()
