"""AdamW as GPT-NeoX configured it, and its state as named tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from foundation import UserError
from training.recipe import Recipe


@dataclass(frozen=True)
class OptimizerState:
    """Adam's memory after some updates.

    Attributes:
        updates: successful updates made in all: the place in the schedule.
        adam_step: updates that the moments remember: the bias correction. Smaller than `updates` where they were lost.
        exp_avg: first moments by parameter name.
        exp_avg_sq: second moments by parameter name.
    """

    updates: int
    adam_step: int
    exp_avg: Mapping[str, Tensor]
    exp_avg_sq: Mapping[str, Tensor]


def make_optimizer(model: GPTNeoXForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with decoupled weight decay on matrices and none on biases and layer norms.

    gpt-neox v1.0 `megatron/model/utils.py:26-65`. Apex' FusedAdam decays with the parameter before the update, torch
    just before it: the same algebra.
    """
    decayed: list[Tensor] = []
    not_decayed: list[Tensor] = []
    for name, parameter in model.named_parameters():
        (not_decayed if name.endswith("bias") or "norm" in name else decayed).append(parameter)
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": not_decayed, "weight_decay": 0.0}],
        lr=recipe.lr,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_eps,
        fused=True,
    )


def optimizer_state(model: GPTNeoXForCausalLM, optimizer: torch.optim.AdamW, *, updates: int) -> OptimizerState:
    """Adam's moments by parameter name, zeros where no update has been made; the tensors are the optimizer's own."""

    def moments(key: str) -> dict[str, Tensor]:
        return {
            name: optimizer.state[parameter].get(key, torch.zeros_like(parameter))
            for name, parameter in model.named_parameters()
        }

    adam_steps = {int(entry["step"].item()) for entry in optimizer.state.values()}
    return OptimizerState(updates, max(adam_steps, default=0), moments("exp_avg"), moments("exp_avg_sq"))


def restore_optimizer(model: GPTNeoXForCausalLM, optimizer: torch.optim.AdamW, state: OptimizerState) -> None:
    """Give `optimizer` the moments of `state` and its bias correction.

    Raises:
        UserError: the state belongs to a model with other parameters.
    """
    parameters = dict(model.named_parameters())
    if parameters.keys() != state.exp_avg.keys():
        odd = sorted(parameters.keys() ^ state.exp_avg.keys())
        raise UserError(f"the optimizer state is not this model's: {len(odd)} names differ, the first is {odd[0]}")
    for name, parameter in parameters.items():
        optimizer.state[parameter] = {
            "step": torch.tensor(float(state.adam_step), device=parameter.device),
            "exp_avg": state.exp_avg[name].to(parameter.device, copy=True),
            "exp_avg_sq": state.exp_avg_sq[name].to(parameter.device, copy=True),
        }


def set_learning_rate(optimizer: torch.optim.AdamW, rate: float) -> None:
    for group in optimizer.param_groups:
        cast(dict[str, object], group)["lr"] = rate
