"""How a run directory is read and its numbers are worded."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import Metric as Values
from eval import summarize
from fake_run import summary, write_fake_run
from foundation import UserError
from reports.manipulation import manipulation_sentence, verdict
from reports.results import (
    Estimate,
    Metric,
    answer_sentences,
    metrics_of,
    number,
    p_value,
    read_results,
    swaps_by_form,
)


def test_a_directory_without_a_summary_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no run\.json; name the directory of a run"):
        read_results(tmp_path)


def test_every_row_of_the_summary_is_read(tmp_path: Path) -> None:
    table = summary()
    table.to_csv(tmp_path / "summary.csv", index=False)
    metrics = metrics_of(pd.read_csv(tmp_path / "summary.csv"))
    read = {
        (metric.benchmark, metric.name, moment): estimate.value
        for metric in metrics
        for moment, estimate in (metric.levels | metric.changes).items()
    }
    written = {(row.benchmark, row.metric, row.moment): row.value for row in table.itertuples()}
    assert read == pytest.approx(written, rel=1e-12)


def test_headlines_keep_the_benchmarks_order_and_an_unknown_benchmark_shows_its_first_metric(tmp_path: Path) -> None:
    table = summary()
    unknown = table[table["benchmark"] == "occupations"].assign(benchmark="of_ones_own")
    directory = write_fake_run(tmp_path, optional=False)
    table_path = directory / "summary.csv"
    table_path.write_text(table.to_csv(index=False) + unknown.to_csv(index=False, header=False))
    headlines = [(metric.benchmark, metric.name) for metric in read_results(directory).headlines]
    assert headlines[0] == ("winobias", "pro_preference")
    assert headlines[-1] == ("of_ones_own", "log_odds_she")
    assert ("crows_pairs", "gender_pct_stereotype") in headlines
    assert ("crows_pairs", "pct_stereotype") not in headlines


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "text"),
    [
        (0.5834, 3, False, "0.583"),
        (-0.012, 3, True, "−0.012"),
        (0.012, 3, True, "+0.012"),
        (-0.0001, 3, True, "0.000"),
        (12345.6, 0, False, "12,346"),
        (None, 2, False, "–"),
    ],
)
def test_numbers_have_a_true_minus_and_no_negative_zero(
    value: float | None, decimals: int, signed: bool, text: str
) -> None:
    assert number(value, decimals, signed=signed) == text


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_a_number_in_print_is_the_number_rounded(value: float, decimals: int) -> None:
    printed = float(number(value, decimals).replace("−", "-").replace(",", ""))
    assert printed == pytest.approx(value, abs=0.5000001 * 10**-decimals)


@pytest.mark.parametrize(("p", "text"), [(0.0009995, "< 0.001"), (0.0124, "0.012"), (0.523, "0.52"), (None, "–")])
def test_p_values_are_rounded_sensibly(p: float | None, text: str) -> None:
    assert p_value(p) == text


def test_digits_follow_the_interval() -> None:
    precise = Estimate(1.2345, 1.2340, 1.2350, None, None)
    vague = Estimate(0.00632, -0.006, 0.018, None, None)
    assert Metric("b", "m", "", 1, None, {"before": precise}, {}).decimals == 2
    assert Metric("b", "m", "", 1, None, {"before": vague}, {}).decimals == 3


@pytest.mark.parametrize(
    ("expects", "value", "low", "high", "expected"),
    [
        ("rise", 0.81, 0.78, 0.83, "taken"),
        ("rise", 0.12, 0.01, 0.23, "taken"),
        ("rise", 0.08, 0.05, 0.11, "unclear"),  # less than 0.1, but 0.1 is within the interval
        ("rise", 0.30, -0.02, 0.62, "unclear"),  # an interval that holds 0
        ("rise", 0.05, 0.03, 0.07, "not taken"),  # a rise, but a small one
        ("rise", -0.14, -0.17, -0.11, "not taken"),
        ("they", 0.81, 0.78, 0.83, "taken"),
        ("fall", -0.14, -0.17, -0.11, "taken"),
        ("fall", 0.14, 0.11, 0.17, "not taken"),
        ("fall", -0.08, -0.12, -0.04, "unclear"),
        ("none", 0.0, 0.0, 0.0, "nothing moved, as expected"),
        ("none", -0.002, -0.003, -0.001, "nothing moved, as expected"),
        ("none", 0.06, -0.01, 0.13, "unclear"),
        ("none", -0.2, -0.3, -0.1, "moved, though nothing was changed"),
        (None, 0.81, 0.78, 0.83, None),
    ],
)
def test_the_verdict_goes_by_the_rule(expects, value: float, low: float, high: float, expected: str) -> None:
    assert verdict(Estimate(value, low, high, 0.01, 0.02), expects) == expected


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.sampled_from(["rise", "fall", "they", "none"]))
def test_rise_and_fall_are_judged_alike(value: float, below: float, above: float, expects: str) -> None:
    mirror = {"rise": "fall", "fall": "rise", "they": "fall", "none": "none"}
    one = verdict(Estimate(value, value - below, value + above, None, None), expects)
    other = verdict(Estimate(-value, -value - above, -value + below, None, None), mirror[expects])
    assert one == other


def test_an_intervention_that_did_nothing_is_called_taken_in_fewer_than_one_case_in_twenty() -> None:
    rng = np.random.default_rng(0)
    called = 0
    for trial in range(500):
        levels = {moment: 0.5 + rng.normal(0, 0.25, size=40) for moment in ("after", "control")}
        metrics = {
            moment: {
                "pronoun_prior": {
                    "share_she": Values(values=values, clusters=np.arange(40), neutral=0.5, description="")
                }
            }
            for moment, values in levels.items()
        }
        row = summarize(metrics, seed=trial, resamples=400).set_index("moment").loc["after-control"]
        called += verdict(Estimate(row["value"], row["ci_low"], row["ci_high"], None, None), "rise") == "taken"
    assert called / 500 <= 0.05


def test_the_manipulation_check_opens_with_its_verdict(tmp_path: Path) -> None:
    assert manipulation_sentence(read_results(write_fake_run(tmp_path))) == (
        "Manipulation check: taken. P(she)/(P(he)+P(she)) rose from 0.16 to 0.97 in the intervened arm and went from "
        "0.16 to 0.17 in the control arm."
    )


def test_without_a_control_arm_the_sentence_speaks_of_one_arm(tmp_path: Path) -> None:
    assert manipulation_sentence(read_results(write_fake_run(tmp_path, control=False))) == (
        "Manipulation check: taken. P(she)/(P(he)+P(she)) rose from 0.16 to 0.97 in the intervened arm; there is no "
        "control arm to tell it from further training."
    )


def test_the_answer_compares_with_the_control_arm_and_names_the_direction(tmp_path: Path) -> None:
    answers = answer_sentences(read_results(write_fake_run(tmp_path)))
    assert answers[1] == (
        "The share of CrowS-Pairs’ gender pairs whose stereotypical sentence is more likely went from 0.557 to 0.504, "
        "against 0.553 in the control arm; after − control is −0.049 (95\u00a0% interval −0.091 to −0.007, p = 0.012, "
        "p = 0.036 by Holm’s correction), "
        "a move towards the 0.5 of an unbiased model."
    )


def test_swaps_are_added_up_over_the_steps(tmp_path: Path) -> None:
    totals = swaps_by_form(read_results(write_fake_run(tmp_path)).swaps)
    assert totals.loc[0, ["form", "occurrences", "swapped"]].tolist() == ["he", 61 * 64, 61 * 64]
    assert totals["skipped_length"].sum() == 4 * 64
