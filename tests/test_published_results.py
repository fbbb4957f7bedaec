import numpy as np
import pandas as pd
import pytest

from foundation import UserError
from reports.published_results import net_bias, published_results

CHECKPOINT = ["family", "model", "variant", "step"]


@pytest.fixture(scope="module")
def results():
    return published_results()


def at(results, model, variant, step, *, family="v1", **cells):
    wanted = {"family": family, "model": f"{model}-deduped", "variant": variant, "step": step, **cells}
    return results[np.logical_and.reduce([results[column] == value for column, value in wanted.items()])]


def test_all_files_that_were_stored_are_there(results):
    files = results.drop_duplicates([*CHECKPOINT, "benchmark"]).groupby(["benchmark", "family"]).size()
    assert files["crows_pairs"].to_dict() == {"v0": 146, "v1": 562}
    assert files["winobias"].to_dict() == {"v0": 155, "v1": 150}
    assert files["lambada_openai"].sum() == 698  # ten files of CrowS-Pairs lack it
    assert len(results) == 708 * 11 * 2 + 305 * 8 + 698 * 2
    assert not results.duplicated([*CHECKPOINT, "benchmark", "subset", "condition", "template", "metric"]).any()
    assert not results[["value", "stderr", "n", "clean"]].isna().any(axis=None)


def test_125_files_are_corrupted_by_the_swap_hook_all_of_them_of_v0(results):
    unclean = results[~results["clean"]].drop_duplicates(CHECKPOINT)
    assert unclean.groupby(["family", "model", "variant"]).size().to_dict() == {
        ("v0", "1.4b-deduped", "baseline"): 15,
        ("v0", "1.4b-deduped", "intervene_21"): 29,
        ("v0", "1.4b-deduped", "intervene_7"): 9,
        ("v0", "410m-deduped", "baseline"): 13,
        ("v0", "410m-deduped", "intervene_7"): 10,
        ("v0", "6.9b-deduped", "baseline"): 15,
        ("v0", "6.9b-deduped", "intervene_7"): 10,
        ("v0", "70m-deduped", "baseline"): 14,
        ("v0", "70m-deduped", "intervene_7"): 10,
    }
    crows_pairs = results[(results["benchmark"] == "crows_pairs") & (results["metric"] == "pct_stereotype")]
    assert crows_pairs["clean"].value_counts().to_dict() == {True: 6413, False: 1375}
    assert results.loc[results["benchmark"] == "winobias", "clean"].all()


def test_corruption_multiplies_the_distance_of_pairs_about_gender(results):
    distance = {"subset": "gender", "metric": "likelihood_difference", "family": "v0"}
    corrupted, clean = (at(results, "1.4b", "baseline", step, **distance) for step in (66_500, 67_000))
    assert [corrupted["clean"].item(), clean["clean"].item()] == [False, True]
    assert corrupted["value"].item() == pytest.approx(35.32, abs=0.005)
    assert clean["value"].item() == pytest.approx(2.80, abs=0.005)


def test_steps_of_larger_batches_have_their_equivalents(results):
    ratio = results[results["step"] > 0].assign(ratio=lambda rows: rows["step_equivalent"] / rows["step"])
    found = ratio.drop_duplicates(["family", "model", "ratio"])
    doubled = found[found["ratio"] != 1]
    assert doubled[["family", "model", "ratio"]].to_numpy().tolist() == [
        ["v0", "410m-deduped", 2.0],
        ["v0", "1.4b-deduped", 2.0],
    ]
    assert results["step_equivalent"].max() == 143_000


@pytest.mark.parametrize(
    ("share", "n", "stderr"),
    [(192 / 320, 320, 0.027429), (179 / 396, 396, 0.025042)],
)
def test_stderr_is_that_of_a_mean_with_n_minus_one(results, share, n, stderr):
    rows = results[(results["value"] == share) & (results["n"] == n) & (results["metric"] != "likelihood_difference")]
    assert len(rows) > 0
    np.testing.assert_allclose(rows["stderr"], stderr, atol=5e-7)


def test_n_follows_from_share_and_stderr(results):
    shares = results[results["metric"].isin(["pct_stereotype", "exact_match", "accuracy"]) & (results["stderr"] > 0)]
    implied = shares["value"] * (1 - shares["value"]) / shares["stderr"] ** 2 + 1
    np.testing.assert_allclose(implied, shares["n"], rtol=1e-9)
    correct = shares["value"] * shares["n"]
    np.testing.assert_allclose(correct, np.rint(correct), atol=1e-9)


def test_every_difference_of_log_likelihoods_is_a_whole_number_of_64ths(results):
    rows = results[results["metric"] == "likelihood_difference"]
    total = rows["value"] * rows["n"] * 64
    np.testing.assert_allclose(total, np.rint(total), atol=1e-6)
    # A whole number is odd if and only if its square is, so that both sums are odd or neither is.
    squares = rows["stderr"] ** 2 * rows["n"] * (rows["n"] - 1) * 64**2 + total**2 / rows["n"]
    np.testing.assert_allclose(squares, np.rint(squares), atol=1e-3)
    assert (np.rint(total) % 2 == np.rint(squares) % 2).all()


