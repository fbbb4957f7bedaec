"""What can be configured, and the type of each value. The values stand in the YAML files beside this one."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from foundation import UserError
from training import Pretraining, Recipe


class Control(Enum):
    """The arm to compare with: trained on the unmodified segment, or none."""

    train = "train"
    none = "none"


class OptimizerStateSource(Enum):
    """Where Adam's moments come from: the checkpoint, or nowhere (zeros)."""

    exact = "exact"
    fresh = "fresh"


class PrecisionChoice(Enum):
    """Number format of the arithmetic; auto is bf16 on a GPU and fp32 on a CPU."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


@dataclass
class ModelConfig:
    """A suite of checkpoints.

    Attributes:
        deduped: whether it read the deduplicated Pile; null where there is no such choice.
        seed: 0 for the published suite, 1 to 9 for PolyPythias.
        checkpoints: directory of its `step<N>` checkpoints; null: the kit pre-trains them as `pretraining` says.
        recipe: how the suite was trained.
        caveats: what a reader of any result from it must know.
    """

    name: str
    deduped: bool | None
    seed: int
    checkpoints: str | None
    pretraining: Pretraining | None
    recipe: Recipe
    micro_batch: int
    caveats: list[str]


@dataclass
class TrainingConfig(Recipe):
    """How the arms are trained: the suite's recipe unless said otherwise, and what the machine needs.

    Attributes:
        micro_batch: sequences per forward pass.
        save_every: steps between the checkpoints that a killed arm resumes from.
    """

    micro_batch: int
    precision: PrecisionChoice
    save_every: int


@dataclass
class RunConfig:
    """One run: a checkpoint, a segment, an intervention, a control, benchmarks.

    Attributes:
        step: updates the checkpoint has made.
        steps: updates each arm makes.
        device: auto, cpu, cuda, cuda:1, ...
        plan: say what the run's data would take; fetch none of them, train nothing.
    """

    model: ModelConfig
    corpus: dict[str, Any]
    training: TrainingConfig
    intervention: dict[str, Any]
    benchmarks: dict[str, Any]
    step: int
    steps: int
    control: Control
    optimizer_state: OptimizerStateSource
    seed: int
    device: str
    plan: bool
    output_dir: str

    def __post_init__(self) -> None:
        at_least_one = {
            "steps": self.steps,
            "model.micro_batch": self.model.micro_batch,
            "model.recipe.sequences_per_step": self.model.recipe.sequences_per_step,
            "training.micro_batch": self.training.micro_batch,
            "training.sequences_per_step": self.training.sequences_per_step,
            "training.save_every": self.training.save_every,
        }
        for name, value in at_least_one.items():
            if value < 1:
                raise UserError(f"{name}={value}, but it must be 1 or more")
        if self.training.min_lr > self.training.lr:
            raise UserError(
                f"training.min_lr={self.training.min_lr:g} is above training.lr={self.training.lr:g}: the "
                f"schedule would stay at the floor; set both"
            )
