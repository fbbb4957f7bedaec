"""Checkpoints: a directory `step<N>` that transformers can load, with Adam's state and the position beside it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPTNeoXForCausalLM, PreTrainedTokenizerBase

from foundation import UserError, atomic_directory, remove_directory, sha256_of_file
from training.optimizer import OptimizerState

_MOMENTS = "optimizer.safetensors"
_POSITION = "training_state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A model after `step` steps.

    Attributes:
        optimizer_state: Adam's memory, where the checkpoint holds it.
        scaler_state: of the loss scaler; empty unless training runs in fp16.
    """

    model: GPTNeoXForCausalLM
    tokenizer: PreTrainedTokenizerBase
    optimizer_state: OptimizerState | None
    scaler_state: dict[str, float]
    step: int
    path: Path

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
        remedy = f"the nearest are {' and '.join(map(str, nearest))}" if steps else "it holds no checkpoint at all"
        raise UserError(f"step={step} has no checkpoint in {where}: {remedy}")


def load_checkpoint(directory: str | Path, *, step: int) -> Checkpoint:
    """Load `directory/step<step>` with fp32 weights on the CPU.

    Raises:
        UserError: there is no checkpoint of that step; the message names the nearest ones.
    """
    directory = Path(directory)
    path = directory / f"step{step}"
    check_step(step, saved_steps(directory), where=str(directory))
    _verify(path)
    model = GPTNeoXForCausalLM.from_pretrained(path, dtype=torch.float32)
    tokenizer = cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(path))
    state, scaler_state = _load_optimizer_state(path)
    return Checkpoint(model, tokenizer, state, scaler_state, step, path)


def _verify(path: Path) -> None:
    """Raise UserError where a file of the kit's own checkpoint is not what was saved."""
    if not (path / _POSITION).exists():
        return
    for name, sha256 in json.loads((path / _POSITION).read_text())["sha256"].items():
        if not (path / name).exists() or sha256_of_file(path / name) != sha256:
            raise UserError(f"{path / name} is damaged: it is not what was saved; remove {path}, and it is made again")


def _load_optimizer_state(path: Path) -> tuple[OptimizerState | None, dict[str, float]]:
    if not (path / _POSITION).exists():
        return None, {}
    position = json.loads((path / _POSITION).read_text())
    moments = load_file(path / _MOMENTS)

    def named(prefix: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): value for name, value in moments.items() if name.startswith(prefix)}

    state = OptimizerState(position["updates"], position["adam_step"], named("exp_avg."), named("exp_avg_sq."))
    return state, position["scaler"]


def save_checkpoint(
    directory: Path,
    *,
    step: int,
    model: GPTNeoXForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    state: OptimizerState,
    scaler_state: dict[str, float],
) -> None:
    """Write `directory/step<step>`, whole or not at all.

    Raises:
        UserError: the weights cannot be written, as on a full disk.
    """
    moments = {f"exp_avg.{name}": value for name, value in state.exp_avg.items()}
    moments |= {f"exp_avg_sq.{name}": value for name, value in state.exp_avg_sq.items()}
    with atomic_directory(directory / f"step{step}") as aside:
        try:
            model.save_pretrained(aside)
            save_file({name: value.cpu().contiguous() for name, value in moments.items()}, aside / _MOMENTS)
        except SafetensorError as error:
            raise UserError(
                f"{directory}/step{step} cannot be written ({error}); the step before it is whole"
            ) from error
        tokenizer.save_pretrained(aside)
        position = {
            "step": step,
            "updates": state.updates,
            "adam_step": state.adam_step,
            "scaler": scaler_state,
            "sha256": {file.name: sha256_of_file(file) for file in sorted(aside.glob("*.safetensors"))},
        }
        (aside / _POSITION).write_text(json.dumps(position, indent=2))


def prune_checkpoints(directory: Path, *, keep: int) -> None:
    """Remove all but the latest `keep` checkpoints."""
    for step in saved_steps(directory)[:-keep]:
        remove_directory(directory / f"step{step}")
