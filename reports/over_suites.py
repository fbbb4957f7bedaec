"""What suites of other initial weights show together: the suite is what is replicated, not the draw of its text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from foundation import holm
from reports.arms import Arm, asked, cells
from reports.comparison import SEEDS, labels
from reports.results import Estimate, Metric

_ALIKE = 1e-12  # relative spread below which values differ in rounding alone


def mean_over_suites(values: Sequence[float]) -> Estimate:
    """The mean of one value for each suite, with Student's interval and p of G - 1 degrees of freedom.

    It holds also where the suites' values are of unequal precision, as when they had other doses or numbers of draws:
    at the 5 % level the t test then rejects too seldom rather than too often (Bakirov and Székely 2005; Ibragimov and
    Müller 2010). Of one suite, and of suites that agree to the last digit, there is neither interval nor p.
    """
    found = np.asarray(values, np.float64)
    mean = float(found.mean())
    if len(found) < 2 or np.ptp(found) <= _ALIKE * np.abs(found).max():
        return Estimate(value=mean, low=None, high=None, p=None, mde=None)
    tested = scipy.stats.ttest_1samp(found, 0.0)
    low, high = tested.confidence_interval(0.95)
    return Estimate(value=mean, low=float(low), high=float(high), p=float(tested.pvalue), mde=None)


def suite_effects(arms: Sequence[Arm]) -> pd.DataFrame:
    """The main changes of arms that differ in their seeds alone, over suites: draws of one suite are averaged first.

    Returns:
        A row for each cell of two arms or more and each metric asked for: cell (in words), benchmark, metric, suites,
        draws (arms), change, ci_low, ci_high, p, p_holm (over the table), sd_suites (of the suites' means), sd_draws
        (of draws within a suite, pooled). Missing is what there are too few for.
    """
    columns = ["cell", "benchmark", "metric", "suites", "draws", "change", "ci_low", "ci_high", "p", "p_holm"]
    columns += ["sd_suites", "sd_draws"]
    groups = cells(arms)
    names = labels([cell[0].settings | dict.fromkeys(SEEDS) for cell in groups]) if groups else []
    rows = []
    for name, cell in zip(names, groups, strict=True):
        for benchmark, metric in asked(cell) if len(cell) > 1 else ():
            changes = pd.DataFrame(
                [(arm.suite, own.changes[own.main_change].value) for arm, own in _having(cell, benchmark, metric)],
                columns=["suite", "change"],
            ).groupby("suite")["change"]
            means = changes.mean()
            found = mean_over_suites(means.tolist())
            row = {"cell": name, "benchmark": benchmark, "metric": metric, "suites": len(means)}
            row |= {"draws": int(changes.size().sum()), "change": found.value, "p": found.p}
            row |= {"ci_low": found.low, "ci_high": found.high}
            rows.append({**row, "sd_suites": means.std(ddof=1), "sd_draws": _within(changes)})
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=holm(table["p"].astype("float64")))


def _having(cell: Sequence[Arm], benchmark: str, name: str) -> list[tuple[Arm, Metric]]:
    found = [(arm, arm.metric(benchmark, name)) for arm in cell]
    return [(arm, metric) for arm, metric in found if metric is not None and metric.changes]


def _within(changes: Any) -> float:
    """Standard deviation of draws about their suite's mean, pooled."""
    freedom = changes.size() - 1
    if freedom.sum() == 0:
        return float("nan")
    return float(np.sqrt((changes.var(ddof=1).fillna(0.0) * freedom).sum() / freedom.sum()))
