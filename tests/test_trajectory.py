"""The benchmarks along a suite's own checkpoints, and how much they move by themselves."""

import json
import signal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.compose import configure
from conf.finding import find_trajectory
from foundation import UserError
from reports import trajectory_table
from reports.noise import noise_between_checkpoints
from smoke import results, smoke
from training import load_checkpoint, weights_sha256


@pytest.fixture(scope="module")
def measured(workshop):
    """The directory of a finished trajectory over both checkpoints that follow the first."""
    directory = workshop / "measured"
    result = smoke(workshop, f"hydra.run.dir={directory}", "protocol=trajectory", "step=0", "steps=12")
    assert result.returncode == 0, result.stderr
    return directory, result.stdout


def test_every_checkpoint_is_measured_and_named_by_its_weights(workshop, measured):
    directory, printed = measured
    record = json.loads((directory / "run.json").read_text())
    table = trajectory_table(directory)
    steps = sorted(table["step"].unique())
    assert {0, 6, 12} <= set(steps)
    assert sorted(record["weights_sha256"]) == sorted(f"step{step}" for step in steps)
    assert not list(directory.glob("checkpoints"))
    assert table["noise_bf16"].between(0, 0.1).all()
    assert table["noise_bf16"].gt(0).any()
    assert f"{len(steps)} checkpoints, steps 0 to 12" in printed
    pd.testing.assert_frame_equal(pd.read_csv(directory / "trajectory.csv"), table)
    suite = record["checkpoint"]["location"]
    for step in (0, 6, 12):
        model = load_checkpoint(suite, step=step).model
        assert record["weights_sha256"][f"step{step}"] == weights_sha256(model)


def test_a_checkpoint_has_the_rows_that_a_run_from_it_begins_with(finished, measured):
    directory, _ = measured
    along = pd.read_parquet(directory / "rows" / "step6" / "pronoun_prior.parquet")
    pd.testing.assert_frame_equal(along, pd.read_parquet(finished / "rows" / "before" / "pronoun_prior.parquet"))


def test_a_killed_trajectory_goes_on_as_it_began_and_with_nothing_else(workshop, measured):
    directory = workshop / "killed"
    options = [f"hydra.run.dir={directory}", "protocol=trajectory", "step=0", "steps=12"]
    died = smoke(workshop, *options, script="killed_run.py forward 4")
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(list((directory / "rows").iterdir())) == 3
    other = smoke(workshop, *options, "seed=1")
    assert "holds a run with seed=0, this one has seed=1" in other.stderr
    again = smoke(workshop, *options)
    assert again.returncode == 0, again.stderr
    assert results(directory) == results(measured[0])
    hashes = [json.loads((path / "run.json").read_text())["weights_sha256"] for path in (directory, measured[0])]
    assert hashes[0] == hashes[1]


def test_a_span_without_checkpoints_is_refused():
    config = configure(["protocol=trajectory", "step=65", "steps=62"])
    with pytest.raises(UserError, match=r"no checkpoint of model=demo lies between step=65 and step \+ steps=127 at a"):
        find_trajectory(config)


def test_the_plan_names_the_checkpoints(workshop, tmp_path):
    found = smoke(workshop, f"hydra.run.dir={tmp_path / 'x'}", "protocol=trajectory", "steps=6", "plan=true")
    assert found.returncode == 0, found.stderr
    assert "3 checkpoints of model=demo: steps 6, 8, 12" in found.stdout


def test_a_run_of_another_protocol_is_no_trajectory(finished, tmp_path):
    with pytest.raises(UserError, match="protocol=counterfactual, not of trajectory"):
        trajectory_table(finished)
    with pytest.raises(UserError, match="holds no measured trajectory"):
        trajectory_table(tmp_path)


def test_noise_between_checkpoints_worked_by_hand():
    assert noise_between_checkpoints(pd.Series({0: 0.0, 1: 1.0, 2: 0.0})) == pytest.approx((1 / 1.5) ** 0.5)
    uneven = pd.Series({0: 0.0, 1: 1.0, 4: 0.0})
    assert noise_between_checkpoints(uneven) == pytest.approx((1 / (1 + 1 / 16 + 9 / 16)) ** 0.5)
    assert np.isnan(noise_between_checkpoints(pd.Series({0: 0.0, 1: 1.0})))


@given(slope=st.floats(-10, 10), steps=st.lists(st.integers(0, 1000), min_size=3, max_size=20, unique=True))
def test_a_steady_trend_is_no_noise(slope, steps):
    assert noise_between_checkpoints(pd.Series({step: slope * step for step in steps})) == pytest.approx(0, abs=1e-7)


def test_noise_between_checkpoints_is_the_deviation_of_independent_ones():
    drawn = np.random.default_rng(0).normal(0.0, 0.3, 20_000)
    assert noise_between_checkpoints(pd.Series(drawn)) == pytest.approx(0.3, rel=0.03)
