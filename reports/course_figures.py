"""Figures over the steps of training: of runs that were measured along the way, and of what Pythia's authors stored."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from reports.figures import COLOURS, WIDTH, canvas, panel, style

# Arms beside one another: never told apart by colour alone.
ARMS = (
    ("after", "D", "-"),
    ("control", "s", (0, (4, 1.5))),
    ("skipped-2", "^", (0, (1, 1))),
    ("skipped-1", "v", (0, (5, 1, 1, 1))),
    ("skipped-3", "P", "-"),
    ("skipped-4", "X", (0, (4, 1.5))),
)
_VARIANTS = {
    "baseline": ("control", "s", "baseline"),
    "intervene_7": ("after", "D", "7 %"),
    "intervene_21": ("skipped-2", "^", "21 %"),
}
_BEHIND = "os^vD"  # marks of stored lines
_RIGHT = 14
_LEFT = 48
_PANEL = 210
# Moments of a run along the way: of the suite's own checkpoints, and of the two arms.
ALONG = r"(?:(?:after|control)_)?step\d+"


def course_of(levels: pd.DataFrame) -> pd.DataFrame:
    """The lines of one metric of one run, for `trajectory_figure`.

    Args:
        levels: rows of the metric in `Results.summary`; its changes are passed over.

    Returns:
        label, moment_step, value, ci_low, ci_high. An arm's line begins at the moment before. Empty where nothing was
        measured along the way.
    """
    if not levels["moment"].str.fullmatch(ALONG).any():
        return levels.iloc[:0].assign(label="")
    parts = []
    for label, moment in (("", ""), ("intervened", "after"), ("control", "control")):
        along = rf"{moment}|{moment}_step\d+" if moment else r"step\d+"
        own = levels[levels["moment"].str.fullmatch(along)]
        begun = levels[levels["moment"] == "before"]
        parts.append(pd.concat([begun if len(own) else own, own]).assign(label=label))
    return pd.concat([part.sort_values("moment_step", kind="stable") for part in parts])


def trajectory_figure(
    lines: pd.DataFrame, *, title: str, window: tuple[int, int] | None, published: pd.DataFrame | None = None
) -> Figure:
    """A metric over the steps of training, a line for each arm; shaded: where the text was changed.

    Args:
        lines: label, moment_step, value, ci_low, ci_high (may be missing).
        window: first step of the changed text and the step after its last.
        published: model, step_equivalent, value, clean: what Pythia's authors stored for the suites, drawn behind, a
            line for each model. Hollow are values whose evaluation is known to be faulty.
    """
    with style():
        names = list(dict.fromkeys(lines["label"]))
        behind = {} if published is None else {f"{model}": own for model, own in published.groupby("model", sort=False)}
        extra = 16 * max(0, len(names) + len(behind) - 1)
        figure = canvas(_PANEL + 30 + extra)
        axes = panel(figure, top=46 + extra, height=142, left=_LEFT, right=_RIGHT)
        axes.set_title(title, x=-_LEFT / (WIDTH - _LEFT - _RIGHT), pad=26 + extra)
        if window is not None:
            axes.axvspan(*window, color=COLOURS["rule"], alpha=0.5, linewidth=0)
        for number, (model, own) in enumerate(behind.items()):
            label = "published" if len(behind) == 1 else f"published, {model}"
            _draw_published(axes, own, ("before", _BEHIND[number % len(_BEHIND)], label))
        for number, name in enumerate(names):
            colour, marker, dashes = ARMS[number % len(ARMS)]
            own = lines[lines["label"] == name].sort_values("moment_step")
            steps = own["moment_step"].astype("float64")
            axes.fill_between(steps, own["ci_low"], own["ci_high"], color=COLOURS[colour], alpha=0.15, linewidth=0)
            axes.plot(steps, own["value"], marker, ls=dashes, color=COLOURS[colour], ms=4, lw=1.5, label=name)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), borderaxespad=0)
        step_axis(axes)
    return figure


# Where the swapped text began: the last 7 and 21 % of 143,000 steps.
_WINDOWS = {"intervene_7": 133_000, "intervene_21": 113_000}


def published_figure(values: pd.DataFrame, *, label: str) -> Figure:
    """What Pythia's authors stored for their case study, over the steps of training: a panel for each model.

    Shaded: where the text of an intervened model was swapped.

    Args:
        values: model, variant, step_equivalent, value and clean, of one family; such as `net_bias` of
            `reports.published_results` with its net_bias as value. Hollow marks are values that are not clean: their
            evaluation is known to be faulty.
        label: of the vertical axes.
    """
    models = list(dict.fromkeys(values["model"]))
    with style():
        figure = canvas(_PANEL * len(models))
        for number, model in enumerate(models):
            axes = panel(figure, top=_PANEL * number + 46, height=118, left=_LEFT, right=_RIGHT)
            axes.set_title(f"{label}, {model}", x=-_LEFT / (WIDTH - _LEFT - _RIGHT), pad=26)
            for variant, look in _VARIANTS.items():
                own = values[(values["model"] == model) & (values["variant"] == variant)]
                if len(own):
                    if variant in _WINDOWS:
                        axes.axvspan(_WINDOWS[variant], 143_000, color=COLOURS["rule"], alpha=0.4, linewidth=0)
                    _draw_published(axes, own, look)
            if not values.loc[values["model"] == model, "clean"].all():
                axes.plot([], [], "o", color=COLOURS["muted"], ms=3.6, markerfacecolor="none", label="hollow: faulty")
            axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=4, borderaxespad=0, columnspacing=1)
            step_axis(axes)
    return figure


def _draw_published(axes: Axes, values: pd.DataFrame, look: tuple[str, str, str]) -> None:
    """A line through all values, filled marks on clean ones and hollow ones on the others."""
    colour, marker, label = look
    own = values.sort_values("step_equivalent")
    axes.plot(own["step_equivalent"], own["value"], color=COLOURS[colour], linewidth=1, alpha=0.6)
    for clean, face in ((True, COLOURS[colour]), (False, "none")):
        chosen = own[own["clean"] == clean]
        if len(chosen):
            name = label if clean or not own["clean"].any() else None
            steps, shown = chosen["step_equivalent"], chosen["value"]
            axes.plot(steps, shown, marker, color=COLOURS[colour], ms=3.6, markerfacecolor=face, label=name)


def step_axis(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.set_xlabel("step")
