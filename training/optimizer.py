"""AdamW as GPT-NeoX configured it, and its state as named tensors.

A suite that was trained on several tensor-parallel ranks (6.9b on 2, 12b on 4) held on each rank its own copy of what
is not split. That left two traces in the mathematics, which `model_parallel_size` repeats:

- The biases of `attention.dense` and `mlp.dense_4h_to_h` are summed over the ranks (gpt-neox v1.0
  `megatron/mpu/layers.py:588-601`). Their copies get equal gradients, so the sum moves that many times a single step.
- All parameters were marked as split (DeeperSpeed `runtime/pipe/module.py:256-259`), so what is replicated counts once
  a rank in the global gradient norm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import GPTNeoXForCausalLM

from foundation import UserError
from training.recipe import Recipe

AdamStep = Literal["continue", "neox_resume"]

_SUMMED_BIASES = ("attention.dense.bias", "mlp.dense_4h_to_h.bias")


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

    def on(self, device: torch.device) -> "OptimizerState":
        """The same with its tensors on `device`."""
        first = {name: value.to(device) for name, value in self.exp_avg.items()}
        second = {name: value.to(device) for name, value in self.exp_avg_sq.items()}
        return replace(self, exp_avg=first, exp_avg_sq=second)


def is_decayed(name: str) -> bool:
    """Whether weight decay acts on a parameter: on matrices, not on biases and layer norms.

    gpt-neox v1.0 `megatron/model/utils.py:26-65`.
    """
    return not (name.endswith("bias") or "norm" in name)


def _is_summed(name: str) -> bool:
    return name.endswith(_SUMMED_BIASES)


def make_optimizer(model: GPTNeoXForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with decoupled weight decay on matrices.

    Apex' FusedAdam decays with the parameter before the update, torch just before it: the same algebra.
    """
    named = dict(model.named_parameters())

    def group(weight_decay: float, lr_multiplier: int, chosen: list[str]) -> dict[str, object]:
        parameters = [named[name] for name in chosen]
        return {"params": parameters, "weight_decay": weight_decay, "lr_multiplier": lr_multiplier}

    summed = [name for name in named if _is_summed(name)] if recipe.model_parallel_size > 1 else []
    decayed = [name for name in named if is_decayed(name)]
    not_decayed = [name for name in named if not is_decayed(name) and name not in summed]
    groups = [group(recipe.weight_decay, 1, decayed), group(0.0, 1, not_decayed)]
    if summed:
        groups.append(group(0.0, recipe.model_parallel_size, summed))
    return torch.optim.AdamW(
        groups, lr=recipe.lr, betas=(recipe.adam_beta1, recipe.adam_beta2), eps=recipe.adam_eps, fused=True
    )


def gradient_norm(model: GPTNeoXForCausalLM, recipe: Recipe) -> Tensor:
    """Global L2 norm of the gradients, as GPT-NeoX took it on `model_parallel_size` ranks.

    Where they are sharded it is that of all shards, and the same on every rank.
    """
    names, gradients = zip(
        *((name, parameter.grad) for name, parameter in model.named_parameters() if parameter.grad is not None),
        strict=True,
    )
    shards = [gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in gradients]
    norms = torch.stack(torch._foreach_norm(shards))
    if isinstance(gradients[0], DTensor):
        squares = norms.square()
        torch.distributed.all_reduce(squares, group=gradients[0].device_mesh.get_group())
        norms = squares.sqrt()
    if recipe.model_parallel_size > 1:
        replicated = torch.tensor(["norm" in name or _is_summed(name) for name in names], device=norms.device)
        norms = torch.where(replicated, norms * recipe.model_parallel_size**0.5, norms)
    return cast(Tensor, torch.linalg.vector_norm(norms))


def optimizer_state(model: GPTNeoXForCausalLM, optimizer: torch.optim.AdamW, *, updates: int) -> OptimizerState:
    """Adam's moments by parameter name, zeros where no update has been made; the tensors are the optimizer's own."""

    def moments(key: str) -> dict[str, Tensor]:
        return {
            name: optimizer.state.get(parameter, {}).get(key, torch.zeros_like(parameter))
            for name, parameter in model.named_parameters()
        }

    adam_steps = {int(entry["step"].item()) for entry in optimizer.state.values()}
    return OptimizerState(updates, max(adam_steps, default=0), moments("exp_avg"), moments("exp_avg_sq"))


def restore_optimizer(model: GPTNeoXForCausalLM, optimizer: torch.optim.AdamW, state: OptimizerState) -> None:
    """Give `optimizer` the moments of `state` and its bias correction.

    Raises:
        UserError: the state belongs to a model with other parameters.
    """
    check_moments(model, state)
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            "step": torch.tensor(float(state.adam_step), device=parameter.device),
            "exp_avg": state.exp_avg[name].to(parameter.device, torch.float32, copy=True),
            "exp_avg_sq": state.exp_avg_sq[name].to(parameter.device, torch.float32, copy=True),
        }


def check_moments(model: GPTNeoXForCausalLM, state: OptimizerState) -> None:
    """Raise UserError where the state belongs to a model with other parameters."""
    parameters = dict(model.named_parameters())
    for moments in (state.exp_avg, state.exp_avg_sq):
        if parameters.keys() != moments.keys():
            odd = sorted(parameters.keys() ^ moments.keys())
            raise UserError(
                f"the optimizer state is not this model's: {len(odd)} names differ, the first is {odd[0]}; take the "
                f"state and the weights of one checkpoint"
            )
        for name, parameter in parameters.items():
            if moments[name].shape != parameter.shape:
                raise UserError(
                    f"the optimizer state is not this model's: {name} has shape {tuple(moments[name].shape)} there, "
                    f"{tuple(parameter.shape)} here; take the state and the weights of one checkpoint"
                )


def set_learning_rate(optimizer: torch.optim.AdamW, rate: float) -> None:
    """Set the rate of the next update; summed biases have theirs multiplied."""
    for group in cast(list[dict[str, float]], optimizer.param_groups):
        group["lr"] = rate * group["lr_multiplier"]
