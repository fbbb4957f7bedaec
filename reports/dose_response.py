"""How a metric follows the share of the text that was changed: a least-squares slope over the runs of a study."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from reports.runs import DESIGN, REPLICATE, labels

_CELL = [name for name in DESIGN if name not in ("fraction", "control", *REPLICATE)]
_SEGMENT = [name for name in _CELL if name not in ("intervention", "unit", "start", "stop")]


def dose_points(table: pd.DataFrame, *, benchmark: str, metric: str) -> pd.DataFrame:
    """What each arm's model scored, by the share of the text that was changed for it.

    The intervened arms stand at their fraction; the control arm of a replicate, and its arm of no intervention, at 0.
    A cell is all that is the same but for the fraction and the replicate, which is the pair of the suite's seed and the
    run's. Only cells with two fractions or more above 0 are kept: others have no dose-response.

    Args:
        table: of `collect`.

    Returns:
        Columns: cell (in words, by what tells cells apart), model_seed, replicate, fraction, value.
    """
    columns = ["cell", "model_seed", "replicate", "fraction", "value"]
    rows = table[(table["benchmark"] == benchmark) & (table["metric"] == metric) & table["fraction"].notna()]
    rows = rows.assign(key=_key(rows, _CELL), segment=_key(rows, _SEGMENT), replicate=_key(rows, REPLICATE))
    arms = rows[(rows["moment"] == "after") & (rows["fraction"] > 0)]
    arms = arms[arms.groupby("key")["fraction"].transform(lambda fractions: len(set(fractions))) > 1]
    unmodified = rows[(rows["moment"] == "control") | ((rows["moment"] == "after") & (rows["fraction"] == 0))]
    names = labels(arms.drop_duplicates("key")[_CELL].to_dict("records"))
    parts = []
    for name, (_, own) in zip(names, arms.groupby("key", sort=False), strict=True):
        zero = unmodified[unmodified["segment"].isin(own["segment"]) & unmodified["replicate"].isin(own["replicate"])]
        zero = zero.drop_duplicates("replicate").assign(fraction=0.0)
        parts.append(pd.concat([own, zero]).assign(cell=name)[columns])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _key(rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [repr(values) for values in rows[list(names)].itertuples(index=False, name=None)]


def dose_slopes(points: pd.DataFrame) -> pd.DataFrame:
    """The slope of each cell: how much the metric changes from nothing to all of the text, were it linear.

    Least squares over the runs, with an intercept for each replicate. Independent of one another are the suites where
    there are several seeds of them, else the replicates, the draws of the one suite's text. Of G independent ones the
    standard error is the cluster-robust one (the sandwich of Liang and Zeger 1986 times G / (G - 1)) and t has G - 1
    degrees of freedom. If all replicates have the same fractions, this is the t-test of the mean of the G slopes.
    Replicates with the very same values are one: their seed changed nothing. With one replicate it is the classical
    regression over its runs, whose errors it takes for independent.

    Draws of one model's text are alike where nothing or all of it is changed, so over run seeds alone the error is that
    of the draw; only seeds of the suite also tell how much another model would differ.

    Args:
        points: of `dose_points`.

    Returns:
        Columns: cell, slope, intercept (the mean of the replicates'), ci_low, ci_high (95 %), p (two-sided), models,
        replicates (G). Where nothing is left to tell an error from, the interval and p are missing.
    """
    return pd.DataFrame(
        [{"cell": cell, **_slope(_distinct(rows))} for cell, rows in points.groupby("cell", sort=False)],
        columns=["cell", "slope", "intercept", "ci_low", "ci_high", "p", "models", "replicates"],
    )


def _distinct(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of replicates that are no copies of an earlier one."""
    seen: dict[tuple[tuple[float, float], ...], object] = {}
    for replicate, own in rows.sort_values("fraction").groupby("replicate", sort=False):
        seen.setdefault(tuple(zip(own["fraction"], own["value"], strict=True)), replicate)
    return rows[rows["replicate"].isin(list(seen.values()))]


def _slope(rows: pd.DataFrame) -> dict[str, float]:
    groups = rows.groupby("replicate")
    means = groups[["fraction", "value"]].transform("mean")
    x = (rows["fraction"] - means["fraction"]).to_numpy(np.float64)
    y = (rows["value"] - means["value"]).to_numpy(np.float64)
    spread = float(x @ x)
    slope = float(x @ y) / spread
    residuals = y - slope * x
    independent = rows["model_seed"] if len(set(rows["model_seed"])) > 1 else rows["replicate"]
    replicates = independent.nunique()
    if replicates > 1:
        scores = pd.Series(x * residuals, index=rows.index).groupby(independent).sum().to_numpy()
        freedom = replicates - 1
        error = math.sqrt(replicates / freedom * float(scores @ scores)) / spread
    else:
        freedom = len(rows) - 2
        error = math.sqrt(float(residuals @ residuals) / freedom / spread) if freedom > 0 else math.nan
    reach = float(stdtrit(freedom, 0.975)) * error if freedom > 0 else math.nan
    if freedom <= 0:
        p = math.nan
    elif error == 0:
        p = 0.0 if slope else 1.0
    else:
        p = 2 * float(stdtr(freedom, -abs(slope / error)))
    intercept = float((groups["value"].mean() - slope * groups["fraction"].mean()).mean())
    estimate = {"slope": slope, "intercept": intercept, "ci_low": slope - reach, "ci_high": slope + reach, "p": p}
    return {**estimate, "models": len(rows), "replicates": replicates}
