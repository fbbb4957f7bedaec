"""Summaries of benchmark rows with paired cluster-bootstrap intervals.

Every metric here is linear in its values: a mean, or the slope of a least-squares line through them. So a change
between two moments is the same functional of the differences example by example, and the pairing costs nothing.
Examples that were made from one another (the two readings of a WinoBias pair, the templates of an occupation) are
resampled together. `C` denotes clusters, `B` resamples, `K` the sums that a functional needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

CHANGES = [("after", "before"), ("control", "before"), ("after", "control")]
COLUMNS = [
    "benchmark",
    "metric",
    "moment",
    "value",
    "n",
    "ci_low",
    "ci_high",
    "p",
    "mde",
    "neutral",
    "description",
]

# Normal quantiles for a two-sided test at 5 % and a power of 80 %.
_QUANTILES_OF_MDE = 1.96 + 0.84

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Metric:
    """A number that is linear in one value for each example.

    Attributes:
        values: (n,), one for each example.
        clusters: (n,), labels of what is resampled together.
        regressor: (n,) when the metric is the slope of `values` on it, None when it is their mean.
        neutral: what an unbiased model would get, None where no such value exists.
        description: one sentence for the reader of the report.
    """

    values: Floats
    clusters: npt.NDArray[Any]
    regressor: Floats | None = None
    neutral: float | None
    description: str


def summarize(
    metrics: Mapping[str, Mapping[str, Mapping[str, Metric]]],
    *,
    seed: int,
    resamples: int = 2000,
    changes: Sequence[tuple[str, str]] = CHANGES,
) -> pd.DataFrame:
    """One row for each metric at each moment, and for each change between two moments.

    Args:
        metrics: moment -> benchmark -> name of the metric -> metric.
        seed: metrics with equally many clusters share their resamples, so they depend on nothing but this seed.
        resamples: B.
        changes: pairs (later, earlier) of moments. Those whose moments are both there become rows.

    Returns:
        Columns as in `COLUMNS`. `ci_low` and `ci_high` bound the 95 % percentile interval. For changes only: `p`, the
        two-sided bootstrap p-value, 2 (k + 1) / (B + 1) where k resamples fell on the rarer side of zero, which agrees
        with the interval; and `mde`, the smallest change that would be found with 80 % power at the 5 % level. For
        levels only: `neutral`.

    Raises:
        ValueError: two moments do not hold the same examples.
    """
    weights: dict[int, Floats] = {}
    first = next(iter(metrics.values()))
    keys = [(benchmark, name) for benchmark, named in first.items() for name in named]
    rows = []
    for benchmark, name in keys:
        moments = {moment: benchmarks[benchmark][name] for moment, benchmarks in metrics.items()}
        metric = first[benchmark][name]
        if not all(_same_examples(other, metric) for other in moments.values()):
            raise ValueError(f"the moments of {benchmark}, {name} hold different examples, so they cannot be paired")
        clusters = len(np.unique(metric.clusters))
        if clusters not in weights:
            weights[clusters] = _resample(clusters, seed=seed, resamples=resamples)
        levels = [
            {"moment": moment, "neutral": metric.neutral, **_summarize_level(level, weights[clusters])}
            for moment, level in moments.items()
        ]
        changed = [
            {"moment": f"{later}-{earlier}", **_summarize_change(moments[later], moments[earlier], weights[clusters])}
            for later, earlier in changes
            if later in moments and earlier in moments
        ]
        labels = {"benchmark": benchmark, "metric": name, "n": len(metric.values), "description": metric.description}
        rows += [{**labels, **row} for row in levels + changed]
    numbers = dict.fromkeys(["value", "ci_low", "ci_high", "p", "mde", "neutral"], "float64")
    return pd.DataFrame(rows, columns=COLUMNS).astype(numbers)


def _resample(clusters: int, *, seed: int, resamples: int) -> Floats:
    """How often each cluster is drawn, (B, C)."""
    draws = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    return draws.astype(np.float64)


def _summarize_level(metric: Metric, weights_BC: Floats) -> dict[str, float]:
    value, resampled = _estimates(metric.values, metric, weights_BC)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"value": value, "ci_low": low, "ci_high": high}


def _summarize_change(later: Metric, earlier: Metric, weights_BC: Floats) -> dict[str, float]:
    value, resampled = _estimates(np.subtract(later.values, earlier.values), later, weights_BC)
    low, high = np.quantile(resampled, [0.025, 0.975])
    rarer = min(np.count_nonzero(resampled <= 0), np.count_nonzero(resampled >= 0))
    p = min(1.0, 2 * (rarer + 1) / (len(resampled) + 1))
    mde = _QUANTILES_OF_MDE * np.std(resampled, ddof=1)
    return {"value": value, "ci_low": low, "ci_high": high, "p": p, "mde": mde}


def _same_examples(one: Metric, other: Metric) -> bool:
    if one.regressor is None or other.regressor is None:
        same_regressor = one.regressor is other.regressor
    else:
        same_regressor = np.array_equal(one.regressor, other.regressor)
    return same_regressor and np.array_equal(one.clusters, other.clusters)


def _estimates(values: Floats, metric: Metric, weights_BC: Floats) -> tuple[float, Floats]:
    """The functional of `metric` on `values`: on the sample, and on each resample, (B,)."""
    if metric.regressor is None:
        terms = [np.ones_like(values), values]
        functional = _mean
    else:
        x = metric.regressor - metric.regressor.mean()  # a slope is the same for any origin; this one rounds least
        terms = [np.ones_like(values), x, values, x * values, x * x]
        functional = _slope
    _, cluster = np.unique(metric.clusters, return_inverse=True)
    sums_CK = np.stack([np.bincount(cluster, weights=term) for term in terms], axis=1)
    return float(functional(sums_CK.sum(axis=0))), functional(weights_BC @ sums_CK)


def _mean(sums_K: Floats) -> Floats:
    n, y = np.moveaxis(sums_K, -1, 0)
    return np.asarray(y / n)


def _slope(sums_K: Floats) -> Floats:
    n, x, y, xy, xx = np.moveaxis(sums_K, -1, 0)
    return np.asarray((n * xy - x * y) / (n * xx - x * x))
