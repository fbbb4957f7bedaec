"""The kit's own checkpoints: a directory `step<N>` that transformers can load, with Adam's state and the position."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPTNeoXForCausalLM, PreTrainedTokenizerBase

from foundation import UserError, atomic_directory, remedy_for, remove_directory, sha256_of_file
from training.optimizer import OptimizerState
from training.weights import read_config, save_weights

_MOMENTS = "optimizer.safetensors"
_POSITION = "training_state.json"
_POSITION_KEYS = {"step", "updates", "adam_step", "scaler", "sha256"}


class DamagedCheckpoint(UserError):
    """A file of a checkpoint is not what was saved."""


@dataclass(frozen=True)
class Checkpoint:
    """A model after `step` steps.

    Attributes:
        optimizer_state: Adam's memory, where the checkpoint holds it.
        scaler_state: of the loss scaler; empty unless training ran in fp16.
        path: where it lies.
        stored_as: the format that it was read from: the kit's own, transformers' or GPT-NeoX's.
    """

    model: GPTNeoXForCausalLM
    tokenizer: PreTrainedTokenizerBase
    optimizer_state: OptimizerState | None
    scaler_state: dict[str, float]
    step: int
    path: Path
    stored_as: Literal["own", "transformers", "neox"] = "own"

    @property
    def updates(self) -> int:
        """Successful updates made, the place in the schedule: all steps where skipped ones are not on record."""
        return self.step if self.optimizer_state is None else self.optimizer_state.updates

    def on(self, device: torch.device) -> GPTNeoXForCausalLM:
        """The model, moved to `device`."""
        self.model.to(device)  # type: ignore[arg-type]  # transformers' wrapper takes `self` for the argument
        return self.model


def saved_steps(directory: Path) -> list[int]:
    """Steps that have a checkpoint in `directory`, in order."""
    matches = (re.fullmatch(r"step(\d+)", path.name) for path in directory.glob("step*"))
    return sorted(int(match[1]) for match in matches if match)


def check_step(step: int, steps: Sequence[int], *, where: str) -> None:
    """Raise UserError with the nearest steps where `step` is none of `steps`."""
    if step not in steps:
        nearest = sorted(sorted(steps, key=lambda other: abs(other - step))[:2])
        remedy = (
            f"the nearest are {' and '.join(map(str, nearest))}"
            if steps
            else "it holds no checkpoint at all; name a place that does"
        )
        raise UserError(f"step={step} has no checkpoint in {where}: {remedy}")


def check_stored(checkpoint: Checkpoint, source: str) -> None:
    """Raise UserError where Adam's moments are to be had from the checkpoint itself and it is in another format.

    Args:
        source: of the moments: `exact` for the kit's own format, `neox` for GPT-NeoX's; anything else needs neither.
    """
    needed = {"exact": "own", "neox": "neox"}.get(source, checkpoint.stored_as)
    if checkpoint.stored_as != needed:
        formats = {"own": "the kit's format", "neox": "GPT-NeoX's format", "transformers": "transformers' format"}
        remedy = {"own": "exact", "neox": "neox", "transformers": "replay"}[checkpoint.stored_as]
        raise UserError(
            f"optimizer_state={source}, but {checkpoint.path} is in {formats[checkpoint.stored_as]}; set "
            f"optimizer_state={remedy} (in fidelity.optimizer_states, leave {source} out)"
        )


def weights_sha256(model: GPTNeoXForCausalLM) -> str:
    """SHA-256 over the names, shapes and fp32 values of all parameters: the same however they were stored."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def is_own_checkpoint(path: Path) -> bool:
    """Whether `path` was written by `save_checkpoint`."""
    return (path / _POSITION).exists()


def load_own_checkpoint(path: Path) -> Checkpoint:
    """Load what `save_checkpoint` wrote.

    Raises:
        DamagedCheckpoint: a file is not what was saved.
        UserError: its configuration asks for other code or files than the kit's, or for another computation.
    """
    position = _read_position(path)
    _check_files(path, position["sha256"])
    config = read_config(path)
    moments = load_file(path / _MOMENTS)

    def named(prefix: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): value for name, value in moments.items() if name.startswith(prefix)}

    return Checkpoint(
        model=GPTNeoXForCausalLM.from_pretrained(
            path, config=config, dtype=torch.float32, use_safetensors=True, local_files_only=True
        ),
        tokenizer=cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(path, trust_remote_code=False)),
        optimizer_state=OptimizerState(
            position["updates"], position["adam_step"], named("exp_avg."), named("exp_avg_sq.")
        ),
        scaler_state=position["scaler"],
        step=position["step"],
        path=path,
    )


def check_own_weights(path: Path) -> None:
    """Raise DamagedCheckpoint where the model in what `save_checkpoint` wrote is not what was saved."""
    sha256 = _read_position(path)["sha256"]
    _check_files(path, {name: value for name, value in sha256.items() if name.startswith(("model", "config"))})


def _check_files(path: Path, sha256: Mapping[str, str]) -> None:
    for name, expected in sha256.items():
        if not (path / name).exists() or sha256_of_file(path / name) != expected:
            raise DamagedCheckpoint(f"{path / name} is damaged: it is not what was saved")


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write `directory/step<step>`, whole or not at all.

    Raises:
        UserError: it cannot be written, as on a full disk.
    """
    with atomic_directory(directory / f"step{checkpoint.step}") as aside:
        write_checkpoint(aside, checkpoint)


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Fill a directory with a checkpoint that has an optimizer state.

    Raises:
        UserError: it cannot be written, as on a full disk.
    """
    state = checkpoint.optimizer_state
    assert state is not None
    moments = {f"exp_avg.{name}": value for name, value in state.exp_avg.items()}
    moments |= {f"exp_avg_sq.{name}": value for name, value in state.exp_avg_sq.items()}
    try:
        save_weights(checkpoint.model, directory)
        save_file({name: value.cpu().contiguous() for name, value in moments.items()}, directory / _MOMENTS)
        checkpoint.tokenizer.save_pretrained(directory)
    except Exception as error:
        remedy = remedy_for(str(error))
        if remedy is None:
            raise
        raise UserError(
            f"the checkpoint of step {checkpoint.step} cannot be written ({error}); the one before it is whole: "
            f"{remedy}"
        ) from error
    position = {
        "step": checkpoint.step,
        "updates": state.updates,
        "adam_step": state.adam_step,
        "scaler": checkpoint.scaler_state,
        "sha256": {file.name: sha256_of_file(file) for file in sorted(directory.iterdir())},
    }
    position["own_sha256"] = _sha256_of(position)
    (directory / _POSITION).write_text(json.dumps(position, indent=2))


def _read_position(path: Path) -> dict[str, Any]:
    try:
        position: dict[str, Any] = json.loads((path / _POSITION).read_text("utf-8"))
        own_sha256 = position.pop("own_sha256")
    except (OSError, ValueError, KeyError):
        raise DamagedCheckpoint(f"{path / _POSITION} is damaged: it is not what was saved") from None
    if own_sha256 != _sha256_of(position) or not position.keys() >= _POSITION_KEYS:
        raise DamagedCheckpoint(f"{path / _POSITION} is damaged: it is not what was saved")
    return position


def _sha256_of(position: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(position, sort_keys=True).encode()).hexdigest()


def prune_checkpoints(directory: Path, *, keep: int) -> None:
    """Remove all but the latest `keep` checkpoints."""
    for step in saved_steps(directory)[:-keep]:
        remove_directory(directory / f"step{step}")
