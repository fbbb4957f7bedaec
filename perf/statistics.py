"""Whether intervals, tests and verdicts are right as often as they say, by simulation with known truth; minutes.

python -m perf.statistics [--draws N]

Prints the tables of docs/evaluation.md: coverage of the 95 % intervals, power at the smallest detectable effect, the
verdict's false alarms where arms share noise, and what Holm's correction leaves of a study of 60 arms. The same command
prints the same numbers.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eval import Metric, summarize
from eval.statistics import GAP, SHARE
from foundation import holm
from reports.manipulation import verdict
from reports.results import Estimate

Floats = npt.NDArray[np.float64]
Random = np.random.Generator

_CLUSTERS = (10, 40, 160, 262, 792)
_VALUES: dict[str, tuple[Callable[[Random, int], Floats], float]] = {
    "normal": (lambda random, n: random.normal(size=n), 0.0),
    "heavy tails (t, 5 degrees of freedom)": (lambda random, n: random.standard_t(5, n), 0.0),
    "skewed (exponential)": (lambda random, n: random.exponential(size=n), 1.0),
    "skewed (log-normal, sigma 0.5)": (lambda random, n: random.lognormal(0, 0.5, n), float(np.exp(0.125))),
    "very skewed (log-normal, sigma 1)": (lambda random, n: random.lognormal(0, 1, n), float(np.exp(0.5))),
}
# nats, between checkpoints of the demo: root mean square of 27 changes over 320 steps
_SHARED = 0.52
# how a verdict begins -> its column
_VERDICTS = {
    "taken": "taken",
    "moved the other": "moved the other way",
    "not taken": "not taken",
    "nothing moved": "nothing moved",
    "moved no more": "no more than noise",
    "moved, though": "moved, though nothing was changed",
    "unclear": "unclear",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000, help="simulated data sets of each kind and size")
    draws = parser.parse_args().draws
    for title, simulate, number in (
        ("Coverage of 95 % intervals, %, by clusters", coverage, draws),
        ("False alarms of sign flips at the 5 % level, %, by clusters", false_alarms, draws),
        ("Power at the smallest detectable effect, by clusters", power, draws),
        ("Verdicts where arms share noise, %", verdicts, draws),
        ("Tests below 5 % in studies of 60 arms, half of them with an effect", studies, max(1, draws // 100)),
    ):
        sys.stdout.write(f"{title}\n\n{simulate(number).to_string()}\n\n")
        sys.stdout.flush()


def coverage(draws: int) -> pd.DataFrame:
    """How often the interval of each kind of estimate holds the truth, in %: a row for each, a column for each size."""
    rows: dict[str, list[float]] = {}
    for name, (values, mean) in _VALUES.items():
        rows[f"mean, {name}"] = [_covered(draws, clusters, _means(values, mean)) for clusters in _CLUSTERS]
    rows |= {
        name: [_covered(draws, clusters, draw) for clusters in _CLUSTERS]
        for name, draw in {
            "ratio, loss by tokens": _ratio,
            "slope on a regressor": _slope,
            "share of 0.5": _share(0.5),
            "share of 0.1": _share(0.1),
            "share of 0.5, two outcomes a cluster": _share(0.5, per_cluster=2),
            "share of 0.1, two outcomes a cluster": _share(0.1, per_cluster=2),
            "gap of 0, one cluster in a hundred differs": _gap(0.005, 0.005),
            "gap of 0.02, three clusters in a hundred differ": _gap(0.025, 0.005),
        }.items()
    }
    rows |= {
        f"change of a share, {changed:g} of the pairs change, {gained:.0%} of them gained": [
            _covered_change(draws, clusters, changed, gained) for clusters in _CLUSTERS
        ]
        for changed in (0.05, 0.2)
        for gained in (0.5, 0.8)
    }
    return pd.DataFrame(rows, index=list(_CLUSTERS)).T.round(1)


Draw = Callable[[Random, int], tuple[Metric, float]]


def _metric(values: Floats, clusters: npt.NDArray[Any], **options: Any) -> Metric:
    return Metric(values=values, clusters=clusters, neutral=None, description="", **options)


def _means(values: Callable[[Random, int], Floats], mean: float) -> Draw:
    """Two examples a cluster: what they share, and noise of their own."""

    def draw(random: Random, clusters: int) -> tuple[Metric, float]:
        own = random.normal(0, 0.5, size=2 * clusters)
        labels = np.repeat(np.arange(clusters), 2)
        return _metric(values(random, clusters)[labels] + own, labels), mean

    return draw


def _ratio(random: Random, clusters: int) -> tuple[Metric, float]:
    """Rows of text with few pronouns each, as many as the demo's have, whose losses are alike within a row."""
    tokens = 1 + random.negative_binomial(2, 0.5, size=clusters).astype(np.float64)
    losses = tokens * (2 + random.gamma(4, 0.25, size=clusters)) + random.normal(0, 1, clusters) * np.sqrt(tokens)
    return _metric(losses, np.arange(clusters), weights=tokens), 3.0


