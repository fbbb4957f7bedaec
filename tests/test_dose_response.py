"""The slope of a metric on the dose, over the runs of a study."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.dose_response import dose_points, dose_slopes
from reports.runs import COLUMNS


def points(values: Mapping[str, Mapping[float, float]]) -> pd.DataFrame:
    rows = [("arm", 0, replicate, dose, value) for replicate, own in values.items() for dose, value in own.items()]
    return pd.DataFrame(rows, columns=["cell", "model_seed", "replicate", "fraction", "value"])


def slope(values: Mapping[str, Mapping[float, float]]) -> "pd.Series[float]":
    return dose_slopes(points(values)).iloc[0]


def test_one_replicate_is_the_textbook_regression() -> None:
    doses, values = [0.0, 0.25, 0.5, 1.0], [0.1, 0.3, 0.35, 0.9]
    found, known = slope({"a": dict(zip(doses, values, strict=True))}), scipy.stats.linregress(doses, values)
    reach = scipy.stats.t(2).ppf(0.975) * known.stderr
    assert found["slope"] == pytest.approx(known.slope)
    assert found["intercept"] == pytest.approx(known.intercept)
    assert found["p"] == pytest.approx(known.pvalue)
    assert [found["ci_low"], found["ci_high"]] == pytest.approx([known.slope - reach, known.slope + reach])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-1, 1), min_size=4, max_size=4), min_size=3, max_size=6, unique_by=tuple))
def test_replicates_with_the_same_doses_give_the_t_test_of_their_slopes(values: list[list[float]]) -> None:
    doses = [0.0, 0.25, 0.5, 1.0]
    slopes = [np.polyfit(doses, own, 1)[0] for own in values]
    if np.std(slopes) < 1e-3:
        return
    found = slope({str(seed): dict(zip(doses, own, strict=True)) for seed, own in enumerate(values)})
    known = scipy.stats.ttest_1samp(slopes, 0)
    assert found["slope"] == pytest.approx(np.mean(slopes), abs=1e-9)
    assert found["p"] == pytest.approx(known.pvalue, abs=1e-6)
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(list(known.confidence_interval()), abs=1e-6)


def test_replicates_may_differ_in_level() -> None:
    found = slope({"a": {0: 0.0, 1: 1.0}, "b": {0: 5.0, 1: 6.5}, "c": {0: -3.0, 1: -2.25}})
    assert found["slope"] == pytest.approx((1 + 1.5 + 0.75) / 3)
    assert found["replicates"] == 3


def test_draws_of_one_suite_are_not_independent_where_there_are_several_suites() -> None:
    slopes = {"a": [1.0, 1.1], "b": [3.0, 3.1], "c": [2.0, 2.1]}
    both = points({f"{suite}{draw}": {0: 0, 1: s} for suite, own in slopes.items() for draw, s in enumerate(own)})
    found = dose_slopes(both.assign(model_seed=both["replicate"].str[0])).iloc[0]
    known = scipy.stats.ttest_1samp([np.mean(own) for own in slopes.values()], 0)
    assert found["replicates"] == 3
    assert found["p"] == pytest.approx(known.pvalue)
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(list(known.confidence_interval()))


def test_a_seed_that_changes_nothing_is_no_replicate() -> None:
    once, twice = slope({"a": {0: 0.1, 0.5: 0.4, 1: 0.6}}), slope({key: {0: 0.1, 0.5: 0.4, 1: 0.6} for key in "ab"})
    assert twice.equals(once)
    assert twice["ci_low"] < twice["slope"]


def test_two_runs_have_a_slope_and_no_interval() -> None:
    found = slope({"a": {0: 0.1, 1: 0.6}})
    assert found["slope"] == pytest.approx(0.5)
    assert np.isnan([found["ci_low"], found["ci_high"], found["p"]]).all()


def table(*runs: tuple[str, float, int, float, float]) -> pd.DataFrame:
    rows = [
        {"intervention": name, "fraction": dose, "seed": seed, "model_seed": 0, "moment": moment, "value": value}
        for name, dose, seed, control, after in runs
        for moment, value in (("control", control), ("after", after))
    ]
    same = {"benchmark": "pronoun_prior", "metric": "share_she", "model": "demo", "step": 448}
    return pd.DataFrame([same | row for row in rows]).reindex(columns=list(COLUMNS))


def test_controls_stand_at_dose_zero_once_for_each_replicate() -> None:
    found = dose_points(
        table(("swap", 0.5, 0, 0.1, 0.3), ("swap", 1.0, 0, 0.1, 0.5), ("swap", 1.0, 1, 0.2, 0.6)),
        benchmark="pronoun_prior",
        metric="share_she",
    )
    own = {
        replicate: dict(zip(rows["fraction"], rows["value"], strict=True))
        for replicate, rows in found.groupby("replicate")
    }
    assert list(own.values()) == [{0.5: 0.3, 1.0: 0.5, 0.0: 0.1}, {1.0: 0.6, 0.0: 0.2}]


def test_the_arm_of_no_intervention_is_dose_zero_and_single_doses_are_left_out() -> None:
    runs = table(
        ("none", 0, 0, 0.11, 0.12), ("swap", 0.5, 0, 0.1, 0.3), ("swap", 1.0, 0, 0.1, 0.5), ("placebo", 1, 0, 0.1, 0.1)
    )
    found = dose_points(runs[runs["moment"] == "after"], benchmark="pronoun_prior", metric="share_she")
    assert set(found["cell"]) == {"swap"}
    assert dict(zip(found["fraction"], found["value"], strict=True)) == {0.0: 0.12, 0.5: 0.3, 1.0: 0.5}


def test_a_study_without_doses_has_no_points() -> None:
    found = dose_points(table(("swap", 1, 0, 0.1, 0.3)), benchmark="pronoun_prior", metric="share_she")
    assert found.empty
    assert dose_slopes(found).empty
