"""How a suite was trained: the numbers of a GPT-NeoX configuration file, and the learning rate they imply."""

import math
from dataclasses import dataclass
from typing import Literal

from foundation import UserError

LrSchedule = Literal["neox_v1", "neox_1008"]


@dataclass
class Recipe:
    """Hyper-parameters in GPT-NeoX's spelling (`models/<size>/pythia-<size>-deduped.yml` of EleutherAI/pythia).

    Attributes:
        lr: peak learning rate.
        min_lr: floor of the schedule.
        lr_schedule: `neox_v1`, as Pythia had it, or `neox_1008`, the cosine of later versions: see `learning_rate`.
        warmup: share of `lr_decay_iters` spent on linear warm-up.
        lr_decay_iters: updates over which the schedule is laid out.
        weight_decay: decoupled, on matrices only.
        gradient_clipping: largest global L2 norm of the gradient.
        sequences_per_step: rows in a batch.
        model_parallel_size: tensor-parallel ranks that the suite was trained on. More than one changed its mathematics:
            see `training.optimizer`.
    """

    lr: float
    min_lr: float
    lr_schedule: str
    warmup: float
    lr_decay_iters: int
    weight_decay: float
    adam_beta1: float
    adam_beta2: float
    adam_eps: float
    gradient_clipping: float
    sequences_per_step: int
    model_parallel_size: int


def learning_rate(updates: int, recipe: Recipe) -> float:
    """Learning rate of the next update after `updates` successful ones. The first update has rate 0.

    `neox_v1` is gpt-neox v1.0, `megatron/learning_rates.py`: after the warm-up the cosine falls towards zero over the
    *whole* `lr_decay_iters`, shifted by the warm-up, and is floored at `min_lr`. `neox_1008` is the cosine from `lr` to
    `min_lr` over what the warm-up leaves (gpt-neox #1008, August 2023), which gives another rate at every step.

    Raises:
        UserError: the schedule is unknown.
    """
    warmup_updates = recipe.warmup * recipe.lr_decay_iters
    n = min(updates, recipe.lr_decay_iters - warmup_updates) if recipe.lr_schedule == "neox_v1" else updates
    if n <= warmup_updates:
        return recipe.lr * n / warmup_updates if warmup_updates else recipe.lr
    if recipe.lr_schedule == "neox_v1":
        cosine = recipe.lr / 2 * (1 + math.cos(math.pi * (n - warmup_updates) / recipe.lr_decay_iters))
        return max(cosine, recipe.min_lr)
    if recipe.lr_schedule == "neox_1008":
        done = min(1.0, (n - warmup_updates) / (recipe.lr_decay_iters - warmup_updates))
        return recipe.min_lr + (recipe.lr - recipe.min_lr) / 2 * (1 + math.cos(math.pi * done))
    raise UserError(f"training.lr_schedule={recipe.lr_schedule} is unknown; known are neox_v1 and neox_1008")
