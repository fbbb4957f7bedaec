"""Runs that are killed, stopped or out of disk end with the same numbers; so do those that rebuild moments."""

import json
import signal
import subprocess

import pandas as pd
import pytest
import torch

from smoke import LAUNCHER, results, smoke
from training import load_checkpoint, read_journal, saved_steps


def test_the_same_command_gives_the_same_numbers(workshop, finished):
    again = smoke(workshop, f"hydra.run.dir={workshop / 'again'}")
    assert again.returncode == 0, again.stderr
    assert results(workshop / "again") == results(finished)


def test_a_run_killed_again_and_again_ends_with_the_same_numbers(workshop, finished):
    directory = workshop / "killed"
    for where, count in [("forward", 1), ("fsync", 25), ("forward", 9), ("fsync", 20)]:
        died = smoke(workshop, f"hydra.run.dir={directory}", script=f"killed_run.py {where} {count}")
        assert died.returncode == -signal.SIGKILL, died.stderr
    ended = smoke(workshop, f"hydra.run.dir={directory}")
    assert ended.returncode == 0, ended.stderr
    assert results(directory) == results(finished)
    assert not list(directory.rglob(".aside*"))


@pytest.mark.usefixtures("finished")  # whose suite there is, so that the run itself is killed
def test_a_killed_run_is_not_gone_on_with_by_another_configuration_or_on_other_text(workshop):
    directory, text = workshop / "changed", workshop / "changing.txt"
    text.write_text((workshop / "text.txt").read_text())
    arguments = (f"hydra.run.dir={directory}", f"corpus.text={text}")
    died = smoke(workshop, *arguments, script="killed_run.py forward 8", text=None)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert (directory / "rows" / "before").exists()
    refused = smoke(workshop, *arguments, "seed=3", text=None)
    assert refused.returncode == 1
    assert "holds a run with seed=0, this one has seed=3" in refused.stderr.splitlines()[-1]
    text.write_text(text.read_text().replace(" he ", " she "))
    refused = smoke(workshop, *arguments, text=None)
    assert refused.returncode == 1
    assert "holds a run with content of corpus.text=" in refused.stderr.splitlines()[-1]


REPLAY = ("optimizer_state=replay", "replay.live_steps=3")


@pytest.fixture(scope="module")
def replayed(workshop):
    result = smoke(workshop, f"hydra.run.dir={workshop / 'replayed'}", *REPLAY)
    assert result.returncode == 0, result.stderr
    assert "rebuilding Adam's moments: live, from the weights of step 6: 3 steps frozen and 6 live" in result.stdout
    return workshop / "replayed"


def test_moments_that_are_rebuilt_are_told_of_and_shared_by_both_arms(replayed):
    directory = replayed
    record = json.loads((directory / "run.json").read_text())
    assert record["optimizer"]["state"] == "replay"
    assert list(record["optimizer"]["replays"]) == ["live"]
    assert any("they were rebuilt (live" in caveat for caveat in record["caveats"])
    assert 0 < record["fidelity"]["distance"] < 1
    assert sorted(path.name for path in (directory / "checkpoints").iterdir()) == [
        "control",
        "intervened",
        "live_moments",
    ]
    start = load_checkpoint(directory / "checkpoints" / "live_moments", step=6)
    assert (start.updates, start.optimizer_state.adam_step) == (6, 6)
    frozen = read_journal(directory / "train" / "live_replay_0.jsonl")
    assert [(line["step"], line["lr"]) for line in frozen] == [(0, 0.0), (1, 0.0), (2, 0.0)]


def test_a_run_killed_while_it_rebuilds_moments_ends_with_the_same_numbers(workshop, replayed):
    directory = workshop / "replay_killed"
    arguments = (f"hydra.run.dir={directory}", *REPLAY)
    died = smoke(workshop, *arguments, script="killed_run.py backward 3")  # frozen, of which 2 are saved
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert saved_steps(directory / "checkpoints" / "live_replay_0") == [2]
    died = smoke(workshop, *arguments, script="killed_run.py backward 4")  # live, of which 2 are saved
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert saved_steps(directory / "checkpoints" / "live_replay_1") == [5]
    died = smoke(workshop, *arguments, script="killed_run.py fsync 12")
    assert died.returncode == -signal.SIGKILL, died.stderr
    ended = smoke(workshop, *arguments)
    assert ended.returncode == 0, ended.stderr
    assert results(directory) == results(replayed)


