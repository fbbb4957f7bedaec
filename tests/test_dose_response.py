"""The slope of a metric on the dose, over the suites of a study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation import holm
from reports.arms import arms_of
from reports.dose_response import all_slopes, dose_points, dose_slopes
from reports.results import read_results
from reports.study_tables import dose_table
from test_collect import finished

DOSES = [0.0, 0.25, 0.5, 1.0]


def points(values: Mapping[str, Mapping[float, float]]) -> pd.DataFrame:
    rows = [("arm", suite, dose, value) for suite, own in values.items() for dose, value in own.items()]
    return pd.DataFrame(rows, columns=["cell", "suite", "fraction", "value"])


def slope(values: Mapping[str, Mapping[float, float]]) -> "pd.Series[float]":
    return dose_slopes(points(values)).iloc[0]


def test_one_suite_has_the_least_squares_line_and_no_interval() -> None:
    values = [0.1, 0.3, 0.35, 0.9]
    found, known = slope({"a": dict(zip(DOSES, values, strict=True))}), scipy.stats.linregress(DOSES, values)
    assert found["slope"] == pytest.approx(known.slope)
    assert found["intercept"] == pytest.approx(known.intercept)
    assert found[["ci_low", "ci_high", "p"]].isna().all()
    assert (found["suites"], found["models"]) == (1, 4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-1, 1), min_size=4, max_size=4), min_size=3, max_size=6, unique_by=tuple))
def test_suites_give_the_t_test_of_their_slopes(values: list[list[float]]) -> None:
    slopes = [np.polyfit(DOSES, own, 1)[0] for own in values]
    if np.std(slopes) < 1e-3:
        return
    found = slope({str(seed): dict(zip(DOSES, own, strict=True)) for seed, own in enumerate(values)})
    known = scipy.stats.ttest_1samp(slopes, 0)
    assert found["slope"] == pytest.approx(np.mean(slopes), abs=1e-9)
    assert found["p"] == pytest.approx(known.pvalue, abs=1e-6)
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(list(known.confidence_interval()), abs=1e-6)


def test_suites_may_differ_in_level() -> None:
    found = slope({"a": {0: 0.0, 1: 1.0}, "b": {0: 5.0, 1: 6.5}, "c": {0: -3.0, 1: -2.25}})
    assert found["slope"] == pytest.approx((1 + 1.5 + 0.75) / 3)
    assert found["suites"] == 3


def test_draws_are_averaged_at_each_dose_before_the_line_is_drawn() -> None:
    draws = pd.concat([points({"a": {0: 0.0, 0.5: value, 1: 1.0}}) for value in (0.2, 0.4, 0.6)])
    once = points({"a": {0: 0.0, 0.5: 0.4, 1: 1.0}})
    assert dose_slopes(draws)["slope"].tolist() == pytest.approx(dose_slopes(once)["slope"].tolist())


def test_a_suite_of_one_dose_has_no_slope_and_is_not_counted() -> None:
    found = slope({"a": {0: 0.0, 1: 1.0}, "b": {0: 0.0, 1: 2.0}, "c": {1: 0.5}})
    assert (found["suites"], found["slope"]) == (2, pytest.approx(1.5))


@pytest.mark.parametrize("suites", [2, 3, 4])
def test_the_interval_covers_as_often_as_it_says_also_where_suites_have_other_doses(suites: int) -> None:
    drawn, covered, rounds = np.random.default_rng(suites), 0, 400
    doses = [(0.0, 0.125, 0.25), (0.0, 0.25, 0.5, 1.0), (0.0, 1.0)]
    for _ in range(rounds):
        own = {}
        for number in range(suites):
            start, rise = drawn.normal(0.2, 0.1), drawn.normal(0.5, 0.1)
            own[f"{number}"] = {dose: start + rise * dose + drawn.normal(0, 0.03) for dose in doses[number % 3]}
        found = slope(own)
        covered += found["ci_low"] <= 0.5 <= found["ci_high"]
    assert 0.92 <= covered / rounds <= 0.99


def run(directory: Path, suite: int, dose: float, after: float, unmodified: float, **changes: Any) -> None:
    weights = {"config.model.pretraining": {"seed": suite}, "checkpoint.sha256": f"{suite}"}
    made = finished(directory, fraction=dose, changes={**weights, **changes})
    summary = pd.read_csv(made / "summary.csv")
    for moment, value in (("after", after), ("control", unmodified)):
        summary.loc[(summary["metric"] == "share_she") & (summary["moment"] == moment), "value"] = value
    summary.to_csv(made / "summary.csv", index=False)


def arms(directory: Path):
    return arms_of([read_results(path.parent) for path in sorted(directory.rglob("run.json"))])


def test_controls_stand_at_dose_zero_once_for_each_suite(tmp_path: Path) -> None:
    for number, (suite, dose, control, after) in enumerate(
        [(1, 0.5, 0.1, 0.3), (1, 1.0, 0.1, 0.5), (2, 1.0, 0.2, 0.6)]
    ):
        run(tmp_path / f"{number}", suite, dose, after, control)
    found = dose_points(arms(tmp_path), benchmark="pronoun_prior", metric="share_she")
    own = {suite: dict(zip(rows["fraction"], rows["value"], strict=True)) for suite, rows in found.groupby("suite")}
    assert own == {"1": {0.5: 0.3, 1.0: 0.5, 0.0: 0.1}, "2": {1.0: 0.6, 0.0: 0.2}}


def test_the_arm_of_no_intervention_is_dose_zero_where_the_control_differs_in_more_than_the_text(
    tmp_path: Path,
) -> None:
    differs = {"control": "published", "control_differs": ["Adam's moments, which were rebuilt"]}
    for dose, after in ((0.5, 0.3), (1.0, 0.5)):
        run(tmp_path / f"{dose}", 1, dose, after, 0.1, **differs)
    swapped = dose_points(arms(tmp_path), benchmark="pronoun_prior", metric="share_she")
    assert set(swapped["fraction"]) == {0.5, 1.0}
    run(tmp_path / "none", 1, 1.0, 0.12, 0.1, **{"intervention.name": "none"})
    run(tmp_path / "placebo", 1, 1.0, 0.1, 0.1, **{"intervention.name": "placebo"})
    found = dose_points(arms(tmp_path), benchmark="pronoun_prior", metric="share_she")
    assert set(found["cell"]) == {"masculine to feminine"}
    assert dict(zip(found["fraction"], found["value"], strict=True)) == {0.5: 0.3, 1.0: 0.5, 0.0: 0.12}


def test_slopes_at_two_rates_stay_two_slopes(tmp_path: Path) -> None:
    for lr, rise in ((0.003, 0.1), (0.03, 0.7)):
        for suite in (1, 2):
            for dose in (0.5, 1.0):
                after = 0.1 + rise * dose + 0.01 * suite * dose
                run(tmp_path / f"{lr}-{suite}-{dose}", suite, dose, after, 0.1, **{"config.training.lr": lr})
    found = all_slopes(arms(tmp_path)).query("metric == 'share_she'").set_index("cell")["slope"]
    assert found.to_dict() == {
        "masculine to feminine, training.lr 0.003": pytest.approx(0.115),
        "masculine to feminine, training.lr 0.03": pytest.approx(0.715),
    }


def test_p_is_corrected_over_all_slopes_of_the_table(tmp_path: Path) -> None:
    for suite in (1, 2, 3):
        for dose in (0.5, 1.0):
            run(tmp_path / f"{suite}-{dose}", suite, dose, 0.1 + (0.7 + 0.01 * suite) * dose, 0.1)
    slopes, table = all_slopes(arms(tmp_path)), dose_table(arms(tmp_path))
    assert slopes["p_holm"].tolist() == pytest.approx(holm(slopes["p"]).tolist(), nan_ok=True)
    assert table.columns[-2:] == ["p", "Holm"]
    assert "Holm: p corrected over all slopes of this table." in table.caption


def test_a_study_without_doses_has_no_slopes(tmp_path: Path) -> None:
    run(tmp_path / "run", 1, 1.0, 0.3, 0.1)
    assert dose_points(arms(tmp_path), benchmark="pronoun_prior", metric="share_she").empty
    assert all_slopes(arms(tmp_path)).empty
    assert dose_table(arms(tmp_path)).rows == []
