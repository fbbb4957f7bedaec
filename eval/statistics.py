"""Summaries of benchmark rows: levels with intervals, paired changes with tests and smallest detectable effects.

A metric is a ratio of sums over its examples (a mean, where each counts once), or the slope of a least-squares line.
Both are linear in the examples' values. So a change between two moments is the same functional of the differences
example by example, and the pairing costs nothing. That also makes `after-control` the difference in differences:
(after - before) - (control - before), on the same examples. Examples that were made from one another (the two readings
of a WinoBias pair, the templates of an occupation) form one cluster; only clusters count as independent.

Tests of a change, two-sided:
- `mcnemar`: where both moments have one outcome of 0 or 1 for each cluster: the exact binomial test of the examples
  that changed (McNemar 1947).
- `sign_flip`: else. If nothing changed, a cluster's difference is as likely with the other sign. For a slope the mean
  difference is removed first, so that a shift alike for all is no change of slope.

Many metrics are looked at. `p_holm` corrects (Holm 1979) over the primary ones, for each change. Whether a change
counts as found is decided by it, or by `p` where a metric is not primary; never by the interval, which belongs to one
metric alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eval.inference import (
    detectable_by_mcnemar,
    detectable_by_sign_flips,
    interval,
    mcnemar,
    outcome_interval,
    paired_interval,
    share_interval,
    sign_flip,
)
from foundation import UserError, holm

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
    "test",
    "p_holm",
    "mde",
    "changed",
    "primary",
    "neutral",
    "description",
]

SHARE, GAP = (0.0, 1.0), (-1.0, 1.0)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Metric:
    """A number that is linear in one value for each example.

    Attributes:
        values: (n,), one for each example.
        clusters: (n,), labels of what is not independent of one another.
        weights: (n,) when the metric is sum(values) / sum(weights), as a loss by its number of tokens; None: a mean.
        regressor: (n,) when the metric is the slope of `values` on it.
        correlation: the metric is their correlation instead, of which no change is tested: it is no mean of changes.
        fluency: (n,) when the metric is StereoSet's icat: the mean of `fluency`, times the distance of the mean of
            `values` from 0 or 1, whichever is nearer, over a half. No change of it is tested either.
        outcomes: the least and the largest value of an example, where values are outcomes (`SHARE`) or differences of
            two (`GAP`).
        neutral: what an unbiased model would get, None where no such value exists.
        description: one sentence for the reader of the report.
        primary: whether a study asks for it, rather than for what explains it.
    """

    values: Floats
    clusters: npt.NDArray[Any]
    weights: Floats | None = None
    regressor: Floats | None = None
    correlation: bool = False
    fluency: Floats | None = None
    outcomes: tuple[float, float] | None = None
    neutral: float | None
    description: str
    primary: bool = False

    @property
    def is_linear(self) -> bool:
        """Whether a change of the metric is the same functional of the examples' changes."""
        return not self.correlation and self.fluency is None

    @property
    def is_binary(self) -> bool:
        """Whether the metric is the share of examples with one of two outcomes, without ties."""
        return self.outcomes == SHARE and bool(np.isin(self.values, SHARE).all())


