"""Continue a checkpoint's pre-training. Position, batch and learning rate are functions of the step."""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from training.checkpoint import Checkpoint, load_checkpoint, prune_checkpoints, save_checkpoint, saved_steps
from training.flops import flops_per_token, peak_flops_per_s
from training.journal import Journal
from training.optimizer import make_optimizer, optimizer_state, restore_optimizer, set_learning_rate
from training.precision import Precision, mixed_precision
from training.recipe import Recipe, learning_rate


@dataclass(frozen=True)
class Batch:
    """The rows of one step. `S` sequences of `L + 1` tokens.

    Attributes:
        tokens: (S, L + 1) ids; the first L are inputs, the last L labels.
        marked: (S, L + 1) tokens whose loss is reported apart, as `loss_swapped`.
        record: what the step's line in the journal says of the batch.
    """

    tokens: NDArray[np.integer[Any]]
    marked: NDArray[np.bool_]
    record: dict[str, Any]


def train(
    start: Checkpoint,
    *,
    stop: int,
    batch_at: Callable[[int], Batch],
    recipe: Recipe,
    precision: Precision,
    micro_batch: int,
    device: torch.device,
    checkpoints: Path,
    save_at: Collection[int],
    keep: int | None,
    journal: Path,
    description: str,
) -> Checkpoint:
    """Train from `start`, or from the latest checkpoint in `checkpoints`, until `stop` updates are made.

    Args:
        start: where the arm begins. Without an optimizer state its moments are zeros and the bias correction restarts.
        stop: the step of the last checkpoint, which is always saved.
        batch_at: the batch of a step: a pure function, so that a resumed run sees what an uninterrupted one would.
        recipe: schedule, optimizer and batch size.
        precision: of the arithmetic: fp32, bf16 or fp16. Weights and moments are fp32.
        micro_batch: sequences per forward pass.
        checkpoints: directory of the arm's `step<N>` checkpoints.
        save_at: steps to save, apart from `stop`.
        keep: latest checkpoints to keep; None keeps all.
        journal: path of the arm's `.jsonl`. In its lines `step` is the batch's: that update makes checkpoint step + 1.
        description: what the progress bar calls this.

    Returns:
        The checkpoint at `stop`.

    Raises:
        UserError: the journal does not go with the checkpoints.
        FloatingPointError: the loss is not a number in a precision that has no loss scaling to recover by.
    """
    done = saved_steps(checkpoints)
    checkpoint = load_checkpoint(checkpoints, step=done[-1]) if done else start
    model = checkpoint.on(device)
    model.train()
    optimizer = make_optimizer(model, recipe)
    updates = checkpoint.step
    if checkpoint.optimizer_state is not None:
        restore_optimizer(model, optimizer, checkpoint.optimizer_state)
        updates = checkpoint.optimizer_state.updates
    numerics = mixed_precision(precision, device)
    if checkpoint.scaler_state:
        numerics.scaler.load_state_dict(checkpoint.scaler_state)

    def save(step: int) -> None:
        save_checkpoint(
            checkpoints,
            step=step,
            model=model,
            tokenizer=checkpoint.tokenizer,
            state=optimizer_state(model, optimizer, updates=updates),
            scaler_state=numerics.scaler.state_dict(),
        )
        if keep is not None:
            prune_checkpoints(checkpoints, keep=keep)

    peak = peak_flops_per_s(device)
    steps = tqdm(range(checkpoint.step, stop), description, unit="step", disable=None, dynamic_ncols=True)
    with Journal(journal, start=start.step, step=checkpoint.step) as log:
        if checkpoint is start and start.step in save_at:
            save(start.step)
        for step in steps:
            started = time.perf_counter()
            batch = batch_at(step)
            rate = learning_rate(updates, recipe)
            set_learning_rate(optimizer, rate)

            tokens = torch.from_numpy(batch.tokens.astype(np.int64))
            marked = torch.from_numpy(batch.marked[:, 1:])
            predictions = tokens[:, 1:].numel()
            loss_sum = torch.zeros((), device=device)
            marked_loss_sum = torch.zeros((), device=device)
            for rows, marks in zip(tokens.split(micro_batch), marked.split(micro_batch), strict=True):
                inputs, labels = rows[:, :-1].to(device), rows[:, 1:].to(device)
                with numerics.autocast():
                    hidden = model.gpt_neox(inputs, use_cache=False).last_hidden_state
                    logits = model.get_output_embeddings()(hidden)
                losses = cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none")
                numerics.scaler.scale(losses.sum() / predictions).backward()
                loss_sum += losses.detach().sum()
                marked_loss_sum += losses.detach()[marks.flatten().to(device)].sum()

            numerics.scaler.unscale_(optimizer)
            grad_norm = clip_grad_norm_(model.parameters(), recipe.gradient_clipping)
            scale_before = numerics.scaler.get_scale()
            numerics.scaler.step(optimizer)
            numerics.scaler.update()
            optimizer.zero_grad(set_to_none=True)

            loss = loss_sum.item() / predictions
            num_marked = int(marked.sum())
            skipped = numerics.scaler.get_scale() < scale_before
            updates += not skipped
            if not math.isfinite(loss) and not numerics.scaler.is_enabled():
                raise FloatingPointError(f"the loss of step {step} is {loss}, the gradient norm {grad_norm.item()}")
            tokens_per_s = predictions / (time.perf_counter() - started)
            log.append(
                {
                    "step": step,
                    "loss": _finite(loss),
                    "loss_swapped": _finite(marked_loss_sum.item() / num_marked) if num_marked else None,
                    "loss_other": _finite((loss_sum - marked_loss_sum).item() / (predictions - num_marked)),
                    "lr": rate,
                    "grad_norm": _finite(grad_norm.item()),
                    "tokens_per_s": tokens_per_s,
                    "mfu": tokens_per_s * flops_per_token(model, tokens.shape[1] - 1) / peak if peak else None,
                    "skipped": skipped,
                    **batch.record,
                }
            )
            steps.set_postfix(loss=f"{loss:.3f}", tokens_per_s=f"{tokens_per_s:,.0f}", refresh=False)
            if step + 1 == stop or step + 1 in save_at:
                log.sync()
                save(step + 1)
    state = optimizer_state(model, optimizer, updates=updates)
    return Checkpoint(
        model, checkpoint.tokenizer, state, numerics.scaler.state_dict(), stop, checkpoints / f"step{stop}"
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
