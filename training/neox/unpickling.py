"""Loads one file of a checkpoint without executing anything that is pickled in it."""

import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from foundation import UserError
from training.archives import find_damage

T = TypeVar("T")


class _StandIn:
    """Takes the place of a pickled object and keeps the state that it was given; it has no behaviour."""

    state: object = None

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state


class StoredLossScaler(_StandIn):
    """Stands for `deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler`; `state` holds its attributes."""


class StoredStaticScaler(_StandIn):
    """Stands for `deepspeed.runtime.fp16.loss_scaler.LossScaler`, which bf16 runs store."""


class _StoredArray(_StandIn):
    """Stands for the arrays of NumPy's random state."""


_LOSS_SCALER = "deepspeed.runtime.fp16.loss_scaler"
_STAND_INS: list[tuple[type[_StandIn], str]] = [
    (StoredLossScaler, f"{_LOSS_SCALER}.DynamicLossScaler"),
    (StoredStaticScaler, f"{_LOSS_SCALER}.LossScaler"),
    *(
        (_StoredArray, name)
        for name in (
            "numpy.core.multiarray._reconstruct",
            "numpy.core.multiarray.scalar",
            "numpy._core.multiarray._reconstruct",
            "numpy._core.multiarray.scalar",
            "numpy.ndarray",
            "numpy.dtype",
        )
    ),
]

# what torch raises for a file that is cut off, altered or no checkpoint
_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)


def _why_missing(file: Path) -> str:
    if file.is_symlink():
        return f"{file} is a link to {os.readlink(file)}, which is not there; fetch that file again"
    others = sorted(file.parent.glob(f"*_{file.name}"))
    if others:
        return (
            f"{file} is missing, but {others[0].name} is there, as another version of GPT-NeoX than Pythia's v1.0 "
            f"writes it; convert the model with that version's tools to transformers' format, as a directory step<N>, "
            f"and set optimizer_state=replay or fresh"
        )
    return f"{file} is missing; fetch every file of the checkpoint"


def load(file: Path) -> dict[str, object]:
    """The dictionary in `file`; its tensors lie on the CPU and are read from the file when they are used.

    Raises:
        UserError: the file is missing, cut off, damaged by its own checksums, no checkpoint, or names code; none of
            that code runs.
    """
    if not file.is_file():
        raise UserError(_why_missing(file))
    damage = find_damage(file)
    if damage is not None:
        raise UserError(f"{file} cannot be read ({damage}); it is cut off or damaged, fetch it again")
    try:
        with torch.serialization.safe_globals(_STAND_INS):  # type: ignore[arg-type]  # it takes such pairs
            content = torch.load(file, map_location="cpu", mmap=zipfile.is_zipfile(file), weights_only=True)
    except _UNREADABLE as error:
        foreign = _foreign_globals(file)
        if foreign:
            raise UserError(
                f"{file} names {', '.join(foreign)}, which no GPT-NeoX v1.0 checkpoint holds; nothing of it was "
                "executed; do not trust the file, fetch it from its publisher"
            ) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file} cannot be read ({reason}); it is cut off or damaged, fetch it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} holds a {type(content).__name__}, a GPT-NeoX v1.0 checkpoint a dict; fetch it again")
    return content


def _foreign_globals(file: Path) -> list[str]:
    try:
        with torch.serialization.safe_globals(_STAND_INS):  # type: ignore[arg-type]
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(file)))
    except _UNREADABLE:
        return []


def field(content: dict[str, object], key: str, kind: type[T], *, file: Path) -> T:
    """`content[key]`, of the type `kind`.

    Raises:
        UserError: it is not there or of another type, as in the files of other versions.
    """
    if key not in content:
        raise UserError(f"{file} holds no {key!r}; it was not written by GPT-NeoX v1.0, take a checkpoint that was")
    value = content[key]
    if not isinstance(value, kind):
        raise UserError(
            f"{file} holds a {type(value).__name__} as {key!r}, GPT-NeoX v1.0 writes a {kind.__name__}; "
            "take a checkpoint of that version"
        )
    return value


def flat_fp32(value: object, what: str, *, file: Path) -> Tensor:
    """`value` as a tensor without a graph.

    Raises:
        UserError: it is no fp32 vector.
    """
    if isinstance(value, Tensor) and value.dtype == torch.float32 and value.dim() == 1:
        return value.detach()
    given = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise UserError(f"{file} holds {given} as {what}, GPT-NeoX v1.0 writes fp32 vectors; fetch it again")
