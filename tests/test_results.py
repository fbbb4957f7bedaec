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
    Results,
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


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0009995, "< 0.001"),
        (0.0124, "0.012"),
        (0.523, "0.52"),
        (None, "–"),
        (0.04996, "0.04996"),  # on this side of 0.05
        (0.0501, "0.0501"),
        (0.05, "0.050000"),
    ],
)
def test_p_values_are_rounded_sensibly(p: float | None, text: str) -> None:
    assert p_value(p) == text


def test_digits_follow_the_interval() -> None:
    precise = Estimate(1.2345, 1.2340, 1.2350, None, None)
    vague = Estimate(0.00632, -0.006, 0.018, None, None)
    small = Estimate(0.00412, 0.00388, 0.00436, 0.0001, 0.0003)
    assert Metric("b", "m", "", 1, None, {"before": precise}, {}).decimals == 2
    assert Metric("b", "m", "", 1, None, {"before": vague}, {}).decimals == 3
    assert Metric("b", "m", "", 1, None, {"before": precise}, {"after-before": vague}).decimals == 3
    assert Metric("b", "m", "", 1, None, {"before": precise}, {"after-before": small}).decimals == 5


def test_a_change_that_was_found_is_never_printed_as_zero() -> None:
    exact = Estimate(-0.00002, None, None, 0.0001, None)
    before = Estimate(4.4437, 4.41, 4.47, None, None)
    metric = Metric("b", "m", "", 1, None, {"before": before}, {"after-before": exact})
    assert number(exact.value, metric.change_decimals) == "−0.000020"
    tiny = Estimate(3.2e-7, 2.6e-7, 3.9e-7, 0.0001, None)
    metric = Metric("b", "m", "", 1, None, {"before": before}, {"after-before": tiny})
    assert number(tiny.value, metric.change_decimals, signed=True) == "+3.2e−07"
    assert metric.decimals == 6


def test_a_bound_that_leaves_out_zero_is_never_printed_as_zero() -> None:
    change = Estimate(0.04, 0.0024, 0.25, 0.044, None)
    metric = Metric("b", "m", "", 1, None, {"before": Estimate(0.6, 0.5, 0.7, None, None)}, {"after-before": change})
    assert number(change.low, metric.change_decimals) == "0.002"


def test_a_star_is_in_brackets_where_p_is_not_corrected() -> None:
    assert Estimate(1.0, 0.5, 1.5, 0.01, None, 0.04).mark == "*"
    assert Estimate(1.0, 0.5, 1.5, 0.01, None).mark == "(*)"
    assert Estimate(1.0, 0.5, 1.5, 0.01, None, 0.06).mark == ""


@pytest.mark.parametrize(
    ("p", "p_holm", "is_found"), [(0.01, 0.04, True), (0.01, 0.06, False), (0.04, None, True), (0.12, None, False)]
)
def test_a_change_is_found_by_the_corrected_p_where_there_is_one_and_never_by_the_interval(p, p_holm, is_found) -> None:
    for low, high in ((0.01, 0.03), (-0.01, 0.03)):
        assert Estimate(0.02, low, high, p, 0.01, p_holm).is_found == is_found


def answer_with(change: Estimate) -> str:
    """What is said of the headline share where its change is this one."""
    levels = {"before": Estimate(0.500, 0.44, 0.56, None, None), "after": Estimate(0.515, 0.45, 0.57, None, None)}
    metric = Metric("crows_pairs", "gender_pct_stereotype", "", 262, 0.5, levels, {"after-before": change})
    found = Results(Path(), {}, [metric], {}, pd.DataFrame(), {}, pd.DataFrame())
    return answer_sentences(found)[0]


def test_four_pairs_gained_and_none_lost_are_no_move_whatever_the_interval_leaves_out() -> None:
    answer = answer_with(Estimate(4 / 262, 0.0006, 0.0386, 0.125, 0.03, 0.125, changed=4))
    assert "no detectable change, though the interval, which is approximate and uncorrected, leaves out zero" in answer
    assert "finds 0.0300 or more with 80\u00a0% power" in answer
    assert "a move" not in answer


def test_a_change_that_the_correction_keeps_is_a_move_and_one_that_it_does_not_keep_is_none() -> None:
    assert answer_with(Estimate(0.015, 0.01, 0.02, 0.001, 0.03, 0.004, changed=20)).endswith(
        "a move away from the 0.5 of an unbiased model."
    )
    assert "no detectable change" in answer_with(Estimate(0.015, 0.01, 0.10, 0.02, 0.03, 0.14, changed=20))


def test_a_model_that_no_longer_repeats_its_corpus_is_not_called_unbiased() -> None:
    levels = {"before": Estimate(0.55, 0.38, 0.75, None, None), "after": Estimate(0.20, 0.09, 0.31, None, None)}
    change = Estimate(-0.35, -0.50, -0.24, 1e-6, 0.17, 1e-6, changed=96)
    metric = Metric("occupations", "learned_association", "", 96, 0.0, levels, {"after-before": change})
    answer = answer_sentences(Results(Path(), {}, [metric], {}, pd.DataFrame(), {}, pd.DataFrame()))[0]
    assert answer.endswith("a move towards the 0 of a model that knows nothing of its corpus’s associations.")


