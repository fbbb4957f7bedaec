"""Adam's moments where none were published: rebuilt by training again on the batches before a checkpoint.

With beta2 = 0.95 the moments remember about a hundred steps. They are averages over the gradients of those steps, and
so depend on the weights that these were taken at, of which only some are public. What each method costs, and how near
it comes, is measured by `python run.py experiment=fidelity`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch

from foundation import UserError
from training.checkpoint import Checkpoint
from training.optimizer import AdamStep, OptimizerState

ReplayMethod = Literal["previous_checkpoint", "live", "frozen"]

# the share of an arm's own steps up to which previous_checkpoint is chosen
_WORTH = 1 / 8


@dataclass(frozen=True)
class ReplayPlan:
    """Which batches are trained on again, and from which weights.

    Attributes:
        method: `frozen`: gradients at the weights of the checkpoint itself. `live`: some of those, then training on,
            from these weights, over batches that they have seen. `previous_checkpoint`: the same from the weights of
            the checkpoint before, over the batches that lead from there to this one, so that the weights pass near
            those that the true run had.
        origin: step of the weights that it begins with.
        frozen: steps whose batches are read with fixed weights.
        live: steps whose batches are trained on.
        step: of the checkpoint that the moments are for. Its weights are put back in the end.
    """

    method: ReplayMethod
    origin: int
    frozen: range
    live: range
    step: int

    @property
    def num_steps(self) -> int:
        return len(self.frozen) + len(self.live)

    @property
    def first_step(self) -> int:
        return min(self.frozen.start, self.live.start)

    def __str__(self) -> str:
        return (
            f"{self.method}, from the weights of step {self.origin}: {len(self.frozen)} steps frozen and "
            f"{len(self.live)} live"
        )


class TrainOn(Protocol):
    """Trains a checkpoint on the unmodified data until step `stop`, with learning rate 0 if `frozen`."""

    def __call__(self, start: Checkpoint, *, stop: int, frozen: bool) -> Checkpoint: ...


def plan_replay(
    step: int,
    *,
    method: ReplayMethod | Literal["auto"],
    checkpoints: Sequence[int],
    frozen_steps: int,
    live_steps: int,
    arm_steps: int,
    whole_batches: bool,
) -> ReplayPlan:
    """Choose what to replay, as far as training had gone before `step`.

    Args:
        method: auto is `previous_checkpoint` where its batches are at most an eighth of an arm's, else `live`.
        checkpoints: steps whose weights can be had.
        frozen_steps: gathered before the weights begin to move; in the method `frozen`, with `live_steps`, all.
        live_steps: of the method `live`.
        arm_steps: that an arm will make.
        whole_batches: whether the arms' batches are those of the suite. Smaller ones do not lead from one checkpoint to
            the next.

    Raises:
        UserError: there is no earlier checkpoint, or batches are smaller than the suite's, where the method needs it.
    """
    previous = max((other for other in checkpoints if other < step), default=None)
    possible = previous is not None and whole_batches
    if method == "auto":
        cheap = previous is not None and step - previous + frozen_steps <= _WORTH * arm_steps
        method = "previous_checkpoint" if possible and cheap else "live"
    if method == "previous_checkpoint":
        if previous is None:
            raise UserError(f"replay.method=previous_checkpoint, but no checkpoint precedes step {step}; take live")
        if not whole_batches:
            raise UserError(
                "replay.method=previous_checkpoint needs the suite's own batches, but training.sequences_per_step is "
                "another; take live"
            )
        return ReplayPlan(method, previous, _before(previous, frozen_steps), range(previous, step), step)
    live = _before(step, live_steps if method == "live" else 0)
    frozen = _before(live.start, frozen_steps if method == "live" else frozen_steps + live_steps)
    return ReplayPlan(method, step, frozen, live, step)


def _before(step: int, steps: int) -> range:
    return range(max(0, step - steps), step)


def replay(plan: ReplayPlan, *, load: Callable[[int], Checkpoint], train_on: TrainOn) -> Checkpoint:
    """The checkpoint at `plan.step` with rebuilt moments.

    Its bias correction counts the replayed steps, so that the moments weigh those alone.

    Args:
        load: the checkpoint of a step; a new copy each time, since training changes it.
        train_on: called for the frozen steps, then for the live ones.
    """
    checkpoint = replace(load(plan.origin), optimizer_state=None, scaler_state={}, step=plan.first_step)
    for steps, frozen in ((plan.frozen, True), (plan.live, False)):
        if steps:
            checkpoint = train_on(replace(checkpoint, step=steps.start), stop=steps.stop, frozen=frozen)
    end, rebuilt = load(plan.step), checkpoint.optimizer_state
    if rebuilt is not None:
        rebuilt = replace(rebuilt, updates=end.updates)
    return replace(end, optimizer_state=rebuilt, scaler_state=checkpoint.scaler_state)


def without_moments(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint whose moments are zeros, at the same place in the schedule."""
    zeros = {name: torch.zeros_like(value) for name, value in checkpoint.model.named_parameters()}
    return replace(checkpoint, optimizer_state=OptimizerState(checkpoint.updates, 0, zeros, zeros), scaler_state={})


def with_adam_step(checkpoint: Checkpoint, adam_step: AdamStep) -> Checkpoint:
    """A checkpoint whose bias correction goes on (`continue`), or restarts as when GPT-NeoX resumed (`neox_resume`).

    DeeperSpeed's ZeRO-1 checkpoints hold no step count, and its constructor makes one step of zero gradients
    (`runtime/zero/stage1.py:311-321, 924-943`): the first update after a resume is corrected as the second, 1.64 times
    too large.
    """
    state = checkpoint.optimizer_state
    if adam_step == "continue" or state is None:
        return checkpoint
    return replace(checkpoint, optimizer_state=replace(state, adam_step=1))
