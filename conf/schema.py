"""What can be configured, and the type of each value. The values stand in the YAML files beside this one."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore

from foundation import UserError
from training import Architecture, Numerics, Pretraining, Recipe, Sharding


class Control(Enum):
    """What to compare with: an arm trained on the unmodified segment, the suite's own later checkpoint, or nothing.

    auto is published where there is such a checkpoint and the arm continues the suite's training exactly (recipe,
    precision, numerics, Adam's own moments), else train; of a suite that the kit made always train. With published
    something else may differ too: then no causal statement is made.
    """

    auto = "auto"
    train = "train"
    published = "published"
    none = "none"


class Protocol(Enum):
    """What is done.

    counterfactual: the experiment. fidelity: how near resuming comes to the true later checkpoint. audit: the
    experiment, but the intervened arm is a checkpoint that others trained. trajectory: the benchmarks at the suite's
    own checkpoints, one after the other.
    """

    counterfactual = "counterfactual"
    fidelity = "fidelity"
    audit = "audit"
    trajectory = "trajectory"

    @property
    def trains(self) -> bool:
        return self in (Protocol.counterfactual, Protocol.fidelity)


class OptimizerStateSource(Enum):
    """Where Adam's moments come from.

    exact: the kit's own checkpoint. neox: GPT-NeoX's. replay: rebuilt on the batches before the checkpoint. fresh:
    nowhere; they are zeros.
    """

    exact = "exact"
    neox = "neox"
    replay = "replay"
    fresh = "fresh"


class ReplayMethodChoice(Enum):
    """How moments are rebuilt: see `training.replay`. auto is previous_checkpoint where that is cheap."""

    auto = "auto"
    previous_checkpoint = "previous_checkpoint"
    live = "live"
    frozen = "frozen"


# a functional Enum, since `continue` is a word of Python's
AdamStepChoice = Enum("AdamStepChoice", ["continue", "neox_resume"])


class TrackerChoice(Enum):
    """What shows an arm's losses while it trains, besides its journal."""

    none = "none"
    tensorboard = "tensorboard"
    wandb = "wandb"


