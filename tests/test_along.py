"""Runs whose arms are measured along the way: what they leave, and that being measured changes nothing."""

import json
import signal

import numpy as np
import pandas as pd
import pytest

from eval import evaluate, load_benchmark, summarize
from reports.course_figures import course_of
from smoke import results, smoke
from training import load_checkpoint

ALONG = "trajectory.every=2"


@pytest.fixture(scope="module")
def along(workshop):
    result = smoke(workshop, f"hydra.run.dir={workshop / 'along'}", ALONG)
    assert result.returncode == 0, result.stderr
    return workshop / "along"


def test_both_arms_are_measured_at_each_multiple_within_the_segment(along):
    moments = {path.name for path in (along / "rows").iterdir()}
    arms = {f"{moment}{step}" for moment in ("after", "control") for step in ("", "_step8", "_step10")}
    assert moments == {"before", *arms}
    share = pd.read_csv(along / "summary.csv").query("metric == 'share_she'").set_index("moment")["value"]
    changes = {"after-before", "control-before", "after-control"}
    changes |= {f"after_step{step}-{other}" for step in (8, 10) for other in ("before", f"control_step{step}")}
    assert set(share.index) == moments | changes
    assert share["after_step8-control_step8"] == pytest.approx(share["after_step8"] - share["control_step8"])


def test_an_arm_that_is_measured_along_the_way_ends_as_one_that_is_not(along, finished):
    for moment in ("before", "after", "control"):
        for path in (finished / "rows" / moment).iterdir():
            assert (along / "rows" / moment / path.name).read_bytes() == path.read_bytes()
    for arm in ("intervened", "control"):
        end = f"checkpoints/{arm}/step12/model.safetensors"
        assert (along / end).read_bytes() == (finished / end).read_bytes()


def test_what_is_measured_along_the_way_is_the_checkpoint_of_that_step(along):
    checkpoint = load_checkpoint(along / "checkpoints" / "intervened", step=10)
    kept = pd.read_parquet(along / "rows" / "after_step10" / "pronoun_prior.parquet")
    prior = load_benchmark("pronoun_prior")
    again = evaluate(checkpoint.model, checkpoint.tokenizer, benchmarks=[prior], progress=False)["pronoun_prior"]
    shares = [summarize({"at": {"prior": prior.metrics(rows)}}) for rows in (kept, again)]
    np.testing.assert_allclose(*(share["value"] for share in shares), rtol=1e-5)


def test_the_time_of_measuring_is_not_counted_as_training(along):
    timings = json.loads((along / "run.json").read_text())["timings_s"]
    assert {"evaluate after_step8", "evaluate control_step10", "train intervened"} <= timings.keys()
    report = (along / "report.html").read_text()
    assert '<h2 id="along">' in report


def test_a_run_killed_while_it_measures_on_the_way_ends_with_the_same_numbers(workshop, along):
    directory = workshop / "along_killed"
    died = smoke(workshop, f"hydra.run.dir={directory}", ALONG, script="killed_run.py forward 4")
    assert died.returncode == -signal.SIGKILL, died.stderr
    ended = smoke(workshop, f"hydra.run.dir={directory}", ALONG)
    assert ended.returncode == 0, ended.stderr
    assert results(directory) == results(along)


def test_the_suite_s_own_checkpoints_are_the_control_along_the_way(workshop, along):
    directory = workshop / "along_published"
    result = smoke(workshop, f"hydra.run.dir={directory}", ALONG, "control=published")
    assert result.returncode == 0, result.stderr
    assert not (directory / "rows" / "control_step10").exists()  # the suite has no such checkpoint
    for moment in ("control_step8", "control"):
        for path in (along / "rows" / moment).iterdir():
            assert (directory / "rows" / moment / path.name).read_bytes() == path.read_bytes()


def test_arms_of_a_study_share_the_control_s_rows_along_the_way(workshop, along):
    directory = workshop / "along_study"
    arguments = ("-m", "intervention=masculine_to_feminine,none", ALONG, f"hydra.sweep.dir={directory}")
    result = smoke(workshop, *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("control arm: trained in") == 1
    (job,) = (path.parent for path in directory.glob("*masculine_to_feminine*/run.json"))
    assert results(job) == results(along)
    assert (directory / "figures" / "trajectory-pronoun_prior-share_she.svg").exists()


def test_a_line_begins_before_and_goes_through_every_step_to_the_end():
    levels = pd.DataFrame(
        {
            "moment": ["before", "after", "control", "after_step8", "control_step8"],
            "moment_step": [6, 12, 12, 8, 8],
            "value": [0.1, 0.9, 0.2, 0.5, 0.15],
            "ci_low": np.nan,
            "ci_high": np.nan,
        }
    )
    lines = {label: own["value"].tolist() for label, own in course_of(levels).groupby("label", sort=False)}
    assert list(lines) == ["intervened", "control"]  # in the colours that they have elsewhere
    assert lines == {"intervened": [0.1, 0.5, 0.9], "control": [0.1, 0.15, 0.2]}
    assert course_of(levels[:3]).empty