def test_moments_are_rebuilt_as_the_suite_was_trained_though_the_arms_are_trained_otherwise(workshop, replayed):
    directory = workshop / "replayed_otherwise"
    changes = ("training.lr=1e-2", "training.numerics.activation=tanh", "control=none")
    result = smoke(workshop, f"hydra.run.dir={directory}", *REPLAY, *changes)
    assert result.returncode == 0, result.stderr
    moments = "checkpoints/live_moments/step6/optimizer.safetensors"
    assert (directory / moments).read_bytes() == (replayed / moments).read_bytes()
    first, other = (read_journal(place / "train" / "intervened.jsonl")[0] for place in (replayed, directory))
    assert first["lr"] != other["lr"]


def test_a_run_ends_on_a_signal_with_all_saved_and_goes_on_to_the_same_numbers(workshop, finished):
    directory = workshop / "stopped"
    died = smoke(workshop, f"hydra.run.dir={directory}", script="killed_run.py sigterm 2")
    assert died.returncode == 128 + signal.SIGTERM, died.stderr
    assert died.stderr.splitlines()[-1].startswith("interrupted: the same command")
    assert sorted(path.name for path in (directory / "checkpoints" / "intervened").iterdir()) == ["step7"]
    ended = smoke(workshop, f"hydra.run.dir={directory}")
    assert ended.returncode == 0, ended.stderr
    assert results(directory) == results(finished)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own that holds two checkpoints but not a third, and a way to enlarge it."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1900k", "tmpfs", place], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a tmpfs can only be mounted by root")
    yield place, lambda: subprocess.run(["mount", "-o", "remount,size=100m", place], check=True)
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_leaves_the_last_checkpoint_and_with_more_room_the_run_goes_on(workshop, finished, small_disk):
    disk, enlarge = small_disk
    full = smoke(workshop, f"hydra.run.dir={disk / 'run'}")
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert "No space left on device" in full.stderr.splitlines()[-1]
    steps = [path.name for path in (disk / "run" / "checkpoints" / "intervened").iterdir()]
    assert sorted(steps) == ["step10", "step8"]
    for step in (8, 10):
        load_checkpoint(disk / "run" / "checkpoints" / "intervened", step=step)
    enlarge()
    ended = smoke(workshop, f"hydra.run.dir={disk / 'run'}")
    assert ended.returncode == 0, ended.stderr
    assert results(disk / "run") == results(finished)


def test_a_torn_checkpoint_costs_what_came_after_the_one_before_it_and_is_told_of(workshop, finished):
    directory = workshop / "torn"
    died = smoke(workshop, f"hydra.run.dir={directory}", script="killed_run.py backward 6")
    assert died.returncode == -signal.SIGKILL, died.stderr
    weights = directory / "checkpoints" / "intervened" / "step10" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4096])
    ended = smoke(workshop, f"hydra.run.dir={directory}")
    assert ended.returncode == 0, ended.stderr
    assert "model.safetensors is damaged: it is not what was saved; put aside as damaged-step10" in ended.stdout
    assert results(directory) == results(finished)


@pytest.mark.skipif(torch.cuda.is_available(), reason="two processes would need two GPUs")
def test_a_run_killed_on_two_processes_goes_on_with_one(workshop, finished, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    directory = workshop / "two_then_one"
    torchrun = (*LAUNCHER, "--nproc-per-node=2")
    died = smoke(workshop, f"hydra.run.dir={directory}", script="killed_run.py backward 10", launcher=torchrun)
    assert died.returncode == 1, died.stderr
    record = json.loads((directory / "run.json").read_text())
    assert record["hardware"]["processes"] == 2
    assert record["command"].startswith("torchrun --nproc-per-node=2 run.py ")
    assert saved_steps(directory / "checkpoints" / "control") == [8]
    ended = smoke(workshop, f"hydra.run.dir={directory}")
    assert ended.returncode == 0, ended.stderr
    record = json.loads((directory / "run.json").read_text())
    assert record["hardware"]["processes"] == 2
    assert [machine["processes"] for machine in record["machines"]] == [2, 1]
    assert "Not all of it was computed in one place (processes 2, then 1)" in (directory / "report.html").read_text()
    found, expected = (pd.read_csv(place / "summary.csv") for place in (directory, finished))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5, atol=1e-6)