def _slope(random: Random, clusters: int) -> tuple[Metric, float]:
    """Occupations in four templates: log-odds on the share of women."""
    labels = np.repeat(np.arange(clusters), 4)
    shares = random.uniform(size=clusters)
    values = 1.5 * shares + random.gamma(2, 0.5, size=clusters)
    return (
        _metric(values[labels] + random.normal(0, 0.3, size=4 * clusters), labels, regressor=shares[labels]),
        1.5,
    )


def _share(share: float, per_cluster: int = 1) -> Draw:
    def draw(random: Random, clusters: int) -> tuple[Metric, float]:
        chances = random.beta(4 * share, 4 * (1 - share), size=clusters) if per_cluster > 1 else share
        values = random.random((per_cluster, clusters)) < chances
        return _metric(
            values.ravel().astype(np.float64), np.tile(np.arange(clusters), per_cluster), outcomes=SHARE
        ), share

    return draw


def _gap(gained: float, lost: float) -> Draw:
    """Differences of two outcomes, most of them 0, as of the occupation that a pronoun refers to, pro minus anti."""

    def draw(random: Random, clusters: int) -> tuple[Metric, float]:
        values = random.choice([1.0, -1.0, 0.0], p=[gained, lost, 1 - gained - lost], size=clusters)
        return _metric(values, np.arange(clusters), outcomes=GAP), gained - lost

    return draw


def _covered(draws: int, clusters: int, draw: Draw) -> float:
    random = np.random.default_rng([clusters, draws])
    drawn = [draw(random, clusters) for _ in range(draws)]
    table = summarize({"at": {"b": {str(i): metric for i, (metric, _) in enumerate(drawn)}}})
    return _holding(table, [truth for _, truth in drawn])


def _holding(table: pd.DataFrame, truths: Sequence[float]) -> float:
    return 100 * float(np.mean((table["ci_low"] <= truths) & (table["ci_high"] >= truths)))


def _pairs(random: Random, n: int, changed: float, gained: float) -> tuple[Metric, Metric]:
    """Outcomes before and after."""
    before = random.random(n) < 0.5
    flips = random.random(n)
    lost, won = flips < changed * (1 - gained) * 2, flips < changed * gained * 2
    after = np.where(before, before & ~lost, won)
    return tuple(_metric(each.astype(np.float64), np.arange(n), outcomes=SHARE) for each in (before, after))  # type: ignore[return-value]


def _covered_change(draws: int, n: int, changed: float, gained: float) -> float:
    random = np.random.default_rng([n, draws])
    drawn = [_pairs(random, n, changed, gained) for _ in range(draws)]
    return _holding(_changes(drawn), [changed * (2 * gained - 1)] * draws)


