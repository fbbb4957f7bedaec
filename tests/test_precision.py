import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation import UserError
from training import choose_device, choose_precision
from training.precision import LossScaler, autocast, loss_scaler

CPU = torch.device("cpu")


def test_auto_precision_is_the_suites_own_on_a_gpu_and_fp32_on_a_cpu():
    for trained_in in ("fp16", "bf16", "fp32"):
        assert choose_precision("auto", torch.device("cuda"), trained_in=trained_in) == trained_in
        assert choose_precision("auto", CPU, trained_in=trained_in) == "fp32"
    assert choose_precision("bf16", CPU, trained_in="fp16") == "bf16"


def test_unknown_precisions_are_refused():
    with pytest.raises(UserError, match=r"training\.precision=fp8 is unknown"):
        choose_precision("fp8", CPU, trained_in="fp16")
    with pytest.raises(UserError, match=r"model\.precision=auto is unknown"):
        choose_precision("auto", CPU, trained_in="auto")


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_matrix_products_are_taken_in_the_precision(precision, dtype):
    weight = torch.nn.Linear(4, 4)
    with autocast(precision, CPU):
        assert weight(torch.ones(1, 4)).dtype == dtype
    with autocast("fp32", CPU):
        assert weight(torch.ones(1, 4)).dtype == torch.float32


def test_only_fp16_has_a_loss_scale():
    assert loss_scaler("fp32", {}) is None
    assert loss_scaler("bf16", {}) is None
    assert loss_scaler("fp16", {}) == LossScaler(2.0**12, 0, -1, 2)


def test_a_scaler_goes_on_from_what_a_checkpoint_kept():
    scaler = LossScaler()
    for overflow in (False, True, True, False):
        scaler.update(overflow=overflow)
    assert loss_scaler("fp16", scaler.state()) == scaler


def test_the_scale_doubles_after_a_thousand_steps_without_overflow():
    scaler = LossScaler()
    for _ in range(999):
        scaler.update(overflow=False)
    assert scaler.scale == 2**12
    scaler.update(overflow=False)
    assert scaler.scale == 2**13


def test_the_first_overflow_is_forgiven_and_the_next_ones_halve_until_the_scale_grows_again():
    scaler = LossScaler()
    scales = []
    for _ in range(3):
        scaler.update(overflow=True)
        scales.append(scaler.scale)
    assert scales == [2**12, 2**11, 2**10]
    for _ in range(1000):
        scaler.update(overflow=False)
    assert (scaler.scale, scaler.hysteresis) == (2**11, 2)
    scaler.update(overflow=True)
    assert scaler.scale == 2**11


def test_the_scale_never_falls_below_one():
    scaler = LossScaler(scale=2.0, hysteresis=1)
    assert not scaler.exhausted
    for _ in range(3):
        scaler.update(overflow=True)
    assert scaler.scale == 1.0
    assert scaler.exhausted


def deepspeed_scales(overflows):
    """DeeperSpeed's `DynamicLossScaler.update_scale`, told in its documentation's own quantities."""
    scale, hysteresis, last = 2.0**12, 2, -1
    scales = []
    for iteration, overflow in enumerate(overflows):
        if overflow and hysteresis == 1:
            scale = max(scale / 2, 1.0)
        elif overflow:
            hysteresis -= 1
        elif (iteration - last) % 1000 == 0:
            hysteresis, scale = 2, scale * 2
        last = iteration if overflow else last
        scales.append(scale)
    return scales


@given(st.lists(st.integers(0, 2500), max_size=8), st.integers(1, 5000))
@settings(deadline=None, max_examples=30)
def test_the_scale_is_deepspeeds_after_any_overflows(overflowing, steps):
    overflows = [step in overflowing for step in range(steps)]
    scaler = LossScaler()
    scales = []
    for overflow in overflows:
        scaler.update(overflow=overflow)
        scales.append(scaler.scale)
    assert scales == deepspeed_scales(overflows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="sees no GPU"):
        choose_device("cuda")
    assert choose_device("auto") == CPU


@pytest.mark.parametrize("device", ["gpu", "meta", "cpu:x", "mps"])
def test_a_device_that_is_unknown_is_refused(device):
    with pytest.raises(UserError, match=f"device={device} .* take auto, cpu, cuda or cuda:<number>"):
        choose_device(device)
