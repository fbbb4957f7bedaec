"""Several processes, started by torchrun, train as one does; here on the CPU."""

import json
import os
import signal
import subprocess

import pytest
import torch
import torch.distributed as dist

from distributed_arms import train
from foundation import UserError
from smoke import LAUNCHER, ROOT
from test_loop import RECIPE
from training import Sharding, check_processes, launcher, load_checkpoint, processes, read_journal, saved_steps

SHARED = ("step", "layer", "offload", "split", "fp16", "overflow", "resumed_here", "first_part", "diverged", "stopped")


def launch(directory, *arms, size=2, gpus=""):
    return subprocess.run(
        [*LAUNCHER, f"--nproc-per-node={size}", "tests/distributed_arms.py", str(directory), *arms],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": gpus, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "5"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Where arms have been trained by this process alone."""
    directory = tmp_path_factory.mktemp("one")
    for arm in ("step", "split", "fp16", "overflow"):
        train(arm, directory)
    return directory


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Where arms have been trained by two processes, until one of them failed; a single one had begun one arm."""
    directory = tmp_path_factory.mktemp("two")
    train("resumed_here", directory, stop=8)
    ended = launch(directory, *SHARED, "raises")
    (directory / "stderr").write_text(ended.stderr)
    assert ended.returncode == 1
    assert (directory / "stopped.json").exists(), ended.stderr
    return directory


def end_of(directory, arm, step=12):
    """The numbers that an arm's checkpoint holds."""
    checkpoint = load_checkpoint(directory / arm / "checkpoints", step=step)
    state = checkpoint.optimizer_state
    return {"weights": checkpoint.model.state_dict(), "exp_avg": state.exp_avg, "exp_avg_sq": state.exp_avg_sq}


def assert_near(found, expected):
    for kind, tensors in expected.items():
        assert found[kind].keys() == tensors.keys()
        smallest = 1e-5 if kind == "weights" else 1e-7
        for name, value in tensors.items():
            torch.testing.assert_close(found[kind][name], value, rtol=1e-5, atol=smallest, msg=f"{kind} {name}")


def assert_journals_near(found, expected):
    lines = [read_journal(path / "arm.jsonl") for path in (found, expected)]
    for line, other in zip(*lines, strict=True):
        assert line.keys() == other.keys()
        for key in line.keys() - {"tokens_per_s", "data_stall_s", "loss_scale", "mfu"}:
            assert line[key] == pytest.approx(other[key], rel=1e-5), (line["step"], key)


@pytest.mark.parametrize("arm", ["step", "layer", "offload"])
def test_two_processes_end_as_one_does_however_the_model_is_sharded(one, two, arm):
    assert_near(end_of(two, arm), end_of(one, "step"))
    assert_journals_near(two / arm, one / "step")


def test_what_tensor_parallel_ranks_did_is_repeated_on_two_processes_too(one, two):
    assert_near(end_of(two, "split"), end_of(one, "split"))
    assert_journals_near(two / "split", one / "split")
    norms = [read_journal(one / arm / "arm.jsonl")[0]["grad_norm"] for arm in ("split", "step")]
    assert norms[0] > norms[1]


def test_fp16_on_two_processes_stays_near_and_an_overflow_is_one_for_both(one, two):
    ends = [[line["loss"] for line in read_journal(place / "fp16" / "arm.jsonl")] for place in (one, two)]
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)
    lines = [read_journal(place / "overflow" / "arm.jsonl") for place in (one, two)]
    scales = [[(line["skipped"], line["loss_scale"], line["lr"]) for line in found] for found in lines]
    assert scales[0] == scales[1]
    assert all(line["skipped"] for line in lines[1])
    ended = json.loads((two / "overflow.json").read_text())
    assert (ended["updates"], ended["adam_step"], ended["scaler"]["scale"]) == (3, 0, 2.0**38)


def test_two_processes_go_on_with_what_one_began(one, two):
    assert_near(end_of(two, "resumed_here"), end_of(one, "step"))
    assert_journals_near(two / "resumed_here", one / "step")


def test_one_process_goes_on_with_what_two_began(one, two):
    assert saved_steps(two / "first_part" / "checkpoints") == [4, 8]
    train("first_part", two, stop=12)
    assert_near(end_of(two, "first_part"), end_of(one, "step"))
    assert_journals_near(two / "first_part", one / "step")


def test_a_divergence_is_told_of_and_what_was_before_is_kept_whole(one, two):
    assert "step 6 has a loss or gradient that is no number" in json.loads((two / "diverged.json").read_text())["error"]
    kept = load_checkpoint(two / "diverged" / "checkpoints" / "diverged", step=6)
    assert (kept.step, kept.updates) == (6, 6)


def test_a_signal_to_one_process_sent_twice_ends_all_at_the_same_step_with_all_saved(two):
    assert json.loads((two / "stopped.json").read_text()) == {"signal": signal.SIGTERM}
    assert saved_steps(two / "stopped" / "checkpoints") == [4, 6]
    assert [line["step"] for line in read_journal(two / "stopped" / "arm.jsonl")] == [3, 4, 5]


def test_where_one_process_fails_none_waits_for_it_and_all_end(two):
    printed = (two / "stderr").read_text()
    assert "ZeroDivisionError: as an error of one process alone" in printed
    told = "error: rank 0 has lost another process of this run" in printed
    assert told or "Sending process" in printed, "torchrun may have ended rank 0 before it could tell"
    assert "Warning" not in printed
    assert saved_steps(two / "raises" / "checkpoints") == [4]


def test_processes_that_cannot_share_a_batch_evenly_are_refused(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 3)
    with pytest.raises(UserError, match=r"3 processes cannot share training.sequences_per_step=8 evenly; start a"):
        check_processes(RECIPE, Sharding())


def test_without_torchrun_there_is_one_process_and_no_group():
    with processes() as is_the_run:
        assert is_the_run
        assert not dist.is_initialized()
    assert launcher() == ["python"]


def test_offloading_needs_torchrun():
    with pytest.raises(UserError, match=r"offload=true, but no torchrun started this process.*--nproc-per-node 1"):
        check_processes(RECIPE, Sharding(offload=True))


def test_an_unknown_way_to_gather_is_refused():
    with pytest.raises(UserError, match=r"sharding\.gather=model is unknown; known are step, layer"):
        Sharding(gather="model")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_a_gpu_under_torchrun_trains_as_the_cpu_does_however_the_model_is_sharded(one, tmp_path):
    ended = launch(tmp_path, "step", "layer", "offload", size=1, gpus="0")
    assert ended.returncode == 0, ended.stderr
    for arm in ("step", "layer", "offload"):
        losses = [
            [line["loss"] for line in read_journal(path / "arm.jsonl")] for path in (tmp_path / arm, one / "step")
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