def test_crows_pairs_has_the_sizes_of_the_revision(results):
    sizes = results[results["benchmark"] == "crows_pairs"].groupby("subset")["n"].unique().map(list).to_dict()
    assert sizes == {
        "age": [91],
        "all": [1677],
        "autre": [11],
        "disability": [65],
        "gender": [320],
        "nationality": [216],
        "physical-appearance": [72],
        "race-color": [508],
        "religion": [111],
        "sexual-orientation": [93],
        "socioeconomic": [190],
    }


@pytest.mark.parametrize(
    ("model", "variant", "share", "distance", "lambada"),
    [
        ("70m", "baseline", 0.5625, 3.25, 0.193),
        ("70m", "intervene_7", 0.5781, 3.09, 0.177),
        ("410m", "baseline", 0.6188, 3.20, None),
        ("410m", "intervene_7", 0.6188, 3.18, 0.527),
        ("1.4b", "baseline", 0.6156, 2.88, 0.618),
        ("1.4b", "intervene_7", 0.6156, 2.84, 0.621),
        ("1.4b", "intervene_21", 0.6063, 2.82, 0.614),
        ("6.9b", "baseline", 0.6719, 2.99, 0.687),
        ("6.9b", "intervene_7", 0.6781, 3.03, 0.689),
    ],
)
def test_the_final_checkpoints_have_their_crows_pairs(results, model, variant, share, distance, lambada):
    rows = at(results, model, variant, 143_000)
    gender = rows[rows["subset"] == "gender"].set_index("metric")
    assert gender.loc["pct_stereotype", "value"] == pytest.approx(share, abs=5e-5)
    assert gender.loc["likelihood_difference", "value"] == pytest.approx(distance, abs=0.005)
    assert gender.loc["pct_stereotype", "stderr"] == pytest.approx(0.027, abs=0.001)
    assert rows.loc[rows["metric"] == "accuracy", "value"].tolist() == pytest.approx(
        [] if lambada is None else [lambada], abs=5e-4
    )


@pytest.mark.parametrize(
    ("model", "variant", "pro", "anti", "bias", "accuracy"),
    [
        ("410m", "baseline", 0.193, 0.112, 0.081, 0.153),
        ("410m", "intervene_7", 0.271, 0.196, 0.075, 0.233),
        ("1.4b", "baseline", 0.158, 0.086, 0.073, 0.122),
        ("1.4b", "intervene_7", 0.272, 0.161, 0.111, 0.217),
        ("1.4b", "intervene_21", 0.227, 0.136, 0.091, 0.182),
        ("6.9b", "baseline", 0.282, 0.163, 0.119, 0.223),
        ("6.9b", "intervene_7", 0.353, 0.206, 0.147, 0.280),
    ],
)
def test_the_final_checkpoints_have_their_net_bias(results, model, variant, pro, anti, bias, accuracy):
    (row,) = at(net_bias(results), model, variant, 143_000).to_dict("records")
    found = [row["pro"], row["anti"], row["net_bias"], row["accuracy"]]
    assert found == pytest.approx([pro, anti, bias, accuracy], abs=6e-4)


def test_net_bias_is_that_of_the_eight_counts(results):
    rows = at(results, "1.4b", "baseline", 143_000, benchmark="winobias")
    counts = {condition: np.rint(396 * cells["value"]).tolist() for condition, cells in rows.groupby("condition")}
    assert counts == {"pro": [61, 121, 4, 65], "anti": [48, 61, 3, 24]}
    (row,) = net_bias(rows).to_dict("records")
    assert row["net_bias"] == pytest.approx((251 - 136) / 4 / 396)
    assert round(row["net_bias"], 4) == 0.0726


def test_net_bias_is_worked_by_hand():
    cells = {"family": "v1", "model": "m", "variant": "baseline", "step": 2, "step_equivalent": 4, "subset": "type1"}
    rows = [
        {
            **cells,
            "benchmark": "winobias",
            "condition": condition,
            "template": template,
            "value": value,
            "stderr": error,
        }
        for condition, template, value, error in [
            ("pro", "a", 0.5, 0.01),
            ("pro", "b", 0.3, 0.07),
            ("anti", "a", 0.2, 0.05),
            ("anti", "b", 0.4, 0.05),
        ]
    ]
    (row,) = net_bias(pd.DataFrame(rows)).to_dict("records")
    # mean squared errors (1 + 49) / 2 = 25 and 25 ten-thousandths
    numbers = {"pro": 0.4, "anti": 0.3, "net_bias": 0.1, "stderr": 50**0.5 / 100, "accuracy": 0.35}
    assert row == {
        **{name: cells[name] for name in (*CHECKPOINT, "step_equivalent")},
        **{name: pytest.approx(value) for name, value in numbers.items()},
    }


def test_one_template_has_a_net_bias_of_its_own(results):
    refers_to = net_bias(results[results["template"] == "refers_to"])
    accuracy = [at(refers_to, "410m", variant, 143_000)["accuracy"].item() for variant in ("baseline", "intervene_7")]
    assert accuracy == pytest.approx([0.0372, 0.1944], abs=5e-5)


def test_a_condition_without_its_twin_has_no_net_bias(results):
    with pytest.raises(UserError, match="found 1220 and 0 rows of winobias, 0 of them in pairs; select rows"):
        net_bias(results[results["condition"] == "pro"])
    with pytest.raises(UserError, match="found 0 and 0 rows"):
        net_bias(results[results["benchmark"] == "crows_pairs"])


def test_a_table_that_was_changed_does_not_change_the_next(results):
    changed = published_results()
    changed["value"] = 0.0
    pd.testing.assert_frame_equal(published_results(), results)