class PrecisionChoice(Enum):
    """Number format of the arithmetic; auto is that of the suite on a GPU and fp32 on a CPU."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class CompileChoice(Enum):
    """Whether layers and loss are trained as compiled code; auto is always on a GPU with Triton, and never on a CPU."""

    auto = "auto"
    always = "always"
    never = "never"


class ActivationCheckpointingChoice(Enum):
    """What a layer computes again in backward to save memory.

    none: nothing. selective: all but matrix products and attention. full: the whole layer.
    """

    none = "none"
    selective = "selective"
    full = "full"


@dataclass
class Span:
    """A span of a suite's own checkpoints.

    Attributes:
        step: its first.
        steps: from there to its last.
        every: those at a multiple of this.
    """

    step: int
    steps: int
    every: int


@dataclass
class ModelConfig:
    """A suite of checkpoints.

    Attributes:
        name: as run.json and the report call it; pythia-SIZE names what is published.
        deduped: whether it read the deduplicated Pile; null where there is no such choice.
        seed: 0 for the published suite, 1 to 9 for PolyPythias.
        checkpoints: directory of its checkpoints or hf://OWNER/NAME; null: what is published of it, or what the kit
            pre-trains as `pretraining` says.
        tokenizer: directory or hub name, for checkpoints that hold none, as GPT-NeoX's.
        architecture: what a checkpoint must be to be taken for this model; null takes any.
        recipe: how the suite was trained.
        precision: of the arithmetic that it was trained in.
        numerics: what its forward pass computed.
        micro_batch: sequences per forward pass when it was trained.
        span: what experiment=trajectory measures of it.
        caveats: what a reader of any result from it must know.
        limits: by benchmark, what it cannot show of a model of this size.
    """

    name: str
    deduped: bool | None
    seed: int
    checkpoints: str | None
    tokenizer: str | None
    pretraining: Pretraining | None
    architecture: Architecture | None
    recipe: Recipe
    precision: str
    numerics: Numerics
    micro_batch: int
    span: Span
    caveats: list[str]
    limits: dict[str, str]


@dataclass
class TrainingConfig(Recipe):
    """How the arms are trained: the suite's recipe unless said otherwise, and what the machine needs.

    Attributes:
        micro_batch: sequences per forward pass. null: the model's, on a GPU halved until a step has room.
        compile: whether training runs as compiled code.
        activation_checkpointing: what backward computes again.
        numerics: what the forward pass computes, in training and in the benchmarks.
        save_every: steps between the checkpoints that a killed arm resumes from.
        save_minutes: a checkpoint is saved also when so many minutes have passed; null: only by steps.
        sharding: how the processes that torchrun starts share the model.
    """

    micro_batch: int | None
    precision: PrecisionChoice
    compile: CompileChoice
    activation_checkpointing: ActivationCheckpointingChoice
    numerics: Numerics
    save_every: int
    save_minutes: float | None
    sharding: Sharding


class DoseUnit(Enum):
    """What `fraction` is a fraction of. A document is what of it lies in one row; without marks, a row."""

    occurrence = "occurrence"
    row = "row"
    document = "document"


class HerChoice(Enum):
    """How her = him is told from her = his: by what stands around his and him in the corpus, or by the start model."""

    corpus = "corpus"
    language_model = "language_model"


@dataclass
class InterventionConfig:
    """What is done to the segment.

    Attributes:
        name: one of `interventions.INTERVENTIONS`.
        fraction: the share of the units that is changed, 0 to 1; what .25 changes, .5 changes too.
        start: step of the segment, counted from its first, at which it begins.
        stop: step of the segment after which the text is unmodified again; null: it is done to the end.
        english_only: leave words around which signs of code and of other languages outnumber English words.
        sample_rows: rows before the segment, or the corpus's first, that an arm learns from where it has to.
    """

    name: str
    fraction: float
    unit: DoseUnit
    start: int
    stop: int | None
    english_only: bool
    her: HerChoice
    sample_rows: int


@dataclass
class ReplayConfig:
    """How Adam's moments are rebuilt with optimizer_state=replay.

    Attributes:
        frozen_steps: batches whose gradients are gathered before the weights begin to move.
        live_steps: of the method live: batches before the checkpoint on which the weights move, twice.
    """

    method: ReplayMethodChoice
    frozen_steps: int
    live_steps: int


@dataclass
class FidelityConfig:
    """How resuming is measured.

    Attributes:
        optimizer_states: where Adam's moments come from, one arm each: exact, neox, previous_checkpoint, live, frozen,
            fresh.
        rows: rows after the segment on which losses and predictions are compared.
    """

    optimizer_states: list[str]
    rows: int


@dataclass
class AuditConfig:
    """The intervention that protocol=audit looks into.

    Attributes:
        checkpoints: where its checkpoint at step + steps is: a directory, or hf://OWNER/NAME.
        expects: what its share of she should do: rise, fall or none.
    """

    checkpoints: str | None
    expects: str


@dataclass
class TrajectoryConfig:
    """What is measured along the way.

    Attributes:
        every: of the steps between step and step + steps, those that are a multiple of this: of the suite's own
            checkpoints in protocol=trajectory, of both arms in the experiment. null: every checkpoint there, none here.
        skip: checkpoints that protocol=trajectory leaves out, besides those whose weights are known to be others'.
    """

    every: int | None
    skip: list[int]


@dataclass
class RunConfig:
    """One run: a checkpoint, a segment, an intervention, a control, benchmarks.

    Attributes:
        model: the suite.
        corpus: the fixed data order.
        training: how the arms are trained.
        intervention: what is done to the segment.
        benchmarks: what is measured, by name.
        step: updates the checkpoint has made.
        steps: updates each arm makes.
        replay: how they are rebuilt.
        adam_step: whether the bias correction goes on, or restarts as it did whenever GPT-NeoX resumed.
        fidelity: of protocol=fidelity.
        audit: of protocol=audit.
        trajectory: of protocol=trajectory.
        seed: of what an intervention draws at random; not of the model.
        device: auto, cpu, cuda, cuda:1, ...; auto is a GPU where PyTorch finds one.
        plan: say what the run would take in data, arithmetic, memory and hours; fetch nothing, train nothing.
        output_dir: where the run's files go: `hydra.run.dir` sets it; null before there is a run.
    """

    model: ModelConfig
    corpus: dict[str, Any]
    training: TrainingConfig
    intervention: InterventionConfig
    benchmarks: dict[str, Any]
    step: int
    steps: int
    control: Control
    optimizer_state: OptimizerStateSource
    replay: ReplayConfig
    adam_step: AdamStepChoice
    protocol: Protocol
    fidelity: FidelityConfig
    audit: AuditConfig
    trajectory: TrajectoryConfig
    seed: int
    device: str
    tracker: TrackerChoice
    plan: bool
    output_dir: str | None

    def __post_init__(self) -> None:
        at_least_one = {
            "steps": self.steps,
            "model.micro_batch": self.model.micro_batch,
            "training.save_every": self.training.save_every,
            "replay.frozen_steps": self.replay.frozen_steps,
            "replay.live_steps": self.replay.live_steps,
            "fidelity.rows": self.fidelity.rows,
            "training.micro_batch": 1 if self.training.micro_batch is None else self.training.micro_batch,
            "trajectory.every": 1 if self.trajectory.every is None else self.trajectory.every,
            "intervention.sample_rows": self.intervention.sample_rows,
            "the number of fidelity.optimizer_states": len(self.fidelity.optimizer_states),
        }
        for name, value in at_least_one.items():
            if value < 1:
                raise UserError(f"{name}={value}, but it must be 1 or more")
        if self.training.save_minutes is not None and not self.training.save_minutes > 0:
            raise UserError(f"training.save_minutes={self.training.save_minutes}, but it must be above 0, or null")
        stop = self.steps if self.intervention.stop is None else self.intervention.stop
        if not 0 <= self.intervention.start <= stop <= self.steps:
            raise UserError(
                f"intervention.start={self.intervention.start} intervention.stop={self.intervention.stop}, but they "
                f"are steps of the segment, 0 to steps={self.steps}, in this order"
            )
        if self.trajectory.every is not None and self.protocol in (Protocol.fidelity, Protocol.audit):
            raise UserError(
                f"trajectory.every={self.trajectory.every}, but protocol={self.protocol.value} measures nothing along "
                f"the way; leave it out"
            )
        if self.protocol is Protocol.audit and self.audit.checkpoints is None:
            raise UserError("protocol=audit needs audit.checkpoints, a directory or hf://OWNER/NAME")
        if self.audit.expects not in ("rise", "fall", "none"):
            raise UserError(f"audit.expects={self.audit.expects}, expected rise, fall or none")
        if self.seed < 0:
            raise UserError(f"seed={self.seed}, but it must be 0 or more")


ConfigStore.instance().store("schema", RunConfig)