def _changes(drawn: Sequence[tuple[Metric, Metric]]) -> pd.DataFrame:
    moments = {
        moment: {"b": {str(i): pair[which] for i, pair in enumerate(drawn)}}
        for which, moment in enumerate(("before", "after"))
    }
    table = summarize(moments)
    return table[table["moment"] == "after-before"].reset_index(drop=True)


def false_alarms(draws: int) -> pd.DataFrame:
    """How often the mean of differences whose true mean is 0 is called a change, in %."""
    rows: dict[str, list[float]] = {}
    for name, (values, mean) in _VALUES.items():
        rows[name] = []
        for clusters in _CLUSTERS:
            random = np.random.default_rng([clusters, draws])
            labels = np.arange(clusters)
            differences = [values(random, clusters) - mean for _ in range(draws)]
            changes = _changes([(_metric(np.zeros(clusters), labels), _metric(each, labels)) for each in differences])
            rows[name].append(100 * float(np.mean(changes["p"] < 0.05)))
    return pd.DataFrame(rows, index=list(_CLUSTERS)).T.round(1)


def power(draws: int) -> pd.DataFrame:
    """How often a change as large as the one that another sample calls detectable is found."""
    draws //= 2
    rows: dict[str, list[float]] = {}
    for name, pair in {
        "sign flips, mean, normal": _mean_pair(lambda random, n: random.normal(size=n)),
        "sign flips, mean, heavy tails": _mean_pair(lambda random, n: random.standard_t(5, size=n)),
        "sign flips, mean of outcomes, two a cluster": _outcome_pair,
        "sign flips, ratio": _ratio_pair,
        "sign flips, slope": _slope_pair,
    }.items():
        rows[name] = [_power(draws, clusters, pair) for clusters in _CLUSTERS]
    for changed in (0.01, 0.05, 0.2):
        name = f"McNemar, {changed:g} of the pairs change"
        rows[name] = [_power_of_mcnemar(draws, n, changed) for n in _CLUSTERS]
    return pd.DataFrame(rows, index=list(_CLUSTERS)).T.round(2)


Pair = Callable[[Random, int, float], tuple[Metric, Metric]]


def _mean_pair(noise: Callable[[Random, int], Floats]) -> Pair:
    def draw(random: Random, clusters: int, effect: float) -> tuple[Metric, Metric]:
        before = random.normal(size=clusters)
        labels = np.arange(clusters)
        return _metric(before, labels), _metric(before + noise(random, clusters) + effect, labels)

    return draw


def _outcome_pair(random: Random, clusters: int, effect: float) -> tuple[Metric, Metric]:
    """Outcomes of which three in ten change, or as many as the effect needs."""
    labels = np.repeat(np.arange(clusters), 2)
    changed = max(0.3, effect)
    chances = random.random(2 * clusters)
    changes = np.select([chances < (changed - effect) / 2, chances < changed], [-1.0, 1.0], 0.0)
    return _metric(np.zeros(2 * clusters), labels), _metric(changes, labels)


def _ratio_pair(random: Random, clusters: int, effect: float) -> tuple[Metric, Metric]:
    before, _ = _ratio(random, clusters)
    assert before.weights is not None
    change = before.weights * effect + random.normal(size=clusters) * np.sqrt(before.weights)
    labels = np.arange(clusters)
    return before, _metric(np.asarray(before.values) + change, labels, weights=before.weights)


def _slope_pair(random: Random, clusters: int, effect: float) -> tuple[Metric, Metric]:
    before, _ = _slope(random, clusters)
    assert before.regressor is not None
    labels = before.clusters
    change = effect * before.regressor + random.normal(0, 0.5, size=clusters)[labels]
    change += random.normal(0, 0.3, size=len(labels))
    return before, _metric(np.asarray(before.values) + change, labels, regressor=before.regressor)


def _power(draws: int, clusters: int, pair: Pair) -> float:
    random = np.random.default_rng([clusters, draws])
    effects = _changes([pair(random, clusters, 0.0) for _ in range(draws)])["mde"]
    found = _changes([pair(random, clusters, effect) for effect in effects.dropna()])
    return float(np.mean(found["p"] < 0.05))