def summarize(
    metrics: Mapping[str, Mapping[str, Mapping[str, Metric]]], *, changes: Sequence[tuple[str, str]] = CHANGES
) -> pd.DataFrame:
    """One row for each metric at each moment, and for each change between two moments.

    Args:
        metrics: moment -> benchmark -> name of the metric -> metric.
        changes: pairs (later, earlier) of moments. Those whose moments are both there become rows.

    Returns:
        Columns as in `COLUMNS`. `ci_low` and `ci_high` bound the 95 % interval, missing where there is but one cluster.
        For changes only: `p` of the `test` named; `p_holm`, for primary metrics; `mde`, the smallest change that the
        test would find with 80 % power at the 5 % level, missing where it could find none; and `changed`, the number of
        examples whose value changed. For levels only: `neutral`.

    Raises:
        ValueError: two moments do not hold the same examples.
        UserError: a value is no finite number.
    """
    first = next(iter(metrics.values()))
    keys = [(benchmark, name) for benchmark, named in first.items() for name in named]
    rows = []
    for benchmark, name in keys:
        moments = {moment: benchmarks[benchmark][name] for moment, benchmarks in metrics.items()}
        metric = first[benchmark][name]
        _check(moments, f"{benchmark}, {name}")
        levels = [
            {"moment": moment, "neutral": metric.neutral, **_summarize_level(level)}
            for moment, level in moments.items()
        ]
        changed = [
            {"moment": f"{later}-{earlier}", **_summarize_change(moments[later], moments[earlier])}
            for later, earlier in changes
            if later in moments and earlier in moments and metric.is_linear
        ]
        labels = {"benchmark": benchmark, "metric": name, "n": len(metric.values), "description": metric.description}
        rows += [{**labels, "primary": metric.primary, **row} for row in levels + changed]
    table = pd.DataFrame(rows, columns=COLUMNS)
    numbers = dict.fromkeys(["value", "ci_low", "ci_high", "p", "mde", "neutral"], "float64") | {"changed": "Int64"}
    asked = table["primary"] & table["p"].notna()
    table["p_holm"] = table["p"].where(asked).astype("float64").groupby(table["moment"]).transform(holm)
    return table.astype(numbers)


def with_primary(metrics: Mapping[str, Metric], names: Collection[str]) -> dict[str, Metric]:
    """The metrics, those of these names as primary ones."""
    return {name: replace(metric, primary=name in names) for name, metric in metrics.items()}


def _check(moments: Mapping[str, Metric], where: str) -> None:
    first = next(iter(moments.values()))
    for moment, metric in moments.items():
        if not _same_examples(metric, first):
            raise ValueError(f"the moments of {where} hold different examples, so they cannot be paired")
        (not_finite,) = np.nonzero(~np.isfinite(metric.values))
        if len(not_finite):
            raise UserError(
                f"{where}: the value of example {not_finite[0]} at the moment {moment} is "
                f"{np.take(metric.values, not_finite[0])}, expected a number; begin again with another hydra.run.dir"
            )


def _same_examples(one: Metric, other: Metric) -> bool:
    pairs = [(one.clusters, other.clusters), (one.weights, other.weights), (one.regressor, other.regressor)]
    return all(a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs)


def _summarize_level(metric: Metric) -> dict[str, float]:
    value, contributions = _estimate(metric.values, metric)
    clusters = len(contributions)
    if metric.is_binary and (clusters == len(metric.values) or value in SHARE):
        low, high = share_interval(value, clusters)
    elif metric.outcomes is not None and clusters > 1:
        least, largest = metric.outcomes
        centre = (least + largest) / 2
        low, high = (centre + bound for bound in _outcome_interval(np.subtract(metric.values, centre), metric))
        low, high = max(low, least), min(high, largest)
    else:
        low, high = interval(value, contributions)
    if metric.correlation:
        value, low, high = (float(np.tanh(z)) for z in (value, low, high))
    return {"value": value, "ci_low": low, "ci_high": high}


def _summarize_change(later: Metric, earlier: Metric) -> dict[str, float | str]:
    differences = np.subtract(later.values, earlier.values)
    value, contributions = _estimate(differences, later)
    clusters = len(contributions)
    found: dict[str, float | str] = {"value": value, "changed": int(np.count_nonzero(differences))}
    if later.is_binary and earlier.is_binary and clusters == len(differences):
        gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
        low, high = paired_interval(gained, lost, clusters)
        found |= {"test": "mcnemar", "p": mcnemar(gained, lost), "mde": detectable_by_mcnemar(gained, lost, clusters)}
    else:
        outcomes = later.outcomes is not None and clusters > 1
        low, high = _outcome_interval(differences, later) if outcomes else interval(value, contributions)
        terms = _sums_by_cluster(_flipped_terms(differences, later), later)
        detectable = detectable_by_sign_flips(contributions, terms, _loads(later))
        found |= {"test": "sign_flip", "p": sign_flip(terms), "mde": detectable}
    return {**found, "ci_low": low, "ci_high": high}