def test_where_the_test_could_find_nothing_no_detectable_effect_is_named() -> None:
    assert answer_with(Estimate(0.01, -0.02, 0.04, 0.5, None, 0.5, changed=2)).endswith("no detectable change.")


def test_examples_that_are_all_the_same_are_said_to_be() -> None:
    answer = answer_with(Estimate(0.0, -0.0144, 0.0144, 1.0, 0.03, 1.0, changed=0))
    assert answer.endswith("no example changed.")
    assert "no example changed" not in answer_with(Estimate(0.0, -0.02, 0.02, 1.0, 0.03, 1.0, changed=4))


@pytest.mark.parametrize(
    ("expects", "value", "low", "high", "expected"),
    [
        ("rise", 3.8, 3.7, 3.9, "taken"),
        ("rise", 1.5, 1.4, 1.6, "taken"),
        ("rise", 1.5, 1.2, 1.8, "unclear"),  # no more than noise, at the lower end
        ("rise", 1.1, 1.0, 1.2, "unclear"),  # noise alone has moved the log-odds so far
        ("rise", 0.4, 0.3, 0.5, "not taken"),  # a rise, but a small one
        ("rise", -1.2, -1.3, -1.1, "not taken"),
        ("rise", -1.5, -1.6, -1.4, "moved the other way"),
        ("they", 3.8, 3.7, 3.9, "taken"),
        ("fall", -1.6, -1.7, -1.5, "taken"),  # as from a share of 0.10 to one of 0.02
        ("fall", 3.6, 3.5, 3.7, "moved the other way"),
        ("fall", -1.1, -1.2, -1.0, "unclear"),
        ("none", 0.0, 0.0, 0.0, "moved no more than training noise does, as expected"),
        ("none", 1.1, 1.0, 1.2, "unclear"),
        ("none", -1.6, -1.7, -1.5, "moved, though nothing was changed"),
        (None, 3.8, 3.7, 3.9, None),
    ],
)
def test_the_verdict_goes_by_the_rule(expects, value: float, low: float, high: float, expected: str) -> None:
    assert verdict(Estimate(value, low, high, 0.01, 0.02), expects) == expected


def test_nothing_moved_is_never_said_beside_a_p_below_five_percent() -> None:
    assert verdict(Estimate(0.02, -0.01, 0.05, 0.06, None), "none") == "nothing moved, as expected"
    assert verdict(Estimate(0.02, 0.01, 0.03, 0.0004, None), "none") == (
        "moved no more than training noise does, as expected"
    )


@given(st.floats(-4, 4), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["rise", "fall", "they", "none"]))
def test_rise_and_fall_are_judged_alike(value: float, below: float, above: float, expects: str) -> None:
    mirror = {"rise": "fall", "fall": "rise", "they": "fall", "none": "none"}
    one = verdict(Estimate(value, value - below, value + above, None, None), expects)
    other = verdict(Estimate(-value, -value - above, -value + below, None, None), mirror[expects])
    assert one == other


@pytest.mark.parametrize("expects", ["rise", "fall", "they", "none"])
def test_two_arms_that_differ_by_noise_which_all_prefixes_share_are_judged_wrongly_in_fewer_than_one_case_in_twenty(
    expects: str,
) -> None:
    random = np.random.default_rng(0)
    drawn = random.normal(-1.2, 0.3, size=(400, 2, 40))
    drawn[:, 0] += random.normal(0, 0.5, size=(400, 1))  # as between checkpoints of the demo
    moments = {
        moment: {
            "prior": {
                str(i): Values(values=pair[which], clusters=np.arange(40), neutral=0.0, description="")
                for i, pair in enumerate(drawn)
            }
        }
        for which, moment in enumerate(("after", "control"))
    }
    table = summarize(moments)
    found = [
        verdict(Estimate(row["value"], row["ci_low"], row["ci_high"], row["p"], None), expects)
        for row in table[table["moment"] == "after-control"].to_dict("records")
    ]
    assert len(found) == 400
    wrong = [each for each in found if each in ("taken", "moved the other way", "moved, though nothing was changed")]
    assert len(wrong) / 400 <= 0.05


def test_the_manipulation_check_opens_with_its_verdict(tmp_path: Path) -> None:
    assert manipulation_sentence(read_results(write_fake_run(tmp_path))) == (
        "Manipulation check: taken. P(she)/(P(he)+P(she)) rose from 0.16 to 0.97 in the intervened arm and went from "
        "0.16 to 0.17 in the control arm. The log-odds changed by +5.27 nats (after − control, 95\u00a0% interval 5.11 "
        "to 5.43); training alone moves them by up to 1.3."
    )


def test_without_a_control_arm_the_sentence_speaks_of_one_arm(tmp_path: Path) -> None:
    assert manipulation_sentence(read_results(write_fake_run(tmp_path, control=False))) == (
        "Manipulation check: taken. P(she)/(P(he)+P(she)) rose from 0.16 to 0.97 in the intervened arm; there is no "
        "control arm to tell it from further training. The log-odds changed by +5.32 nats (after − before, "
        "95\u00a0% interval 5.16 to 5.48); training alone moves them by up to 1.3."
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
