"""How a metric follows the share of the text that was changed: the mean over suites of a least-squares slope."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from foundation import holm
from reports.arms import Arm, asked
from reports.comparison import SEEDS, labels, other_differences, without
from reports.over_suites import mean_over_suites
from reports.results import Metric

_DOSE = ("fraction", "control")
_INTERVENTION = ("intervention", "intervention.", "unit", "start", "stop")


def dose_points(arms: Sequence[Arm], *, benchmark: str, metric: str) -> pd.DataFrame:
    """What each arm's model scored, by the share of the text that was changed for it.

    The intervened arms stand at their fraction; the control arm of a suite, else its arm of no intervention, at 0. A
    cell is all that is the same but for the fraction and the seeds. Only cells with two fractions or more above 0 are
    kept: others have no dose-response.

    Returns:
        Columns: cell (in words, by what tells cells apart), suite, fraction, value.
    """
    having = [(arm, arm.metric(benchmark, metric)) for arm in arms]
    found = [(arm, each) for arm, each in having if each is not None and "after" in each.levels]
    groups: dict[str, dict[str, tuple[Arm, Metric]]] = {}
    described: dict[str, dict[str, Any]] = {}
    for arm, each in found:
        for alike in arm.all_settings if arm.settings["fraction"] else ():  # of each unit, where none has an effect
            key = without(alike, *SEEDS, *_DOSE)
            groups.setdefault(key, {})[arm.key] = arm, each
            described.setdefault(key, alike)
    several = {
        key: list(members.values())
        for key, members in groups.items()
        if len({arm.settings["fraction"] for arm, _ in members.values()}) > 1
    }
    of_other_arms = {tuple(arm.key for arm, _ in members): key for key, members in reversed(several.items())}
    chosen = [key for key in several if key in of_other_arms.values()]
    names = labels([described[key] | dict.fromkeys((*SEEDS, *_DOSE)) for key in chosen]) if chosen else []
    rows = []
    for name, key in zip(names, chosen, strict=True):
        own = several[key]
        rows += [(name, arm.suite, arm.settings["fraction"], m.levels["after"].value) for arm, m in own]
        rows += [(name, suite, 0.0, value) for suite, value in _unmodified(own, found).items()]
    return pd.DataFrame(rows, columns=["cell", "suite", "fraction", "value"])


def _unmodified(cell: Sequence[tuple[Arm, Metric]], found: Sequence[tuple[Arm, Metric]]) -> dict[str, float]:
    """The value of each of the cell's suites where nothing was changed.

    A published checkpoint that differs in more than the text is none.
    """
    values: dict[str, float] = {}
    for arm, metric in cell:
        if "control" in metric.levels and not other_differences(arm.results.run):
            values.setdefault(arm.suite, metric.levels["control"].value)
    known = (*SEEDS, *_DOSE, *_INTERVENTION)
    segment, suites = without(cell[0][0].settings, *known), {arm.suite for arm, _ in cell}
    for arm, metric in found:
        if arm.settings["fraction"] == 0 and arm.suite in suites and without(arm.settings, *known) == segment:
            values.setdefault(arm.suite, metric.levels["after"].value)
    return values


def dose_slopes(points: pd.DataFrame) -> pd.DataFrame:
    """The slope of each cell: how much the metric changes from nothing to all of the text, were it linear.

    A least-squares line for each suite, through the mean of its draws at each fraction; then the mean of the suites'
    slopes, with a t interval of G - 1 degrees of freedom for G suites. Suites are what is independent: draws of one
    share its weights, and the points where nothing or all of the text is changed.

    This is not statsmodels' regression with an intercept for each suite and errors clustered by suite: where suites
    have other fractions, that one's intervals are too short for two to four suites (`docs/studies.md` has the
    simulation), while the t test of the suites' own slopes keeps its level: see `mean_over_suites`.

    Args:
        points: of `dose_points`.

    Returns:
        Columns: cell, slope, intercept (both the mean of the suites'), ci_low, ci_high (95 %), p (two-sided), suites,
        models (points). With one suite the interval and p are missing. Cells without a suite of two fractions are left
        out.
    """
    rows = []
    for cell, own in points.groupby("cell", sort=False):
        means = own.groupby(["suite", "fraction"])["value"].mean()
        lines = [_line(each.droplevel("suite")) for _, each in means.groupby("suite") if len(each) > 1]
        if not lines:
            continue
        found = mean_over_suites([slope for slope, _ in lines])
        row = {"cell": cell, "slope": found.value, "intercept": float(np.mean([intercept for _, intercept in lines]))}
        rows.append(
            {**row, "ci_low": found.low, "ci_high": found.high, "p": found.p, "suites": len(lines), "models": len(own)}
        )
    columns = ["cell", "slope", "intercept", "ci_low", "ci_high", "p", "suites", "models"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(["ci_low", "ci_high", "p"], "float64"))


def _line(values: "pd.Series[float]") -> tuple[float, float]:
    """Slope and intercept of the least-squares line of values on their index."""
    slope, intercept = np.polyfit(values.index.to_numpy(np.float64), values.to_numpy(np.float64), 1)
    return float(slope), float(intercept)


def all_slopes(arms: Sequence[Arm]) -> pd.DataFrame:
    """The slopes of the checked shares and of each primary metric: `dose_slopes`, with benchmark, metric and `p_holm`,
    which is corrected over all of them."""
    parts = [
        dose_slopes(dose_points(arms, benchmark=benchmark, metric=metric)).assign(benchmark=benchmark, metric=metric)
        for benchmark, metric in asked(arms)
    ]
    table = pd.concat(parts, ignore_index=True) if parts else dose_slopes(dose_points([], benchmark="", metric=""))
    return table.assign(p_holm=holm(table["p"]))