def _outcome_interval(values: Floats, metric: Metric) -> tuple[float, float]:
    """Of the mean of `values`, which are 0 where nothing is to be told of an example."""
    return outcome_interval(_sums_by_cluster(values, metric) / len(values), unit=1 / len(values))


def _estimate(values: Floats, metric: Metric) -> tuple[float, Floats]:
    """The functional of `metric` on `values`, and what each cluster contributes to its error.

    A contribution is (C - 1) / C times what leaving the cluster out changes: the delete-one-cluster jackknife, which
    errs less for ratios and slopes of few clusters than influence values do.
    """
    if metric.regressor is None:
        terms = [np.ones_like(values) if metric.weights is None else metric.weights, values]
        terms += [] if metric.fluency is None else [metric.fluency]
        functional = _ratio if metric.fluency is None else _icat
    else:
        x = metric.regressor - metric.regressor.mean()  # a slope is the same for any origin; this one rounds least
        y = values - values.mean() if metric.correlation else values
        terms = [np.ones_like(values), x, y, x * y, x * x, y * y]
        functional = _fisher_z if metric.correlation else _slope
    sums_CK = np.stack([_sums_by_cluster(term, metric) for term in terms], axis=1)
    sums_CK = sums_CK[sums_CK[:, 0] > 0]  # rows without a pronoun tell nothing of the loss on pronouns
    totals_K, clusters = sums_CK.sum(axis=0), len(sums_CK)
    value = functional(totals_K)
    if clusters == 1:
        return float(value), np.zeros(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        without_C = functional(totals_K - sums_CK)
    return float(value), (clusters - 1) / clusters * (value - without_C)


def _ratio(sums_K: Floats) -> Floats:
    weight, total = np.moveaxis(sums_K, -1, 0)
    return np.asarray(total / weight)


def _icat(sums_K: Floats) -> Floats:
    weight, stereotyped, fluent = np.moveaxis(sums_K, -1, 0)
    share = stereotyped / weight
    return np.asarray(fluent / weight * np.minimum(share, 1 - share) / 0.5)


def _slope(sums_K: Floats) -> Floats:
    n, x, y, xy, xx, _ = np.moveaxis(sums_K, -1, 0)
    return np.asarray((n * xy - x * y) / (n * xx - x * x))


def _fisher_z(sums_K: Floats) -> Floats:
    """arctanh of the correlation: its error is near to normal, and an interval of it stays between -1 and 1."""
    n, x, y, xy, xx, yy = np.moveaxis(sums_K, -1, 0)
    correlation = (n * xy - x * y) / np.sqrt((n * xx - x * x) * (n * yy - y * y))
    return np.asarray(np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12)))


def _flipped_terms(differences: Floats, metric: Metric) -> Floats:
    """What the sign-flip test sums over the examples of each cluster; all together it is the change."""
    if metric.regressor is None:
        weights = np.ones_like(differences) if metric.weights is None else metric.weights
        return np.asarray(differences / weights.sum())
    x, spread = metric.regressor - metric.regressor.mean(), differences - differences.mean()
    spread[np.abs(spread) <= 1e-9 * np.abs(differences).max()] = 0  # a shift alike for all, but for rounding
    return np.asarray(x * spread / (x @ x))


def _loads(metric: Metric) -> Floats:
    """How much an error that all examples of a cluster share moves the metric, in any unit."""
    if metric.regressor is not None:
        return _sums_by_cluster(metric.regressor - metric.regressor.mean(), metric)
    return _sums_by_cluster(np.ones_like(metric.values) if metric.weights is None else metric.weights, metric)


def _sums_by_cluster(terms: Floats, metric: Metric) -> Floats:
    _, cluster = np.unique(metric.clusters, return_inverse=True)
    return np.bincount(cluster, weights=terms).astype(np.float64)
