"""What TensorBoard and Weights & Biases are shown of an arm: what its journal gets."""

import sys

import pytest

from foundation import UserError
from training.tracking import tracking

LINE = {"step": 6, "loss": 2.5, "loss_swapped": None, "skipped": False, "sha256": "ab", "swaps": []}


def test_without_a_tracker_nothing_is_left(tmp_path):
    with tracking("none", tmp_path, arm="control", step=6) as track:
        track(LINE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("tracker", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_tracker_that_is_not_installed_is_named_in_one_line(tracker, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    told = f"tracker={tracker} needs a package that is not installed: pip install {tracker}"
    with pytest.raises(UserError, match=told), tracking(tracker, tmp_path, arm="control", step=6):
        pass


@pytest.mark.filterwarnings("default")  # the packages' own
def test_tensorboard_shows_the_numbers_of_a_journal_and_hides_what_a_killed_arm_showed(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, loss in [(6, 2.5), (7, 1.5)]:  # killed after step 8, and gone on from the checkpoint at 7
        with tracking("tensorboard", tmp_path, arm="control", step=first) as track:
            for step in range(first, 9):
                track(LINE | {"step": step, "loss": loss})
    events = EventAccumulator(str(tmp_path / "tracker" / "control")).Reload()
    assert events.Tags()["scalars"] == ["loss", "skipped"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(6, 2.5), (7, 1.5), (8, 1.5)]


@pytest.mark.filterwarnings("default")  # the package's own
def test_wandb_keeps_a_run_for_every_arm_on_the_disk_when_it_is_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for arm in ("intervened", "control"):
        with tracking("wandb", tmp_path, arm=arm, step=6) as track:
            track(LINE)
        (left,) = (tmp_path / "tracker" / arm).rglob("*.wandb")
        assert b"loss" in left.read_bytes()
