"""How a suite was trained: the numbers of a GPT-NeoX configuration file, and the learning rate they imply."""

import math
from dataclasses import dataclass


@dataclass
class Recipe:
    """Hyper-parameters in GPT-NeoX's spelling (`models/<size>/pythia-<size>-deduped.yml` of EleutherAI/pythia).

    Attributes:
        lr: peak learning rate.
        min_lr: floor of the schedule.
        warmup: share of `lr_decay_iters` spent on linear warm-up.
        lr_decay_iters: updates over which the schedule is laid out.
        weight_decay: decoupled, on matrices only.
        gradient_clipping: largest global L2 norm of the gradient.
        sequences_per_step: rows in a batch.
    """

    lr: float
    min_lr: float
    warmup: float
    lr_decay_iters: int
    weight_decay: float
    adam_beta1: float
    adam_beta2: float
    adam_eps: float
    gradient_clipping: float
    sequences_per_step: int


def learning_rate(updates: int, recipe: Recipe) -> float:
    """Learning rate of the next update after `updates` successful ones.

    gpt-neox v1.0 `megatron/learning_rates.py`: after the warm-up the cosine falls towards zero over the *whole*
    `lr_decay_iters`, shifted by the warm-up, and is floored at `min_lr`. This is not the cosine from `lr` to `min_lr`
    of later versions (gpt-neox #1008), which gives another rate at every step. The first update has rate 0.
    """
    warmup_updates = recipe.warmup * recipe.lr_decay_iters
    n = min(updates, recipe.lr_decay_iters - warmup_updates)
    if n <= warmup_updates:
        return recipe.lr * n / warmup_updates if warmup_updates else recipe.lr
    cosine = recipe.lr / 2 * (1 + math.cos(math.pi * (n - warmup_updates) / recipe.lr_decay_iters))
    return max(cosine, recipe.min_lr)
