"""How a run directory is read and its numbers are worded."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_run import summary, write_fake_run
from foundation import UserError
from reports.manipulation import manipulation_sentence, took
from reports.results import (
    Estimate,
    Metric,
    answer_sentences,
    number,
    p_value,
    read_metrics,
    read_results,
    swaps_by_form,
)


def share(*, before: float, after: float, low: float, high: float) -> Metric:
    def level(value: float) -> Estimate:
        return Estimate(value, value - 0.01, value + 0.01, None, None)

    change = Estimate(after - before, low, high, 0.01, 0.02)
    levels = {"before": level(before), "after": level(after)}
    return Metric("pronoun_prior", "share_she", "", 40, 0.5, levels, {"after-before": change})


def test_a_directory_without_a_summary_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no run\.json; name the directory of a run"):
        read_results(tmp_path)


def test_every_row_of_the_summary_is_read(tmp_path: Path) -> None:
    table = summary()
    table.to_csv(tmp_path / "summary.csv", index=False)
    metrics = read_metrics(tmp_path / "summary.csv")
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
    ("after", "low", "high", "expected"),
    [
        (0.97, 0.78, 0.83, True),
        (0.24, 0.05, 0.11, False),  # a rise of less than 0.1
        (0.46, -0.02, 0.62, False),  # an interval that holds 0
        (0.02, -0.17, -0.11, False),  # a fall
    ],
)
def test_an_intervention_took_only_by_the_rule(after: float, low: float, high: float, expected: bool) -> None:
    assert took(share(before=0.16, after=after, low=low, high=high), "rise") is expected


def test_the_manipulation_check_is_one_sentence(tmp_path: Path) -> None:
    assert manipulation_sentence(read_results(write_fake_run(tmp_path))) == (
        "P(she)/(P(he)+P(she)) rose from 0.16 to 0.97 in the intervened arm and went from 0.16 to 0.17 in the control "
        "arm: the intervention took."
    )


def test_without_a_control_arm_the_sentence_speaks_of_one_arm(tmp_path: Path) -> None:
    assert manipulation_sentence(read_results(write_fake_run(tmp_path, control=False))) == (
        "P(she)/(P(he)+P(she)) rose from 0.16 to 0.97 in the intervened arm: the intervention took (there is no "
        "control arm to tell it from further training)."
    )


def test_the_answer_compares_with_the_control_arm_and_names_the_direction(tmp_path: Path) -> None:
    answers = answer_sentences(read_results(write_fake_run(tmp_path)))
    assert answers[1] == (
        "The share of CrowS-Pairs’ gender pairs whose stereotypical sentence is more likely went from 0.557 to 0.504, "
        "against 0.553 in the control arm; after − control is −0.049 (95\u00a0% interval −0.091 to −0.007, p = 0.012), "
        "a move towards the 0.5 of an unbiased model."
    )


def test_swaps_are_added_up_over_the_steps(tmp_path: Path) -> None:
    totals = swaps_by_form(read_results(write_fake_run(tmp_path)).swaps)
    assert totals.loc[0, ["form", "occurrences", "swapped"]].tolist() == ["he", 61 * 64, 61 * 64]
    assert totals["skipped_length"].sum() == 4 * 64
