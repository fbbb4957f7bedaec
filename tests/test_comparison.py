"""What tells arms apart, which of them are the same, and what may be said of several suites."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from fake_run import PRIMARY
from reports import write_study
from reports.arms import arms_of, cells, notes
from reports.comparison import labels
from reports.dose_response import dose_points
from reports.fidelity import fidelity_tables
from reports.over_suites import mean_over_suites, suite_effects
from reports.results import read_results
from reports.runs import collect
from reports.study_page import answers
from reports.study_tables import Table, corrected, design_table, labelled_runs, suite_table
from test_collect import finished
from test_html import Page

LR = "config.training.lr"


def suite(number: int, **more: Any) -> dict[str, Any]:
    """Changes to run.json that make a run's suite another."""
    return {"config.model.pretraining": {"seed": number}, "checkpoint.sha256": f"suite {number}", **more}


def found(directory: Path):
    return [read_results(path.parent) for path in sorted(directory.rglob("run.json"))]


def values(table: Table, row: str) -> list[str]:
    return next(cells for cells in table.rows if cells[0] == row)[1:]


def set_change(run: Path, change: float) -> None:
    """Let after - control of the checked share be this."""
    summary = pd.read_csv(run / "summary.csv")
    own = summary["metric"] == "share_she"
    control = summary.loc[own & (summary["moment"] == "control"), "value"].iloc[0]
    summary.loc[own & (summary["moment"] == "after"), "value"] = control + change
    summary.loc[own & (summary["moment"] == "after-control"), "value"] = change
    summary.to_csv(run / "summary.csv", index=False)


def test_a_setting_that_differs_makes_another_cell_whatever_it_is(tmp_path: Path) -> None:
    for lr in (0.003, 0.03):
        for seed in (0, 1):
            finished(tmp_path / f"{lr}-{seed}", seed=seed, fraction=0.5, changes={LR: lr})
    runs = found(tmp_path)
    assert values(design_table(runs), "training.lr") == ["0.003, 0.03"]
    assert [arm.label for arm in arms_of(runs)] == [
        f"masculine to feminine, seed {seed}, training.lr {lr:g}" for seed in (0, 1) for lr in (0.003, 0.03)
    ]
    assert sorted(len(cell) for cell in cells(arms_of(runs))) == [2, 2]
    table = collect([tmp_path])
    assert table.groupby("training.lr")["run"].nunique().to_dict() == {0.003: 2, 0.03: 2}


def test_settings_that_decide_no_number_make_no_cell(tmp_path: Path) -> None:
    for number, minutes in enumerate((None, 20)):
        changes = suite(number) | {"config.training.save_minutes": minutes, "config.tracker": "none"}
        finished(tmp_path / f"{number}", changes=changes | {"config.training.save_every": 16 + number})
    assert [len(cell) for cell in cells(arms_of(found(tmp_path)))] == [2]
    assert [arm.label for arm in arms_of(found(tmp_path))] == [f"masculine to feminine, model seed {n}" for n in (0, 1)]


def test_what_auto_came_to_tells_runs_apart_and_not_how_it_was_asked_for(tmp_path: Path) -> None:
    for number, (asked, precision) in enumerate([("auto", "fp32"), ("fp32", "fp32"), ("auto", "fp16")]):
        changes = suite(number) | {"config.training.precision": asked, "arithmetic.precision": precision}
        finished(tmp_path / f"{number}", changes=changes)
    assert sorted(len(cell) for cell in cells(arms_of(found(tmp_path)))) == [1, 2]


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ("git.commit", ("0123456789abcdef", "fedcba9876543210")),
        ("identity", ({"code": {"run.py": "ab"}}, {"code": {"run.py": "cd"}})),
        ("identity.python", ("3.11", "3.12")),
        ("packages.torch", ("2.12.0", "2.13.0")),
        ("config.device", ("cpu", "cuda:1")),
    ],
)
def test_runs_of_other_code_packages_or_devices_are_never_pooled(
    entry: str, values: tuple[Any, Any], tmp_path: Path
) -> None:
    for number, value in enumerate(values):
        finished(tmp_path / f"{number}", changes=suite(number) | {entry: value})
    arms = arms_of(found(tmp_path))
    assert [len(cell) for cell in cells(arms)] == [1, 1]
    assert suite_table(arms).rows == []


