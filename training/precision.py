"""Number formats of a training step: fp32 masters always, arithmetic in fp32, bf16 or fp16."""

from dataclasses import asdict, dataclass
from typing import Literal, cast, get_args

import torch

from foundation import UserError

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# the `fp16` section of Pythia's configuration files
_INITIAL_SCALE = 2.0**12
_SCALE_WINDOW = 1000
_HYSTERESIS = 2
_MIN_SCALE = 1.0


@dataclass
class LossScaler:
    """GPT-NeoX's dynamic loss scale (DeeperSpeed `runtime/fp16/loss_scaler.py:150-168`): fp16 must not underflow.

    torch's GradScaler differs: it has no hysteresis, and it counts the updates since the last growth instead of those
    since the last overflow.

    Attributes:
        scale: what the loss is multiplied by.
        iteration: steps so far, skipped ones too.
        last_overflow: iteration of the last overflow, -1 before the first.
        hysteresis: overflows from which on the scale is halved; the first of a window is forgiven.
    """

    scale: float = _INITIAL_SCALE
    iteration: int = 0
    last_overflow: int = -1
    hysteresis: int = _HYSTERESIS

    def update(self, *, overflow: bool) -> None:
        """Take note of a step: halve the scale after an overflow, double it after 1,000 steps without one.

        DeeperSpeed unscales the gradients of the step that doubles with the new scale already, and so halves them once
        in 1,000 steps. That is not repeated here.
        """
        if overflow:
            if self.hysteresis == 1:
                self.scale = max(self.scale / 2, _MIN_SCALE)
            else:
                self.hysteresis -= 1
            self.last_overflow = self.iteration
        elif (self.iteration - self.last_overflow) % _SCALE_WINDOW == 0:
            self.hysteresis = _HYSTERESIS
            self.scale *= 2
        self.iteration += 1

    @property
    def exhausted(self) -> bool:
        """The scale cannot fall further: what still overflows does so for another reason."""
        return self.scale <= _MIN_SCALE

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {name: float(value) for name, value in asdict(self).items()}


def loss_scaler(precision: Precision, state: dict[str, float]) -> LossScaler | None:
    """The scaler that a precision needs, going on from `state` where there is one; None where it needs none."""
    if precision != "fp16":
        return None
    if not state:
        return LossScaler()
    return LossScaler(state["scale"], int(state["iteration"]), int(state["last_overflow"]), int(state["hysteresis"]))


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Matrix products and attention in the precision; norms, softmax and the residual stream stay fp32.

    GPT-NeoX held the whole model in fp16. Here the residual stream cannot overflow, and neither can the attention
    scores, which torch's fused kernels accumulate in fp32.
    """
    return torch.autocast(device.type, dtype=DTYPES[precision], enabled=precision != "fp32")


def choose_device(device: str) -> torch.device:
    """`auto` is the GPU where there is one, else the CPU.

    Raises:
        UserError: there is no such device, or a GPU is asked for and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={device}, but torch {torch.__version__} sees no GPU; take device=cpu")
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise UserError(f"device={device} is unknown; take auto, cpu, cuda or cuda:<number>")
    try:
        return torch.empty(0, device=device).device
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device={device} cannot be used ({reason}); take auto, cpu, cuda or cuda:<number>") from None


def choose_precision(precision: str, device: torch.device, *, trained_in: str) -> Precision:
    """`auto` is what the suite was trained in on a GPU, and fp32 on a CPU, which is slow in anything else.

    Args:
        trained_in: fp32, bf16 or fp16.

    Raises:
        UserError: a precision is unknown.
    """
    known = get_args(Precision)
    for name, value in {"training.precision": precision, "model.precision": trained_in}.items():
        if value not in known and not (name == "training.precision" and value == "auto"):
            raise UserError(f"{name}={value} is unknown; known are {', '.join(known)}")
    if precision == "auto":
        precision = trained_in if device.type == "cuda" else "fp32"
    return cast(Precision, precision)
