import pytest
import torch

from foundation import UserError
from training import choose_device, choose_precision
from training.precision import mixed_precision

CPU = torch.device("cpu")


def test_auto_precision_is_fp32_on_a_cpu_and_bf16_on_a_gpu():
    assert choose_precision("auto", CPU) == "fp32"
    assert choose_precision("auto", torch.device("cuda")) == "bf16"
    assert choose_precision("fp16", torch.device("cuda")) == "fp16"


def test_fp16_on_a_cpu_and_unknown_precisions_are_refused():
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        choose_precision("fp16", CPU)
    with pytest.raises(UserError, match="fp8 is unknown"):
        choose_precision("fp8", CPU)


def test_autocast_is_off_in_fp32_and_casts_in_bf16():
    weight = torch.nn.Linear(4, 4)
    for precision, dtype in [("fp32", torch.float32), ("bf16", torch.bfloat16)]:
        numerics = mixed_precision(precision, CPU)
        with numerics.autocast():
            assert weight(torch.ones(1, 4)).dtype == dtype
        assert not numerics.scaler.is_enabled()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="sees no GPU"):
        choose_device("cuda")
    assert choose_device("auto") == CPU
