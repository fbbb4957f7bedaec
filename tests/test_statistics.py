import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics import COLUMNS, GAP, SHARE, Metric, summarize
from foundation import holm


def mean_metric(values, clusters=None, neutral=0.0):
    clusters = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    return Metric(values=np.asarray(values, float), clusters=clusters, neutral=neutral, description="A mean.")


def slope_metric(values, regressor, clusters):
    return Metric(
        values=np.asarray(values, float),
        clusters=np.asarray(clusters),
        regressor=np.asarray(regressor, float),
        neutral=0.0,
        description="A slope.",
    )


def ratio_metric(values, weights, clusters=None):
    return replace(mean_metric(values, clusters), weights=np.asarray(weights, float))


def share_metric(values, clusters=None):
    return replace(mean_metric(values, clusters), outcomes=SHARE)


def summary(**moments):
    """Summary of one metric at the moments given, by moment."""
    return summarize({moment: {"made_up": {"m": metric}} for moment, metric in moments.items()}).set_index("moment")


def test_levels_and_changes_are_the_hand_worked_ones():
    table = summary(
        before=mean_metric([1, 2, 3, 6]), after=mean_metric([2, 2, 5, 7]), control=mean_metric([1, 2, 4, 6])
    )
    assert table["value"].to_dict() == {
        "before": 3.0,
        "after": 4.0,
        "control": 3.25,
        "after-before": 1.0,
        "control-before": 0.25,
        "after-control": 0.75,
    }
    assert (table["n"] == 4).all()


def test_the_table_has_the_promised_columns_and_orders_moments():
    metrics = {"pct": mean_metric([0, 1], neutral=0.5), "none": mean_metric([0, 1], neutral=None)}
    table = summarize({"before": {"b": metrics}, "control": {"b": metrics}})
    assert list(table.columns) == COLUMNS
    assert table["moment"].tolist() == ["before", "control", "control-before"] * 2
    assert table["metric"].tolist() == ["pct"] * 3 + ["none"] * 3
    assert table["neutral"].isna().tolist() == [False, False, True, True, True, True]
    assert table["p"].isna().tolist() == [True, True, False] * 2
    assert table["changed"].isna().tolist() == [True, True, False] * 2


def test_before_alone_gives_levels_only():
    assert summary(before=mean_metric([1, 2])).index.tolist() == ["before"]


def test_a_change_of_nothing_is_zero_with_p_of_one():
    row = summary(before=mean_metric([1, 2, 3]), after=mean_metric([1, 2, 3])).loc["after-before"]
    assert row[["value", "ci_low", "ci_high", "p", "changed"]].tolist() == [0, 0, 0, 1, 0]
    assert math.isnan(row["mde"])


def test_every_example_that_changes_alike_gives_the_p_of_all_signs_alike():
    row = summary(before=mean_metric([1, 2, 3]), after=mean_metric([2, 4, 6])).loc["after-before"]
    assert row["test"] == "sign_flip"
    assert row["p"] == 2 / 2**3


def test_sign_flips_agree_with_scipys_permutation_test_of_pairs():
    rng = np.random.default_rng(10)
    before = rng.normal(size=12)
    after = before + rng.exponential(0.5, size=12) - 0.3
    row = summary(before=mean_metric(before), after=mean_metric(after)).loc["after-before"]
    expected = scipy.stats.permutation_test(
        (after, before), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert row["p"] == pytest.approx(expected.pvalue, abs=1e-12)


def test_sign_flips_of_many_examples_agree_with_the_paired_t_test():
    rng = np.random.default_rng(11)
    before = rng.normal(size=150)
    after = before + rng.normal(0.15, 1, size=150)
    row = summary(before=mean_metric(before), after=mean_metric(after)).loc["after-before"]
    assert row["p"] == pytest.approx(scipy.stats.ttest_rel(after, before).pvalue, abs=0.02)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-4, 4)), min_size=1, max_size=8))
def test_p_of_sign_flips_is_the_share_of_all_patterns(examples):
    clusters, differences = np.array(examples).T
    sums = [differences[clusters == cluster].sum() for cluster in np.unique(clusters)]
    patterns = [abs(np.dot(signs, sums)) for signs in itertools.product([1, -1], repeat=len(sums))]
    before, after = mean_metric(np.full(len(examples), 9), clusters), mean_metric(9 + differences, clusters)
    row = summary(before=before, after=after).loc["after-before"]
    assert row["p"] == np.mean([pattern >= abs(sum(sums)) for pattern in patterns])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(*[st.integers(-9, 9)] * 3), min_size=4, max_size=12), st.booleans())