def test_what_is_named_on_the_machine_counts_by_its_content_and_threads_not_at_all(tmp_path: Path) -> None:
    for number, (path, content, threads) in enumerate([("a.txt", "ab", 1), ("b/a.txt", "ab", 2), ("a.txt", "cd", 1)]):
        identity = {"inputs": {"corpus.text": content}, "threads": threads}
        finished(tmp_path / f"{number}", changes=suite(number) | {"config.corpus.text": path, "identity": identity})
    assert sorted(len(cell) for cell in cells(arms_of(found(tmp_path)))) == [1, 2]


def test_an_own_intervention_s_code_tells_it_from_its_earlier_self_and_not_from_others(tmp_path: Path) -> None:
    kit, own = {"run.py": "ab", "interventions/own/__init__.py": "cd"}, "interventions/own/mine.py"
    for name, code in [("swap", kit), ("mine", kit | {own: "1"}), ("mine", kit | {own: "2"})]:
        changes = {"intervention.name": name, "config.intervention.name": name, "identity": {"code": code}}
        finished(tmp_path / f"{name}{code.get(own)}", changes=changes)
    first, second, other = (arm.label for arm in arms_of(found(tmp_path)))
    assert first.startswith("mine, intervention.code ") and second.startswith("mine, intervention.code ")
    assert other == "swap, no intervention.code"
    (tmp_path / "mine2" / "run.json").unlink()
    assert [arm.label for arm in arms_of(found(tmp_path))] == ["mine", "swap"]


def test_what_the_model_brings_with_it_is_not_shown_beside_the_model(tmp_path: Path) -> None:
    for model, lr in (("pythia-70m", 1e-3), ("pythia-410m", 3e-4)):
        changes = {"checkpoint.model": model, "checkpoint.sha256": model, "config.model.recipe": {"lr": lr}, LR: lr}
        for rate in (lr, 1e-2):
            finished(tmp_path / f"{model}-{rate}", changes={**changes, LR: rate})
    assert [arm.label.removeprefix("masculine to feminine, ") for arm in arms_of(found(tmp_path))] == [
        "pythia-410m, training.lr 0.0003",
        "pythia-410m, training.lr 0.01",
        "pythia-70m, training.lr 0.001",
        "pythia-70m, training.lr 0.01",
    ]
    for rate in (1e-2,):
        for model in ("pythia-70m", "pythia-410m"):
            (tmp_path / f"{model}-{rate}" / "run.json").unlink()
    runs = found(tmp_path)
    assert [arm.label for arm in arms_of(runs)] == [
        "masculine to feminine, pythia-410m",
        "masculine to feminine, pythia-70m",
    ]
    assert "model.recipe.lr" not in {row[0] for row in design_table(runs).rows}


def test_a_setting_that_only_repeats_another_is_shown_once() -> None:
    runs = [{"intervention": "swap", "model.recipe.lr": lr, "training.lr": lr} for lr in (0.1, 0.2)]
    assert labels(runs) == ["swap, model.recipe.lr 0.1", "swap, model.recipe.lr 0.2"]
    assert labels([{**run, "training.lr": 0.1} for run in runs]) == labels(runs)


def test_an_arm_that_the_seed_does_not_change_is_counted_once_and_the_page_says_so(tmp_path: Path) -> None:
    for dose in (0.5, 1.0):
        for seed in (0, 1, 2):
            finished(tmp_path / f"{dose}-{seed}", fraction=dose, seed=seed)
    arms = arms_of(found(tmp_path))
    assert [arm.label for arm in arms] == [
        *(f"masculine to feminine, fraction 0.5, seed {seed}" for seed in (0, 1, 2)),
        "masculine to feminine, fraction 1, any seed",
    ]
    assert len(corrected(arms)) == 4 * len(PRIMARY)
    told = "The seed has no effect on this arm: masculine to feminine, fraction 1, any seed (0, 1, 2). "
    assert notes(arms)[0].startswith(told)
    text = Page(write_study(tmp_path).read_text("utf-8")).text
    assert told in text
    assert answers(arms)[0] == "Manipulation check of 4 arms: taken: 4."
    assert [label for label, _ in labelled_runs(arms)][-2:] == [
        f"{arms[-1].label}, copy: seed {seed}" for seed in (1, 2)
    ]
    copied = collect([tmp_path]).drop_duplicates("run").set_index("run")["copy_of"].dropna()
    assert {Path(run).name: Path(of).name for run, of in copied.items()} == {"1.0-1": "1.0-0", "1.0-2": "1.0-0"}


