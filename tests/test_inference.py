"""Intervals, tests and smallest detectable effects, from the contributions of clusters."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import inference
from eval.inference import (
    detectable_by_mcnemar,
    detectable_by_sign_flips,
    interval,
    mcnemar,
    paired_interval,
    share_interval,
    sign_flip,
    standard_error,
)


def mean_interval(values):
    values = np.asarray(values, float)
    return interval(values.mean(), (values - values.mean()) / len(values))


def test_without_skewness_the_interval_is_the_t_interval():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7])
    expected = scipy.stats.t.interval(0.95, 6, values.mean(), scipy.stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)


def test_the_interval_of_skewed_values_reaches_further_to_the_long_tail():
    values = np.random.default_rng(0).exponential(size=30)
    low, high = mean_interval(values)
    assert high - values.mean() > values.mean() - low


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_the_interval_holds_the_estimate_and_turns_with_the_sign(values):
    values = np.asarray(values)
    (low, high), (other_low, other_high) = mean_interval(values), mean_interval(-values)
    assert low <= values.mean() + 1e-9
    assert high >= values.mean() - 1e-9
    assert (other_low, other_high) == pytest.approx((-high, -low), abs=1e-6)


def test_the_standard_error_of_a_mean_is_the_usual_one():
    values = np.random.default_rng(1).normal(size=25)
    assert standard_error((values - values.mean()) / 25) == pytest.approx(scipy.stats.sem(values))


def test_an_interval_of_skewed_values_in_ten_clusters_covers_as_often_as_it_says():
    rng = np.random.default_rng(2)
    bounds = np.array([mean_interval(sample) for sample in rng.exponential(size=(2000, 10))])
    assert np.mean((bounds[:, 0] <= 1) & (bounds[:, 1] >= 1)) == pytest.approx(0.95, abs=0.02)


def test_a_share_of_none_has_an_interval_too():
    low, high = share_interval(0.0, 20)
    assert low == 0
    assert high == pytest.approx(1.96**2 / (20 + 1.96**2), abs=1e-3)


def score_of(difference, gained, lost, n):
    """The score statistic with the nuisance parameter found by brute force, as a check of the closed form."""
    lost_shares = np.linspace(max(0, -difference), min(1, (1 - difference) / 2), 200_001)[1:-1]
    gained_shares, same = lost_shares + difference, 1 - 2 * lost_shares - difference
    likelihood = gained * np.log(gained_shares) + lost * np.log(lost_shares) + (n - gained - lost) * np.log(same)
    best = lost_shares[np.argmax(likelihood)]
    return (gained - lost - n * difference) / np.sqrt(n * (2 * best + difference * (1 - difference)))


@pytest.mark.parametrize(("gained", "lost", "n"), [(5, 2, 30), (12, 1, 100), (3, 9, 262), (7, 7, 40)])
def test_the_score_of_the_paired_interval_is_1_96_at_either_end(gained, lost, n):
    low, high = paired_interval(gained, lost, n)
    assert score_of(low, gained, lost, n) == pytest.approx(1.96, abs=0.002)
    assert score_of(high, gained, lost, n) == pytest.approx(-1.96, abs=0.002)


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 200))
def test_the_paired_interval_leaves_out_zero_where_the_score_test_rejects(gained, lost, same):
    n = gained + lost + same
    if n == 0:
        return
    low, high = paired_interval(gained, lost, n)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    rejects = gained != lost and (gained - lost) ** 2 / (gained + lost) > scipy.stats.chi2.ppf(0.95, 1) * (1 + 1e-9)
    assert rejects == (low > 1e-9 or high < -1e-9)


def test_mcnemars_p_is_that_of_the_binomial_test():
    assert mcnemar(4, 0) == 0.125
    assert mcnemar(0, 0) == 1


def all_patterns(terms):
    sums = np.zeros(1)
    for term in np.abs(terms):
        sums = np.concatenate([sums + term, sums - term])
    return np.mean(np.abs(sums) >= abs(np.sum(terms)) - 1e-9 * np.abs(terms).sum())


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "one cluster above all others", "halves"])
def test_the_distribution_on_a_grid_is_that_of_all_patterns(kind, monkeypatch):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(inference, "_ENUMERATED", 0)
    for shift in (0.1, 0.5, 1.0):
        terms = {
            "normal": rng.normal(shift, 1, 18),
            "heavy tails": rng.standard_cauchy(18) + shift,
            "one cluster above all others": np.append(rng.normal(shift, 1, 17), 20),
            "halves": rng.choice([-0.5, 0, 0.5, 1], 18, p=[0.2, 0.2, 0.3, 0.3]) / 262,
        }[kind]
        tolerance = 1e-12 if kind == "halves" else 0.01
        assert sign_flip(terms) == pytest.approx(all_patterns(terms), rel=tolerance, abs=2e-5)


def test_sign_flips_have_a_p_below_any_number_of_draws():
    terms = np.random.default_rng(4).normal(1, 1, size=40)
    assert 2.0**-39 <= sign_flip(terms) < 1e-5
    assert sign_flip(np.ones(40)) == pytest.approx(2.0**-39)


@settings(deadline=None)
@given(st.lists(st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 0.1), min_size=1, max_size=60), st.floats(1e-6, 1e6))
def test_p_of_sign_flips_knows_no_scale_and_no_direction(terms, scale):
    terms = np.asarray(terms)
    p = sign_flip(terms)
    assert 0 < p <= 1
    assert sign_flip(-terms) == p
    assert sign_flip(terms * scale) == pytest.approx(p, rel=0.02)


def _detectable(terms: np.ndarray) -> float:
    """By sign flips of the sum of `terms`, those of clusters of one size."""
    return detectable_by_sign_flips(terms - terms.mean(), terms, np.ones_like(terms))


@pytest.mark.parametrize(("clusters", "known"), [(1, False), (5, False), (6, False), (9, False), (10, True)])
def test_the_detectable_effect_of_sign_flips_is_known_from_ten_clusters_on(clusters, known):
    terms = np.random.default_rng(2).normal(size=clusters)
    assert math.isnan(_detectable(terms)) is not known


def test_no_effect_is_detectable_by_sign_flips_where_nothing_varied():
    assert math.isnan(_detectable(np.zeros(40)))


def test_where_few_clusters_carry_a_slope_or_a_ratio_a_larger_effect_is_needed_and_where_one_does_none_is_known():
    terms = np.random.default_rng(3).normal(size=12)
    equal, some, one = (np.where(np.arange(12) < 6, 1, load) for load in (1.0, 0.1, 0.0))
    one[1:] = 0.01
    found = [detectable_by_sign_flips(terms - terms.mean(), terms, loads) for loads in (equal, 7 * equal, some, one)]
    assert found[0] == found[1] < found[2]
    assert math.isnan(found[3])


def test_where_one_cluster_in_a_hundred_changed_the_detectable_effect_is_as_large_as_the_sign_test_of_them_needs():
    terms = np.zeros(790)
    terms[:6] = np.array([1, -1, 1, -1, 1, -1]) / 1580
    effect = _detectable(terms)
    assert effect == pytest.approx(790 / 1580 * detectable_by_mcnemar(3, 3, 790))
    assert effect > 1.1 * 2.8 * standard_error(terms - terms.mean())


def test_mcnemars_test_on_few_changes_needs_six_pairs_and_more_to_find_them_four_times_in_five():
    for gained, lost in [(0, 0), (1, 0), (2, 1)]:
        assert detectable_by_mcnemar(gained, lost, 262) == pytest.approx(0.030, abs=0.0005)
    assert detectable_by_mcnemar(1, 0, 262) > 6 / 262
    assert math.isnan(detectable_by_mcnemar(1, 1, 5))


@pytest.mark.parametrize(("gained", "lost", "n"), [(13, 13, 262), (1, 0, 262), (40, 38, 1508), (3, 4, 40)])
def test_mcnemars_test_has_eighty_percent_power_at_its_detectable_effect(gained, lost, n):
    effect = detectable_by_mcnemar(gained, lost, n)
    changed = max((gained + lost - (gained - lost) ** 2 / (gained + lost)) / n, effect)
    rng = np.random.default_rng(5)
    chances = [(changed + effect) / 2, (changed - effect) / 2, 1 - changed]
    drawn = rng.multinomial(n, chances, size=2000)
    assert np.mean([mcnemar(one, other) < 0.05 for one, other, _ in drawn]) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("clusters", [10, 20, 40])
def test_sign_flips_have_eighty_percent_power_at_their_detectable_effect(clusters):
    rng = np.random.default_rng(6)
    found = []
    for sample, again in rng.normal(size=(1500, 2, clusters)):
        found.append(sign_flip(again + _detectable(sample / clusters)) <= 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)
