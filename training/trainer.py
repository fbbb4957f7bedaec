"""One step of training: the losses of a batch, their gradients, and Adam's update."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_

from foundation import UserError
from training.checkpoint import Checkpoint
from training.compilation import ActivationCheckpointing, called_by, layer_calls
from training.loss import chunk_tokens, head_loss, logit_gradient
from training.optimizer import gradient_norm, make_optimizer, optimizer_state, restore_optimizer, set_learning_rate
from training.precision import DTYPES, Precision, autocast, loss_scaler
from training.recipe import Recipe, learning_rate

TOKEN_GROUPS = ("other", "swapped", "neighbouring")

Gather = Literal["step", "layer"]


@dataclass
class Sharding:
    """How a model lies on several devices: see `training.distributed`.

    Attributes:
        gather: `step`: each device holds all weights and gradients while it works on a batch, gathered once; moments
            and masters are sharded. `layer`: weights are gathered layer by layer in each micro-batch, and gradients are
            sharded too.
        offload: keep masters, moments and the sharded gradients in the machine's memory, and make the updates there.

    Raises:
        UserError: `gather` is unknown.
    """

    gather: str = "step"
    offload: bool = False

    def __post_init__(self) -> None:
        if self.gather not in get_args(Gather):
            raise UserError(
                f"training.sharding.gather={self.gather} is unknown; known are {', '.join(get_args(Gather))}"
            )


@dataclass(frozen=True)
class Batch:
    """The rows of one step. `S` sequences of `L + 1` tokens.

    Attributes:
        tokens: (S, L + 1) ids; the first L are inputs, the last L labels.
        record: what the step's line in the journal says of the batch.
        groups: (S, L + 1) index in `TOKEN_GROUPS`: their losses are reported apart; None: all are other.
        unlearned: (S, L + 1) tokens that are not learned as labels, though their loss is reported; None: all are.
    """

    tokens: NDArray[np.integer[Any]]
    record: dict[str, Any]
    groups: NDArray[np.uint8] | None = None
    unlearned: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Losses:
    """Cross entropies of a batch in nats.

    Attributes:
        mean: over the predictions that are learned.
        by_group: over those of each of `TOKEN_GROUPS`, learned or not; None where there are none.
        predictions: how many there are in all.
        by_token: (S, L) of each prediction, on the device that it was made on.
    """

    mean: float
    by_group: dict[str, float | None]
    predictions: int
    by_token: Tensor


class Trainer:
    """A model in training: its weights, Adam's memory, the loss scale and the place in the schedule.

    Args:
        start: where it begins. Without an optimizer state the moments are zeros and the bias correction restarts. Its
            model is moved to `device` and trained in place.
        recipe: schedule, optimizer, clipping.
        precision: of the arithmetic. Weights, gradients and moments are fp32.
        micro_batch: sequences per forward pass.
        compile: whether the layers and the loss run as compiled code.
        activation_checkpointing: what a layer computes again in backward: see `layer_calls`.
    """

    def __init__(
        self,
        start: Checkpoint,
        *,
        recipe: Recipe,
        precision: Precision,
        micro_batch: int,
        device: torch.device,
        compile: bool = False,  # noqa: A002  # the option's name
        activation_checkpointing: ActivationCheckpointing = "none",
    ) -> None:
        self.model = start.on(device)
        self.model.train()
        self.updates = start.updates
        self.scaler = loss_scaler(precision, start.scaler_state)
        self._recipe = recipe
        self._precision = precision
        self._micro_batch = micro_batch
        self._device = device
        self._calls = layer_calls(self.model, compile=compile, activation_checkpointing=activation_checkpointing)
        self._logit_gradient = torch.compile(logit_gradient, fullgraph=True) if compile else logit_gradient
        self._optimizer = make_optimizer(self.model, recipe)
        if start.optimizer_state is not None:
            restore_optimizer(self.model, self._optimizer, start.optimizer_state)

    @property
    def learning_rate(self) -> float:
        """Of the next update."""
        return learning_rate(self.updates, self._recipe)

    @property
    def can_skip(self) -> bool:
        """Whether an overflow can be mended by a smaller loss scale."""
        return self.scaler is not None and not self.scaler.exhausted

    @property
    def loss_scale(self) -> float:
        return self.scaler.scale if self.scaler else 1.0

    @property
    def processes(self) -> int:
        """That train together."""
        return 1

    def heed(self, received: Callable[[], int | None]) -> Callable[[], int | None]:
        """The signal that any of the processes has received, from what this one has."""
        return received

    def backward(self, batch: Batch, *, give_up: Callable[[], bool]) -> Losses | None:
        """Gradients of the mean loss over the learned predictions of the batch, one micro-batch after the other.

        Args:
            give_up: asked before each micro-batch; where it says so the gradients are dropped.

        Returns:
            The losses; None where it gave up.
        """
        # An unlearned prediction has no weight; the mean is over the others, as with GPT-NeoX's loss mask.
        learned = np.ones(batch.tokens.shape, bool) if batch.unlearned is None else ~batch.unlearned
        groups = np.zeros(batch.tokens.shape, np.uint8) if batch.groups is None else batch.groups
        learned, groups = learned[:, 1:], groups[:, 1:]
        counted = int(np.count_nonzero(learned))
        # The loss scale is made for the mean over a micro-batch, which is what each of GPT-NeoX's ranks had: the mean
        # over the whole batch is so much smaller that the fp16 gradients of most logits would vanish.
        averaged = counted * min(1.0, self._micro_batch / len(batch.tokens)) if self.scaler else counted
        self._unscaling = averaged / counted / self.loss_scale
        tokens = self._on_device(self._share(batch.tokens.astype(np.int64)))
        inputs, labels = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        of_group, is_learned = self._on_device(self._share(groups)), self._on_device(self._share(learned))
        weights = is_learned * (self.loss_scale / averaged)
        losses = torch.empty(labels.shape, device=self._device)
        firsts = range(0, len(tokens), self._micro_batch)
        with called_by(self.model, self._calls):
            for first in firsts:
                if give_up():
                    self.drop_gradients()
                    return None
                self._begin_micro_batch(last=first == firsts[-1])
                rows = slice(first, first + self._micro_batch)
                total, losses_of_rows = self._loss(inputs[rows], labels[rows], weights[rows])
                total.backward()
                losses[rows] = losses_of_rows
        parts = [is_learned, *(of_group == group for group in range(len(TOKEN_GROUPS)))]
        sums = torch.stack([(losses * part).sum() for part in parts])
        self._sum(sums)
        total_loss, *by_group = sums.tolist()  # the device is waited for here, once a step
        numbers = np.bincount(groups.ravel(), minlength=len(TOKEN_GROUPS)).tolist()
        means = {
            group: loss / number if number else None
            for group, loss, number in zip(TOKEN_GROUPS, by_group, numbers, strict=True)
        }
        return Losses(total_loss / counted, means, groups.size, self._whole(losses))

    def _share(self, rows: NDArray[Any]) -> NDArray[Any]:
        """What this process takes of a batch."""
        return rows

    def _begin_micro_batch(self, *, last: bool) -> None:
        """What must be done before each micro-batch; `last` of its batch."""

    def _sum(self, sums: Tensor) -> None:
        """Add what the other processes have to sums over this one's share, in place."""

    def _whole(self, share: Tensor) -> Tensor:
        """The rows of the whole batch, where each process has its share of them."""
        return share

    def _on_device(self, values: NDArray[Any]) -> Tensor:
        """The values there, in a copy that a GPU makes while the host goes on."""
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)

    def _loss(self, inputs: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Of a micro-batch (S, L): the weighted sum of its cross entropies over the padded vocabulary, and those."""
        with autocast(self._precision, self._device):
            hidden = self.model.gpt_neox(inputs, use_cache=False).last_hidden_state
        total, losses = head_loss(
            hidden.flatten(0, 1),
            self.model.get_output_embeddings().weight,
            labels.flatten(),
            weights.flatten(),
            dtype=DTYPES[self._precision],
            chunk=chunk_tokens(self.model.config.vocab_size, self._device),
            logit_gradient=self._logit_gradient,
        )
        return total, losses.view_as(labels)

    def unscaled_gradient_norm(self) -> float:
        """Global L2 norm of the gradients, which lose their loss scale; not finite after an overflow."""
        if self._unscaling != 1.0:
            gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
            torch._foreach_mul_(gradients, self._unscaling)
        self._norm = gradient_norm(self.model, self._recipe)
        return self._norm.item()

    def update(self) -> None:
        """Clip the gradients and make one update."""
        clip_grads_with_norm_(self.model.parameters(), self._recipe.gradient_clipping, self._norm)
        set_learning_rate(self._optimizer, self.learning_rate)
        self._optimizer.step()
        self.drop_gradients()
        self.updates += 1
        if self.scaler:
            self.scaler.update(overflow=False)

    def skip(self) -> None:
        """Make no update, because the fp16 gradients overflowed: the data is consumed, the schedule stands still."""
        assert self.scaler is not None
        self.drop_gradients()
        self.scaler.update(overflow=True)

    def drop_gradients(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)

    def checkpoint(self, start: Checkpoint, *, step: int) -> Checkpoint:
        """All that is needed to go on from here; its tensors are those of the training itself."""
        state = optimizer_state(self.model, self._optimizer, updates=self.updates)
        scaler_state = self.scaler.state() if self.scaler else {}
        return Checkpoint(self.model, start.tokenizer, state, scaler_state, step, start.path)