def test_no_intervention_is_one_arm_whatever_its_dose(tmp_path: Path) -> None:
    for dose in (0.5, 1.0):
        finished(tmp_path / f"{dose}", fraction=dose, changes={"intervention.name": "none"})
        content = json.loads((tmp_path / f"{dose}" / "run.json").read_text())
        content["fingerprints"]["intervened_segment_sha256"] = content["fingerprints"]["segment_sha256"]
        (tmp_path / f"{dose}" / "run.json").write_text(json.dumps(content))
    assert [len(arm.copies) for arm in arms_of(found(tmp_path))] == [1]


def test_labels_that_are_masked_tell_draws_apart_though_the_text_is_the_same(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = finished(tmp_path / f"{seed}", seed=seed, optional=True)
        lines = [json.loads(line) for line in (run / "train" / "intervened.jsonl").read_text().splitlines()]
        text = "".join(json.dumps(line | {"swapped_sha256": f"{seed}"}) + "\n" for line in lines)
        (run / "train" / "intervened.jsonl").write_text(text)
    assert [len(arm.copies) for arm in arms_of(found(tmp_path))] == [0, 0]


def test_the_entry_arm_of_run_json_tells_copies_too(tmp_path: Path) -> None:
    for seed in (0, 1):
        text = {"fingerprints.intervened_segment_sha256": None, "arm": {"key": "ab"}}
        finished(tmp_path / f"{seed}", seed=seed, changes=text)
    assert [len(arm.copies) for arm in arms_of(found(tmp_path))] == [1]


@pytest.mark.parametrize(
    ("setting", "values", "also"),
    [
        ("intervention.unit", ("occurrence", "row", "document"), {}),
        ("intervention.stop", (64, None), {}),
        ("intervention.sample_rows", (1000, 1001), {}),
        ("intervention.her", ("corpus", "language_model"), {}),
        ("fidelity.optimizer_states", (["exact"], ["live"]), {}),
        ("audit.expects", ("rise", "fall"), {}),
        ("replay.live_steps", (60, 61), {"config.optimizer_state": "exact"}),
    ],
)
@pytest.mark.parametrize("hashed", [True, False])
def test_a_setting_that_changes_nothing_makes_no_arm_and_the_page_names_it(
    setting: str, values: tuple[Any, ...], also: dict[str, Any], hashed: bool, tmp_path: Path
) -> None:
    arm = {"arm": "ab"} if hashed else {}
    for number, value in enumerate(values):
        finished(tmp_path / f"{number}", changes={f"config.{setting}": value, **also, **arm})
    (arm_of_all,) = arms = arms_of(found(tmp_path))
    assert len(arm_of_all.copies) == len(values) - 1
    assert len(corrected(arms)) == len(PRIMARY)
    assert notes(arms)[0].startswith(f"{setting} has no effect on this arm: masculine to feminine (")
    assert len({label for label, _ in labelled_runs(arms)}) == len(values)


def test_what_has_no_effect_beside_what_has_is_called_any(tmp_path: Path) -> None:
    for unit in ("occurrence", "row"):
        for dose in (0.5, 1.0):
            finished(tmp_path / f"{unit}-{dose}", unit=unit, fraction=dose)
    arms = arms_of(found(tmp_path))
    assert [arm.label.removeprefix("masculine to feminine, ") for arm in arms] == [
        "fraction 0.5, unit occurrence",
        "fraction 0.5, unit row",
        "fraction 1, any unit",
    ]
    points = dose_points(arms, benchmark="pronoun_prior", metric="share_she")
    assert points.groupby("cell")["fraction"].apply(sorted).to_dict() == {
        f"masculine to feminine, unit {unit}": [0.0, 0.5, 1.0] for unit in ("occurrence", "row")
    }


def test_doses_of_which_all_are_the_same_whatever_is_set_have_one_slope(tmp_path: Path) -> None:
    for stop in (None, 64):
        for dose in (0.5, 1.0):
            finished(tmp_path / f"{stop}-{dose}", stop=stop, fraction=dose)
    points = dose_points(arms_of(found(tmp_path)), benchmark="pronoun_prior", metric="share_she")
    assert (points["cell"].nunique(), sorted(points["fraction"])) == (1, [0.0, 0.5, 1.0])


@pytest.mark.parametrize("entry", [LR, "arithmetic.precision", "config.corpus.text", "config.model.recipe", "control"])
def test_what_decides_how_an_arm_is_trained_or_compared_still_makes_an_arm(entry: str, tmp_path: Path) -> None:
    for value in ("one", "other"):
        finished(tmp_path / value, changes={entry: value})
    assert len(arms_of(found(tmp_path))) == 2


def test_a_dose_of_nothing_is_the_same_arm_as_none(tmp_path: Path) -> None:
    finished(tmp_path / "zero", fraction=0.0)
    finished(tmp_path / "none", changes={"intervention.name": "none"})
    finished(tmp_path / "drop", fraction=0.0, changes={"intervention.name": "drop"})
    drop, none = arms = arms_of(found(tmp_path))
    assert [arm.settings["intervention"] for arm in arms] == ["drop", "none"]
    assert (len(drop.copies), len(none.copies)) == (0, 1)
    assert (
        "under several names are one arm" in notes(arms)[0]
        and "also masculine to feminine, fraction 0" in notes(arms)[0]
    )
    assert len({label for label, _ in labelled_runs(arms)}) == 3


def test_draws_of_one_suite_give_no_interval_and_a_note_says_why(tmp_path: Path) -> None:
    for seed, change in enumerate((0.2, 0.3, 0.4)):
        set_change(finished(tmp_path / f"{seed}", fraction=0.5, seed=seed), change)
    arms = arms_of(found(tmp_path))
    own = suite_effects(arms).set_index("metric").loc["share_she"]
    assert (own["suites"], own["draws"]) == (1, 3)
    assert own[["ci_low", "ci_high", "p", "p_holm", "sd_suites"]].isna().all()
    assert own["sd_draws"] == pytest.approx(0.1)
    assert own["change"] == pytest.approx(0.3)
    row = next(row for row in suite_table(arms).rows if row[1].endswith("share she"))
    assert row[2:] == ["1", "3", "+0.3000", "–", "–", "–", "–", "0.1000"]
    assert notes(arms)[-1].startswith("Each arm is of one suite: these runs cannot say")


def test_draws_are_averaged_within_their_suite_before_suites_are_compared(tmp_path: Path) -> None:
    changes = {1: [0.2, 0.3], 2: [0.5], 3: [0.1, 0.2, 0.3]}
    for number, own in changes.items():
        for seed, change in enumerate(own):
            set_change(finished(tmp_path / f"{number}-{seed}", fraction=0.5, seed=seed, changes=suite(number)), change)
    own = suite_effects(arms_of(found(tmp_path))).set_index("metric").loc["share_she"]
    means = [np.mean(each) for each in changes.values()]
    known = scipy.stats.ttest_1samp(means, 0)
    assert (own["suites"], own["draws"]) == (3, 6)
    assert own["change"] == pytest.approx(np.mean(means))
    assert [own["ci_low"], own["ci_high"]] == pytest.approx(list(known.confidence_interval()))
    assert own["p"] == pytest.approx(known.pvalue)
    assert own["sd_draws"] == pytest.approx(np.sqrt((0.005 + 0.02) / 3))


def test_a_suites_seed_that_changes_no_weight_makes_no_suite(tmp_path: Path) -> None:
    for number in (1, 2):
        weights = {"checkpoint.sha256": "the same"}
        finished(tmp_path / f"{number}", fraction=0.5, seed=number, changes=suite(number) | weights)
    assert {arm.suite for arm in arms_of(found(tmp_path))} == {"1"}


@pytest.mark.parametrize("draws", [(5, 5, 5), (1, 2, 5)])
def test_the_interval_over_suites_covers_as_often_as_it_says(draws: tuple[int, ...]) -> None:
    drawn, covered, rounds = np.random.default_rng(0), 0, 2000
    for _ in range(rounds):
        suites = drawn.normal(1.0, 0.5, len(draws))
        means = [drawn.normal(own, 0.3, count).mean() for own, count in zip(suites, draws, strict=True)]
        found = mean_over_suites(means)
        assert found.low is not None and found.high is not None
        covered += found.low <= 1.0 <= found.high
    assert covered / rounds == pytest.approx(0.95, abs=0.015)


def test_suites_that_agree_to_the_last_digit_leave_no_error_to_test_with() -> None:
    found = mean_over_suites([0.3, 0.1 + 0.2, 0.3])
    assert (found.low, found.high, found.p) == (None, None, None)
    assert found.value == pytest.approx(0.3)


def test_like_named_jobs_of_two_studies_stay_two_arms(tmp_path: Path) -> None:
    for study, weights in (("first", "ab"), ("second", "cd")):
        for intervention in ("swap", "placebo"):
            changes = {"intervention.name": intervention, "checkpoint.sha256": weights}
            finished(tmp_path / study / f"intervention-{intervention}", changes=changes)
    arms = arms_of(found(tmp_path))
    assert [arm.label for arm in arms] == ["placebo, first", "placebo, second", "swap, first", "swap, second"]
    assert len(corrected(arms)) == 4 * len(PRIMARY)
    assert f"Of {4 * len(PRIMARY)} tests of primary metrics" in answers(arms)[-1]


def test_a_control_that_differs_in_more_than_the_text_leaves_no_verdict(tmp_path: Path) -> None:
    differs = ["training.lr 0.01, the suite's 0.0003", "Adam's moments, which were rebuilt"]
    finished(tmp_path / "run", changes={"control": "published", "control_differs": differs})
    arms = arms_of(found(tmp_path))
    assert answers(arms)[0] == "Manipulation check of 1 arms: no verdict: 1."
    also = "the control also differs in training.lr 0.01, the suite's 0.0003 and in Adam's moments, which were rebuilt"
    assert "so that tests say nothing of its effect: masculine to feminine." in answers(arms)[1]
    assert notes(arms)[0] == f"masculine to feminine: what made the difference is not known, as {also}."


def test_fidelity_runs_of_other_settings_are_no_range_and_copies_count_once(tmp_path: Path) -> None:
    for number, (steps, seed) in enumerate([(64, 0), (64, 1), (32, 0)]):
        fidelity = {"loss": 1.0, "true_loss": 1.0, "distance": 0.1 * steps, "reference": ""}
        changes = {"config.protocol": "fidelity", "segment.steps": steps, "fidelity": {"live": fidelity}}
        run = finished(tmp_path / f"{number}", seed=seed, changes=changes | {"config.model.pretraining": {"seed": 0}})
        content = json.loads((run / "run.json").read_text())
        del content["intervention"]
        (run / "run.json").write_text(json.dumps(content))
    table = fidelity_tables(found(tmp_path))
    assert dict(zip(table["arm"], table["distance"], strict=True)) == {"live, steps 64": 6.4, "live, steps 32": 3.2}


def test_the_design_table_shows_that_a_bound_is_none(tmp_path: Path) -> None:
    for stop in (None, 6):
        finished(tmp_path / f"{stop}", stop=stop, changes={"fingerprints.intervened_segment_sha256": f"{stop}"})
    finished(tmp_path / "none", changes={"intervention.name": "none"})
    assert values(design_table(found(tmp_path)), "stop") == ["6, none"]
    assert values(design_table(found(tmp_path / "6")), "stop") == ["6"]


@pytest.mark.parametrize(("places", "shown"), [(("a/x.txt", "y.txt"), "x.txt, y.txt"), (("a/x", "b/x"), None)])
def test_corpora_are_called_by_their_files_where_these_have_other_names(
    places: tuple[str, str], shown: str | None, tmp_path: Path
) -> None:
    hashes = ("ab" * 32, "cd" * 32)
    for number, (place, content) in enumerate(zip(places, hashes, strict=True)):
        identity = {"inputs": {"corpus.text": content}}
        finished(tmp_path / f"{number}", changes=suite(number) | {"config.corpus.text": place, "identity": identity})
    runs, called = found(tmp_path), shown or ", ".join(each[:7] for each in hashes)
    assert values(design_table(runs), "corpus.text") == [called]
    assert [arm.label.partition("corpus.text ")[2] for arm in arms_of(runs)] == called.split(", ")
    assert set(collect([tmp_path])["corpus.text"]) == set(hashes)
