"""The same loop and the same scores on a GPU."""

import copy

import numpy as np
import pytest
import torch

from eval.likelihood import Request, score_requests
from test_loop import batch_at, run, start, weights  # noqa: F401  # `start` is a fixture
from training import Batch, choose_precision, read_journal, set_numerics

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")

GPU = torch.device("cuda")


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 0.05), ("fp16", 0.02)])
def test_losses_on_a_gpu_follow_those_on_a_cpu(start, tmp_path, precision, tolerance):  # noqa: F811
    run(start(), tmp_path / "cpu")
    run(start(), tmp_path / "gpu", device=GPU, precision=precision)
    on_cpu, on_gpu = (read_journal(tmp_path / name / "arm.jsonl") for name in ("cpu", "gpu"))
    assert [line["loss"] for line in on_gpu] == pytest.approx([line["loss"] for line in on_cpu], rel=tolerance)
    assert not any(line["skipped"] for line in on_gpu)


def test_weights_and_moments_stay_fp32_in_mixed_precision(start, tmp_path):  # noqa: F811
    end = run(start(), tmp_path, device=GPU, precision=choose_precision("auto", GPU, trained_in="bf16"))
    assert {value.dtype for value in weights(end).values()} == {torch.float32}
    assert {value.dtype for value in end.optimizer_state.exp_avg.values()} == {torch.float32}


def test_an_fp16_update_that_overflows_is_skipped_and_its_data_consumed(start, tmp_path):  # noqa: F811
    checkpoint = start()
    checkpoint.scaler_state.update(scale=2.0**40, iteration=0, last_overflow=-1, hysteresis=2)
    end = run(checkpoint, tmp_path, stop=6, device=GPU, precision="fp16")
    lines = read_journal(tmp_path / "arm.jsonl")
    assert [line["step"] for line in lines] == [3, 4, 5]
    assert all(line["skipped"] for line in lines)
    assert len({line["lr"] for line in lines}) == 1, "a skipped update does not advance the schedule"
    assert [line["loss_scale"] for line in lines] == [2.0**40, 2.0**40, 2.0**39]
    assert end.updates == 3


def test_a_resumed_fp16_run_keeps_its_loss_scale(start, tmp_path):  # noqa: F811
    run(start(), tmp_path, stop=8, device=GPU, precision="fp16")
    seen = []

    def watched(step):
        seen.append(step)
        batch = batch_at(step)
        return Batch(batch.tokens, {}, groups=batch.groups, unlearned=batch.unlearned)

    end = run(start(), tmp_path, device=GPU, precision="fp16", batch_at=watched)
    assert seen == [8, 9, 10, 11]
    assert (end.scaler_state["scale"], end.scaler_state["iteration"]) == (2.0**12, 9)


@pytest.mark.parametrize("rope", ["neox_fp16", "neox_bf16"])
def test_rotary_tables_on_a_gpu_are_those_of_a_cpu(tiny_model, rope):
    model = copy.deepcopy(tiny_model)
    set_numerics(model, activation="tanh", rope=rope)
    positions = torch.arange(64)[None]
    on_cpu = model.gpt_neox.rotary_emb(torch.zeros(1), positions)
    on_gpu = model.to(GPU).gpt_neox.rotary_emb(torch.zeros(1, device=GPU), positions.to(GPU))
    for one, other in zip(on_gpu, on_cpu, strict=True):
        assert torch.equal(one.cpu(), other)


def test_scores_beyond_fp16_do_not_overflow_under_autocast(start, tmp_path):  # noqa: F811
    checkpoint = with_large_scores(start())
    exact = run(with_large_scores(start()), tmp_path / "fp32", stop=5, device=GPU)
    rounded = run(checkpoint, tmp_path / "fp16", stop=5, device=GPU, precision="fp16")
    losses = [[line["loss"] for line in read_journal(tmp_path / name / "arm.jsonl")] for name in ("fp32", "fp16")]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert exact.step == rounded.step == 5


def with_large_scores(checkpoint):
    """q·k beyond 65,504, from a constant in an unrotated dimension, which softmax does not see."""
    for layer in checkpoint.model.gpt_neox.layers:
        bias = layer.attention.query_key_value.bias.data.view(4, 3, 8)
        bias[:, 0, 7] = 300.0
        bias[:, 1, 7] = 300.0
    return checkpoint


def test_scores_on_a_gpu_are_those_of_a_cpu(tiny_model):
    rng = np.random.default_rng(0)
    requests = [Request((0,), tuple(rng.integers(1, 400, length).tolist())) for length in (3, 17, 40)]
    on_cpu = score_requests(tiny_model, requests, progress=False)
    on_gpu = score_requests(tiny_model.to(GPU), requests, progress=False)
    tiny_model.to("cpu")
    for one, other in zip(on_gpu, on_cpu, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