def test_moments_changing_places_turn_the_change_and_its_interval_round_and_nothing_else(examples, is_slope):
    pairs = examples[: len(examples) // 2 * 2]  # a resample may be one cluster alone: a slope needs both its examples
    one, other, x = np.array(pairs).T
    clusters, x = np.arange(len(one)) // 2, x + 40.0 * np.arange(len(one))
    metrics = [
        slope_metric(values, x, clusters) if is_slope else mean_metric(values, clusters) for values in (one, other)
    ]
    there = summary(before=metrics[0], after=metrics[1]).loc["after-before"]
    back = summary(before=metrics[1], after=metrics[0]).loc["after-before"]
    assert back["value"] == pytest.approx(-there["value"])
    assert back["ci_low"] == pytest.approx(-there["ci_high"], abs=1e-12)
    assert back["ci_high"] == pytest.approx(-there["ci_low"], abs=1e-12)
    assert back["p"] == there["p"]
    assert back["mde"] == pytest.approx(there["mde"], nan_ok=True)


def test_clusters_change_sign_as_a_whole():
    values = np.array([0.3, -0.1, 0.5, 0.2, 0.4, 0.1])
    one = summary(before=mean_metric(np.zeros(6)), after=mean_metric(values))
    copied = summary(
        before=mean_metric(np.zeros(18), clusters=np.tile(np.arange(6), 3)),
        after=mean_metric(np.tile(values, 3), clusters=np.tile(np.arange(6), 3)),
    )
    assert copied.loc["after-before", "p"] == one.loc["after-before", "p"]


def test_a_shift_alike_for_all_is_no_change_of_slope():
    x = np.linspace(0, 1, 30)
    noise = np.random.default_rng(12).normal(0, 0.1, size=30)
    table = summary(
        before=slope_metric(x, x, np.arange(30)),
        after=slope_metric(x + 5 + noise, x, np.arange(30)),
        control=slope_metric(3 * x + noise, x, np.arange(30)),
    )
    assert table.loc["after-before", "p"] > 0.05
    assert table.loc["control-before", "p"] == pytest.approx(2 / 2**30)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 0), (12, 3), (4, 9), (7, 7)])
def test_outcomes_are_compared_by_the_exact_test_of_mcnemar(gained, lost):
    before = [0] * gained + [1] * lost + [1] * 10 + [0] * 10
    after = [1] * gained + [0] * lost + [1] * 10 + [0] * 10
    row = summary(before=share_metric(before), after=share_metric(after)).loc["after-before"]
    expected = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1
    assert row["test"] == "mcnemar"
    assert row["p"] == pytest.approx(expected)


