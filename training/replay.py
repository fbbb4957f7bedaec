"""Adam's moments where none were published: rebuilt by training again on the batches before a checkpoint.

With beta2 = 0.95 the moments remember about a hundred steps, and the rare large gradient of a rare token, which the
second moments hold squared, up to three times as many. They are averages over the gradients of those steps, and so
depend on the weights that these were taken at, of which only some are public. Second moments are near enough with the
weights of another step; first moments need weights that move. What each method costs, and how near it comes, is
measured by `python run.py experiment=fidelity`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from foundation import UserError
from training.checkpoint import Checkpoint
from training.optimizer import AdamStep, OptimizerState

ReplayMethod = Literal["previous_checkpoint", "live", "frozen"]

# the share of an arm's own steps up to which previous_checkpoint is chosen
_WORTH = 1 / 8

# steps after which 0.6 % are left of a gradient in the second moments, and nothing in the first
_MEMORY = 100


@dataclass(frozen=True)
class ReplayPlan:
    """Which batches are trained on again, and from which weights.

    Attributes:
        method: `frozen`: gradients at the weights of the checkpoint itself. `live`: some of those, then training over
            the batches before the checkpoint, twice: from its own weights, which these batches move about as they did
            when they led to it, and then from as far on the other side, so that the weights come back to it.
            `previous_checkpoint`: some frozen, then training from the weights of an earlier checkpoint, over the
            batches that lead from there to this one. The true weights are put in at every checkpoint on the way, so
            that they stay near those that the true run had.
        origin: step of the weights that it begins with.
        frozen: steps whose batches are read with fixed weights.
        live: steps whose batches are trained on: in legs from one checkpoint to the next, or twice the same.
        step: of the checkpoint that the moments are for. Its weights are put back in the end.
    """

    method: ReplayMethod
    origin: int
    frozen: range
    live: tuple[range, ...]
    step: int

    @property
    def num_steps(self) -> int:
        return len(self.frozen) + sum(map(len, self.live))

    @property
    def first_step(self) -> int:
        return self.frozen.start

    def __str__(self) -> str:
        return (
            f"{self.method}, from the weights of step {self.origin}: {len(self.frozen)} steps frozen and "
            f"{sum(map(len, self.live))} live"
        )


class TrainOn(Protocol):
    """Trains a checkpoint on the unmodified data until step `stop`, with learning rate 0 in leg 0, the frozen one."""

    def __call__(self, start: Checkpoint, *, stop: int, leg: int) -> Checkpoint: ...


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
        live_steps: of the method `live`, each trained on twice. In `previous_checkpoint` the weights move for 100 steps
            or more; for all steps from 0 on, where the moments are known, if the frozen ones would begin there.
        arm_steps: that an arm will make.
        whole_batches: whether the arms' batches are those of the suite. Smaller ones do not lead from one checkpoint to
            the next.

    Raises:
        UserError: the method is unknown, there is no earlier checkpoint, or batches are smaller than the suite's, where
            the method needs it.
    """
    if method not in ("auto", *get_args(ReplayMethod)):
        raise UserError(f"{method} is no way to get Adam's moments; known are {', '.join(get_args(ReplayMethod))}")
    before = sorted(other for other in checkpoints if other < step)
    origin = max((other for other in before if other <= step - _MEMORY), default=min(before, default=None))
    if origin is not None and origin <= frozen_steps and 0 in before:
        origin = 0
    if method == "auto":
        cheap = origin is not None and step - origin + min(origin, frozen_steps) <= _WORTH * arm_steps
        method = "previous_checkpoint" if cheap and whole_batches else "live"
    if method == "previous_checkpoint":
        if origin is None:
            raise UserError(
                f"replay.method=previous_checkpoint, but no checkpoint precedes step {step}; take replay.method=live"
            )
        if not whole_batches:
            raise UserError(
                "replay.method=previous_checkpoint needs the suite's own batches, but training.sequences_per_step is "
                "another; take replay.method=live"
            )
        stops = [other for other in before if other > origin] + [step]
        legs = tuple(range(start, stop) for start, stop in pairwise([origin, *stops]))
        return ReplayPlan(method, origin, _before(origin, frozen_steps), legs, step)
    if method == "frozen":
        return ReplayPlan(method, step, _before(step, frozen_steps + live_steps), (), step)
    live = _before(step, live_steps)
    return ReplayPlan(method, step, _before(live.start, frozen_steps), (live, live) if live else (), step)


def _before(step: int, steps: int) -> range:
    return range(max(0, step - steps), step)


def replay(plan: ReplayPlan, *, load: Callable[[int], Checkpoint], train_on: TrainOn) -> Checkpoint:
    """The checkpoint at `plan.step` with rebuilt moments; at step 0 those are zeros.

    Its bias correction counts the replayed steps, so that the moments weigh those alone.

    Args:
        load: the checkpoint of a step; a new copy each time, since training changes it.
        train_on: called for the frozen steps, then for each leg of the live ones.
    """
    begun = replace(load(plan.origin), optimizer_state=None, scaler_state={}, step=plan.first_step)
    gathered = _at_rest(train_on(begun, stop=plan.frozen.stop, leg=0)) if plan.frozen else begun
    reached = gathered
    for number, leg in enumerate(plan.live, 1):
        if plan.method == "live":
            weights, memory = _mirrored(load(plan.step), reached.model), gathered
        else:
            weights, memory = load(leg.start), reached
        begun = replace(
            weights, optimizer_state=memory.optimizer_state, scaler_state=memory.scaler_state, step=leg.start
        )
        reached = _at_rest(train_on(begun, stop=leg.stop, leg=number))
    end, rebuilt = load(plan.step), reached.optimizer_state
    if rebuilt is None:
        return without_moments(end)
    return replace(end, optimizer_state=replace(rebuilt, updates=end.updates), scaler_state=reached.scaler_state)


@torch.no_grad()
def _mirrored(checkpoint: Checkpoint, model: GPTNeoXForCausalLM) -> Checkpoint:
    """The checkpoint with weights as far from its own as the model's are, on the other side."""
    others = dict(model.named_parameters())
    for name, weight in checkpoint.model.named_parameters():
        weight.sub_(others[name] - weight)
    return checkpoint


def _at_rest(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint that takes no room on the GPU."""
    cpu = torch.device("cpu")
    checkpoint.on(cpu)
    state = checkpoint.optimizer_state
    return checkpoint if state is None else replace(checkpoint, optimizer_state=state.on(cpu))


def without_moments(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint whose moments are zeros, at the same place in the schedule."""

    def zeros() -> dict[str, Tensor]:
        return {name: torch.zeros_like(value) for name, value in checkpoint.model.named_parameters()}

    nothing = OptimizerState(checkpoint.updates, 0, zeros(), zeros())
    return replace(checkpoint, optimizer_state=nothing, scaler_state={})


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
