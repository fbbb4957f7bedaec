"""How a suite was trained: the numbers of a GPT-NeoX configuration file, and the learning rate they imply."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from foundation import UserError

LrSchedule = Literal["neox_v1", "neox_1008", "neox_1011"]


@dataclass
class Recipe:
    """Hyper-parameters in GPT-NeoX's spelling (`models/<size>/pythia-<size>-deduped.yml` of EleutherAI/pythia).

    Attributes:
        lr: peak learning rate.
        min_lr: floor of the schedule.
        lr_schedule: `neox_v1`, as Pythia had it, or `neox_1008` or `neox_1011`, the cosine of later versions: see
            `learning_rate`.
        warmup: share of `lr_decay_iters` spent on linear warm-up.
        lr_decay_iters: updates over which the schedule is laid out.
        weight_decay: decoupled, on matrices only.
        adam_beta1: decay of the mean of gradients, per update.
        adam_beta2: decay of the mean of squared gradients, per update.
        adam_eps: added to the root of the second moment.
        gradient_clipping: largest global L2 norm of the gradient.
        sequences_per_step: rows in a batch.
        model_parallel_size: tensor-parallel ranks that the suite was trained on. More than one changed its mathematics:
            see `training.optimizer`.

    Raises:
        UserError: a value makes no sense.
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

    def __post_init__(self) -> None:
        allowed = {
            "lr": (self.lr >= 0, "0 or more"),
            "min_lr": (0 <= self.min_lr <= self.lr, f"between 0 and lr={self.lr:g}; set both"),
            "lr_schedule": (self.lr_schedule in get_args(LrSchedule), " or ".join(get_args(LrSchedule))),
            "warmup": (0 <= self.warmup < 0.5, "a share of lr_decay_iters below 0.5"),
            "lr_decay_iters": (self.lr_decay_iters >= 1, "1 or more"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "adam_beta1": (0 <= self.adam_beta1 < 1, "0 or more and below 1"),
            "adam_beta2": (0 <= self.adam_beta2 < 1, "0 or more and below 1"),
            "adam_eps": (self.adam_eps > 0, "above 0"),
            "gradient_clipping": (self.gradient_clipping > 0, "above 0; 1e9 clips nothing"),
            "sequences_per_step": (self.sequences_per_step >= 1, "1 or more"),
            "model_parallel_size": (self.model_parallel_size >= 1, "1 or more"),
        }
        for name, (is_allowed, what) in allowed.items():
            if not is_allowed:
                raise UserError(f"{name}={getattr(self, name)}, but it must be {what}")


def learning_rate(updates: int, recipe: Recipe) -> float:
    """Learning rate of the next update after `updates` successful ones. The first update has rate 0.

    `neox_v1` is gpt-neox v1.0, `megatron/learning_rates.py`: after the warm-up the cosine falls towards zero over the
    *whole* `lr_decay_iters`, shifted by the warm-up, and is floored at `min_lr`. The later ones fall from `lr` to
    `min_lr`: `neox_1008` over the whole `lr_decay_iters` too, so that it ends a little above `min_lr` (gpt-neox #1008,
    6 August 2023), `neox_1011` over what the warm-up leaves (#1011, five days later; gpt-neox since then).
    """
    warmup_updates = recipe.warmup * recipe.lr_decay_iters
    n = min(updates, recipe.lr_decay_iters - warmup_updates) if recipe.lr_schedule == "neox_v1" else updates
    if n <= warmup_updates:
        return recipe.lr * n / warmup_updates if warmup_updates else recipe.lr
    if recipe.lr_schedule == "neox_v1":
        cosine = recipe.lr / 2 * (1 + math.cos(math.pi * (n - warmup_updates) / recipe.lr_decay_iters))
        return max(cosine, recipe.min_lr)
    decay_updates = recipe.lr_decay_iters - (warmup_updates if recipe.lr_schedule == "neox_1011" else 0)
    done = min(1.0, (n - warmup_updates) / decay_updates)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) / 2 * (1 + math.cos(math.pi * done))