def test_outcomes_within_clusters_are_not_independent_and_change_sign_together():
    before, after = np.zeros(20), np.ones(20)
    row = summary(
        before=share_metric(before, clusters=np.arange(20) // 5), after=share_metric(after, clusters=np.arange(20) // 5)
    ).loc["after-before"]
    assert row["test"] == "sign_flip"
    assert row["p"] == 2 / 2**4


def two_outcomes_a_cluster(*, both: int, one: int, none: int):
    """A share of outcomes in clusters of two."""
    values = [1, 1] * both + [1, 0] * one + [0, 0] * none
    return share_metric(values, clusters=np.arange(len(values)) // 2)


def test_a_share_that_four_of_790_clusters_move_off_a_half_has_a_half_in_its_interval():
    row = summary(before=two_outcomes_a_cluster(both=0, one=786, none=4)).loc["before"]
    assert row["ci_low"] < row["value"] < 0.5 < row["ci_high"]


def test_clusters_that_are_all_alike_are_no_certainty():
    row = summary(before=two_outcomes_a_cluster(both=0, one=40, none=0)).loc["before"]
    assert row["ci_low"] < 0.48
    assert row["ci_high"] > 0.52
    unchanged = two_outcomes_a_cluster(both=10, one=20, none=10)
    change = summary(before=unchanged, after=unchanged).loc["after-before"]
    assert change["ci_low"] == -change["ci_high"] < -0.02


@pytest.mark.parametrize("share", [0.0025, 0.005, 0.02])
def test_an_interval_over_few_clusters_that_changed_among_many_covers_what_is_true(share):
    rng = np.random.default_rng(17)
    drawn = rng.choice([1.0, -1.0, 0.0], p=[share, share, 1 - 2 * share], size=(400, 790))
    gaps = {str(i): replace(mean_metric(changes), outcomes=GAP) for i, changes in enumerate(drawn)}
    table = summarize({"before": {"b": gaps}})
    assert ((table["ci_low"] <= 0) & (table["ci_high"] >= 0)).mean() >= 0.93


def test_a_shift_alike_for_all_but_for_rounding_is_no_change_of_slope_at_all():
    x = np.random.default_rng(18).random(40)
    before, after = slope_metric(x, x, np.arange(40)), slope_metric(x + 0.1, x, np.arange(40))
    assert summary(before=before, after=after).loc["after-before", "p"] == 1


def test_one_cluster_bears_no_interval():
    row = summary(before=mean_metric([1, 2], clusters=[0, 0]), after=mean_metric([2, 4], clusters=[0, 0]))
    assert row[["ci_low", "ci_high"]].isna().all(axis=None)
    assert math.isnan(row.loc["after-before", "mde"])
    assert row.loc["after-before", "p"] == 1


def test_holms_adjusted_p_values_are_the_hand_worked_ones():
    adjusted = holm(pd.Series([0.01, 0.04, np.nan, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, np.nan, 0.06, 0.02])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_holms_adjusted_p_value_is_the_level_at_which_its_steps_first_reach_a_test(given_p):
    p = pd.Series(given_p, dtype="float64")
    adjusted, kept = holm(p), p.dropna()
    assert adjusted.isna().equals(p.isna())
    for index, own in kept.items():
        steps = [smaller * (kept >= smaller).sum() for smaller in kept if smaller <= own]
        assert adjusted[index] == pytest.approx(min(1, max(steps)))


def test_of_a_study_of_sixty_arms_holm_keeps_the_effects_and_none_of_the_others():
    rng = np.random.default_rng(16)
    shifts = np.repeat([1.0, 0.0], 210)
    values = rng.normal(size=(420, 40))
    changed = values + shifts[:, None] + rng.normal(size=(420, 40))
    before, after = ({str(i): mean_metric(own) for i, own in enumerate(each)} for each in (values, changed))
    table = summarize({"before": {"b": before}, "after": {"b": after}})
    p = table.loc[table["moment"] == "after-before", "p"].reset_index(drop=True)
    assert p.min() < 0.05 / 420 / 100  # 5,000 draws could not say so
    corrected = holm(p) < 0.05
    assert corrected[:210].mean() > 0.95
    assert corrected[210:].mean() <= 0.05


def test_holms_correction_is_over_the_primary_metrics_of_each_change():
    rng = np.random.default_rng(13)
    moments = {
        moment: {
            "b": {
                name: replace(mean_metric(rng.normal(shift * k, 1, size=40)), primary=name != "aside")
                for k, name in enumerate(["one", "two", "aside"])
            }
        }
        for moment, shift in [("before", 0.0), ("after", 0.6), ("control", 0.0)]
    }
    table = summarize(moments)
    assert table.loc[table["metric"] == "aside", "p_holm"].isna().all()
    for change in ("after-before", "control-before", "after-control"):
        rows = table[(table["moment"] == change) & table["primary"]]
        assert rows["p_holm"].max() == pytest.approx(max(rows["p"].max(), 2 * rows["p"].min()))
        assert (rows["p_holm"] >= rows["p"]).all()


def test_after_minus_control_is_the_difference_in_differences():
    before, after, control = np.random.default_rng(14).normal(size=(3, 25))
    table = summary(before=mean_metric(before), after=mean_metric(after), control=mean_metric(control))
    assert table.loc["after-control", "value"] == pytest.approx(
        table.loc["after-before", "value"] - table.loc["control-before", "value"]
    )


def test_slope_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    x, noise = rng.random(60), rng.normal(size=60)
    row = summary(before=slope_metric(2 * x + noise, x, np.arange(60) // 3)).loc["before"]
    assert row["value"] == pytest.approx(scipy.stats.linregress(x, 2 * x + noise).slope)


def test_change_of_a_slope_is_the_slope_of_the_changes():
    rng = np.random.default_rng(1)
    x, y, z = rng.random((3, 30))
    table = summary(before=slope_metric(y, x, np.arange(30)), after=slope_metric(z, x, np.arange(30)))
    assert table.loc["after-before", "value"] == pytest.approx(scipy.stats.linregress(x, z - y).slope)
    assert table.loc["after-before", "value"] == pytest.approx(
        table.loc["after", "value"] - table.loc["before", "value"]
    )


def test_interval_of_a_mean_agrees_with_scipys_bootstrap():
    values = np.random.default_rng(2).exponential(size=200)
    row = summary(before=mean_metric(values)).loc["before"]
    expected = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=5000, rng=np.random.default_rng(3)
    ).confidence_interval
    assert row["ci_low"] == pytest.approx(expected.low, abs=0.02)
    assert row["ci_high"] == pytest.approx(expected.high, abs=0.02)


def test_mde_and_p_agree_with_the_paired_t_test_on_many_examples():
    rng = np.random.default_rng(4)
    before = rng.normal(size=400)
    after = before + rng.normal(0.1, 1, size=400)
    row = summary(before=mean_metric(before), after=mean_metric(after)).loc["after-before"]
    standard_error = scipy.stats.sem(after - before)
    assert row["mde"] == pytest.approx(2.8 * standard_error, rel=0.02)
    assert row["p"] == pytest.approx(scipy.stats.ttest_rel(after, before).pvalue, abs=0.02)


def test_pairing_is_used():
    rng = np.random.default_rng(5)
    before = rng.normal(0, 10, size=100)
    row = summary(before=mean_metric(before), after=mean_metric(before + 0.1)).loc["after-before"]
    assert row["ci_low"] == pytest.approx(0.1)
    assert row["ci_high"] == pytest.approx(0.1)


def test_copies_within_a_cluster_add_no_confidence():
    values = np.random.default_rng(6).normal(size=50)
    one = summary(before=mean_metric(values)).loc["before"]
    copied = summary(before=mean_metric(np.tile(values, 4), clusters=np.tile(np.arange(50), 4))).loc["before"]
    for column in ["value", "ci_low", "ci_high"]:
        assert copied[column] == pytest.approx(one[column])


@settings(deadline=None, max_examples=30)
@given(st.permutations(list(range(6))))
def test_order_of_the_examples_does_not_matter(order):
    values, clusters = np.array([0.5, 1, 4, 2, 2, 8]), np.array(list("aabbcc"))
    ordered = summary(before=mean_metric(values, clusters)).loc["before"]
    shuffled = summary(before=mean_metric(values[order], clusters[order])).loc["before"]
    for column in ["value", "ci_low", "ci_high"]:
        assert shuffled[column] == pytest.approx(ordered[column])


def test_the_interval_of_a_change_is_that_of_the_differences():
    before, after = np.random.default_rng(15).normal(size=(2, 40))
    change = summary(before=mean_metric(before), after=mean_metric(after)).loc["after-before"]
    level = summary(before=mean_metric(after - before)).loc["before"]
    for column in ["value", "ci_low", "ci_high"]:
        assert change[column] == pytest.approx(level[column], abs=1e-12)


def test_intervals_of_few_skewed_clusters_cover_a_known_effect_as_often_as_they_say():
    rng = np.random.default_rng(7)
    labels = np.repeat(np.arange(40), 2)
    samples = {
        str(i): mean_metric(0.3 + rng.normal(size=40)[labels] + rng.exponential(size=80) - 1, labels)
        for i in range(2000)
    }
    table = summarize({"before": {"b": samples}})
    covered = ((table["ci_low"] <= 0.3) & (table["ci_high"] >= 0.3)).mean()
    assert covered == pytest.approx(0.95, abs=0.02)


def test_p_is_below_five_percent_in_five_percent_of_the_cases_without_a_change():
    drawn = np.random.default_rng(8).normal(size=(300, 2, 80))
    moments = {
        moment: {"b": {str(i): mean_metric(pair[which]) for i, pair in enumerate(drawn)}}
        for which, moment in enumerate(("before", "after"))
    }
    table = summarize(moments)
    found = (table.loc[table["moment"] == "after-before", "p"] < 0.05).sum()
    assert found / 300 == pytest.approx(0.05, abs=2.5 * math.sqrt(0.05 * 0.95 / 300))


def test_other_metrics_beside_it_change_no_bit_of_a_metric():
    values = np.random.default_rng(9).normal(size=30)
    alone = summarize({"before": {"b": {"m": mean_metric(values)}}})
    beside = summarize({"before": {"a": {"x": mean_metric([1, 2])}, "b": {"m": mean_metric(values)}}})
    assert beside[beside["benchmark"] == "b"].reset_index(drop=True).equals(alone)


@pytest.mark.parametrize(
    "other",
    [
        mean_metric([1, 2], clusters=["a", "c"]),
        mean_metric([1]),
        slope_metric([1, 2], [0, 1], ["a", "b"]),
        ratio_metric([1, 2], [1, 2], ["a", "b"]),
    ],
)
def test_moments_with_different_examples_are_not_paired(other):
    with pytest.raises(ValueError, match="different examples"):
        summary(before=mean_metric([1, 2], clusters=["a", "b"]), after=other)
