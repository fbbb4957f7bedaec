"""Number formats of a training step: fp32 masters always, arithmetic in fp32, bf16 or fp16."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch

from foundation import UserError

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# GPT-NeoX's dynamic loss scale for Pythia: initial_scale_power 12, loss_scale_window 1000
_INITIAL_LOSS_SCALE = 2.0**12
_LOSS_SCALE_WINDOW = 1000


@dataclass(frozen=True)
class MixedPrecision:
    """Autocast and loss scaling behind one code path; both do nothing where the precision needs none."""

    precision: Precision
    device: torch.device
    scaler: torch.amp.GradScaler

    def autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=_DTYPES[self.precision], enabled=self.precision != "fp32", cache_enabled=True
        )


def mixed_precision(precision: Precision, device: torch.device) -> MixedPrecision:
    """Set up a precision on a device."""
    scaler = torch.amp.GradScaler(
        device.type,
        init_scale=_INITIAL_LOSS_SCALE,
        growth_interval=_LOSS_SCALE_WINDOW,
        enabled=precision == "fp16",
    )
    return MixedPrecision(precision, device, scaler)


def choose_device(device: str) -> torch.device:
    """`auto` is the GPU where there is one, else the CPU.

    Raises:
        UserError: there is no such device, or a GPU is asked for and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={device}, but torch {torch.__version__} sees no GPU; take device=cpu")
    try:
        return torch.device(device)
    except RuntimeError:
        raise UserError(f"device={device} is unknown; take auto, cpu, cuda or cuda:<number>") from None


def choose_precision(precision: str, device: torch.device) -> Precision:
    """`auto` is bf16 on a GPU and fp32 on a CPU.

    Raises:
        UserError: the precision is unknown, or fp16 is asked for on a CPU.
    """
    if precision == "auto":
        return "bf16" if device.type == "cuda" else "fp32"
    if precision not in get_args(Precision):
        raise UserError(f"training.precision={precision} is unknown; known are auto, {', '.join(get_args(Precision))}")
    if precision == "fp16" and device.type == "cpu":
        raise UserError("training.precision=fp16 needs a GPU; take fp32 or bf16 on a CPU")
    return cast(Precision, precision)