def _power_of_mcnemar(draws: int, n: int, changed: float) -> float:
    """Where the effect needs more changes than there are, all of them are gains."""
    random = np.random.default_rng([n, draws])
    effects = _changes([_pairs(random, n, changed, 0.5) for _ in range(draws)])["mde"]
    again = []
    for effect in effects.dropna():
        share = max(changed, effect)
        again.append(
            _pairs(random, n, share, (1 + effect / share) / 2) if share <= 0.5 else _certain(random, n, effect)
        )
    return float(np.mean(_changes(again)["p"] < 0.05))


def _certain(random: Random, n: int, effect: float) -> tuple[Metric, Metric]:
    labels = np.arange(n)
    after = (random.random(n) < effect).astype(np.float64)
    return _metric(np.zeros(n), labels, outcomes=SHARE), _metric(after, labels, outcomes=SHARE)


def verdicts(draws: int) -> pd.DataFrame:
    """The verdicts on the change of the log-odds after 40 prefixes, in %, where both arms have noise of their own."""
    cases: dict[str, tuple[str, float]] = {
        "rise, nothing happened": ("rise", 0.0),
        "fall, nothing happened": ("fall", 0.0),
        "none, nothing happened": ("none", 0.0),
        "rise of 2 nats": ("rise", 2.0),
        "rise of 3.5 nats, as in the default run": ("rise", 3.5),
        "fall of 2 nats": ("fall", -2.0),
        "none, yet a change of 3.5 nats": ("none", 3.5),
    }
    rows = {}
    for name, (expects, effect) in cases.items():
        random = np.random.default_rng(draws)
        drawn = []
        for _ in range(draws):
            before, after = random.normal(-1.2, 0.3, size=(2, 40))
            shift = effect + random.normal(0, _SHARED)
            drawn.append((_metric(before, np.arange(40)), _metric(after + shift, np.arange(40))))
        found = [
            verdict(Estimate(row["value"], row["ci_low"], row["ci_high"], row["p"], None), expects)
            for row in _changes(drawn).to_dict("records")
        ]
        rows[name] = [100 * np.mean([(each or "").startswith(start) for each in found]) for start in _VERDICTS]
    return pd.DataFrame(rows, index=list(_VERDICTS.values())).T.round(1)


def studies(number: int) -> pd.DataFrame:
    """What is below 5 % among 60 arms x 7 primary metrics, the first 30 arms with an effect of one standard deviation.

    The metrics: two shares of pairs, one of them CrowS-Pairs', and means over as many clusters as WinoBias and the
    occupations have.
    """
    counts: Mapping[str, list[float]] = {"with an effect": [], "without": []}
    raw: Mapping[str, list[float]] = {"with an effect": [], "without": []}
    for seed in range(number):
        random = np.random.default_rng(seed)
        drawn = [pair for arm in range(60) for pair in _primary(random, effect=1.0 if arm < 30 else 0.0)]
        p = _changes(drawn)["p"]
        corrected = holm(p)
        for name, part in (("with an effect", slice(0, 210)), ("without", slice(210, None))):
            counts[name].append(float(np.mean(corrected.iloc[part] < 0.05)))
            raw[name].append(float(np.mean(p.iloc[part] < 0.05)))
    return pd.DataFrame(
        {"p, %": {name: 100 * np.mean(each) for name, each in raw.items()}}
        | {"p by Holm, %": {name: 100 * np.mean(each) for name, each in counts.items()}}
    ).round(2)


def _primary(random: Random, *, effect: float) -> list[tuple[Metric, Metric]]:
    normal = _mean_pair(lambda random, n: random.normal(size=n))
    means = [normal(random, clusters, effect) for clusters in (790, 790, 262, 40, 60)]
    gained = 0.95 if effect else 0.5
    return [*means, _pairs(random, 262, 0.25, gained), _pairs(random, 1584, 0.05, gained)]


if __name__ == "__main__":
    main()
