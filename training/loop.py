"""Continue a checkpoint's pre-training. Position, batch and learning rate are functions of the step."""

import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from foundation import Interrupted, UserError, atomic_directory, deferred_signals, remove_directory
from training.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    load_own_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    saved_steps,
    write_checkpoint,
)
from training.compilation import ActivationCheckpointing
from training.distributed import open_trainer
from training.flops import flops_per_token, peak_flops_per_s
from training.journal import Journal
from training.memory import memory_for_users, remedies_of_training
from training.numerics import numerics_of, set_numerics
from training.precision import Precision
from training.prefetch import prefetched
from training.recipe import Recipe
from training.token_losses import TokenLosses
from training.tracking import Tracker, tracking
from training.trainer import Batch, Losses, Sharding

log = logging.getLogger(__name__)


_EXPLODED = 2.0


class Diverged(UserError):
    """The loss or its gradient is no number, or the loss is far above that of guessing uniformly."""


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
    save_minutes: float | None = None,
    measure_at: Collection[int] = (),
    measure: Callable[[Checkpoint], object] | None = None,
    keep: int | None,
    journal: Path,
    token_losses: TokenLosses | None = None,
    tracker: Tracker = "none",
    description: str,
    compile: bool = False,  # noqa: A002  # the option's name
    activation_checkpointing: ActivationCheckpointing = "none",
    sharding: Sharding | None = None,
) -> Checkpoint:
    """Train from `start`, or from the latest whole checkpoint in `checkpoints`, until step `stop`.

    SIGTERM and SIGINT end it after the running micro-batch: the step is given up and what was before it is saved.

    Args:
        start: where the arm begins. Without an optimizer state its moments are zeros and the bias correction restarts.
        stop: the step of the last checkpoint, which is always saved.
        batch_at: the batch of a step: a pure function, so that a resumed run sees what an uninterrupted one would. A
            thread of its own calls it, for the next step while one trains.
        recipe: schedule, optimizer and batch size.
        precision: of the arithmetic: fp32, bf16 or fp16. Weights and moments are fp32.
        micro_batch: sequences per forward pass.
        checkpoints: directory of the arm's `step<N>` checkpoints.
        save_at: steps to save, apart from `stop`.
        save_minutes: save also when so many minutes have passed since it was last saved.
        measure_at: steps at which `measure` is called, and again where training that was killed comes there again.
        measure: what is done there with the checkpoint, whose tensors are those of the training itself: it leaves them
            and the model's device as they are.
        keep: latest checkpoints to keep; None keeps all.
        journal: path of the arm's `.jsonl`. In its lines `step` is the batch's: that update makes checkpoint step + 1.
            `data_stall_s` is how long its batch was waited for, in seconds.
        token_losses: where to keep the losses of single predictions too.
        tracker: what shows the journal's lines besides; its files lie in `tracker`, beside the journal's directory.
        description: what the progress bar and messages call this.
        compile: whether the layers and the loss run as compiled code.
        activation_checkpointing: what a layer computes again in backward: see `training.compilation.layer_calls`.
        sharding: how several devices, or one and the machine's memory, share the model; None: as `Sharding()` says.

    Returns:
        The checkpoint at `stop`.

    Raises:
        Diverged: the loss or gradient is no number, where loss scaling cannot mend it, or the loss exploded. What was
            before that step is kept in `checkpoints/diverged`, with the batch.
        Interrupted: on a signal, when all is saved.
        UserError: the journal does not go with the checkpoints, the disk is full, or a step does not fit the memory.
    """
    checkpoint = _latest_whole(checkpoints) or start
    if checkpoint is not start:
        set_numerics(checkpoint.model, **asdict(numerics_of(start.model)))
    last_saved = None if checkpoint is start else checkpoint.step
    last_saved_at = time.monotonic()
    peak = peak_flops_per_s(device)
    opened = open_trainer(
        checkpoint,
        recipe=recipe,
        precision=precision,
        micro_batch=micro_batch,
        device=device,
        sharding=sharding or Sharding(),
        compile=compile,
        activation_checkpointing=activation_checkpointing,
    )
    steps = tqdm(range(checkpoint.step, stop), description, unit="step", disable=None, dynamic_ncols=True)
    with (
        memory_for_users(description, remedy=remedies_of_training(micro_batch)),
        opened as trainer,
        Journal(journal, start=start.step, step=checkpoint.step) as lines,
        tracking(tracker, journal.parent.parent, arm=journal.stem, step=checkpoint.step) as track,
        deferred_signals(patient=trainer.processes > 1) as received_here,
        prefetched(batch_at, stop=stop) as batch_of,
    ):
        received = trainer.heed(received_here)

        def save(step: int) -> None:
            nonlocal last_saved, last_saved_at
            if step != last_saved:
                lines.sync()
                save_checkpoint(checkpoints, trainer.checkpoint(start, step=step))
                if keep is not None:
                    prune_checkpoints(checkpoints, keep=keep)
            last_saved, last_saved_at = step, time.monotonic()

        if checkpoint is start and start.step in save_at:
            save(start.step)
        trained_s, stalled_s = 0.0, 0.0
        for step in steps:
            began = time.perf_counter()
            batch = batch_of(step)
            stalled = time.perf_counter() - began
            rate, scale = trainer.learning_rate, trainer.loss_scale
            losses = trainer.backward(batch, give_up=lambda: received() is not None)
            if losses is None:
                save(step)
                break
            grad_norm = trainer.unscaled_gradient_norm()
            skipped = trainer.can_skip and not math.isfinite(grad_norm)
            if not skipped and (reason := _divergence(losses, grad_norm, trainer.model.config.vocab_size)):
                kept = _keep_for_inspection(checkpoints, trainer.checkpoint(start, step=step), batch)
                raise Diverged(
                    f"{description}: step {step} {reason}: loss {losses.mean:g}, gradient norm {grad_norm:g}, learning "
                    f"rate {rate:g}; what was before it and its batch {kept}; try another training.precision or a "
                    f"lower training.lr, and make sure that Adam's moments are those of this checkpoint "
                    f"(optimizer_state=replay makes them anew)"
                )
            if skipped:
                trainer.skip()
            else:
                trainer.update()
            tokens_per_s = losses.predictions / (time.perf_counter() - began)
            flops = flops_per_token(trainer.model, batch.tokens.shape[1] - 1)
            line = {
                "step": step,
                "loss": _finite(losses.mean),
                **{f"loss_{group}": _finite(loss) for group, loss in losses.by_group.items()},
                "lr": rate,
                "grad_norm": _finite(grad_norm),
                "loss_scale": scale if trainer.scaler else None,
                "skipped": skipped,
                "tokens_per_s": tokens_per_s,
                "data_stall_s": stalled,
                "mfu": tokens_per_s * flops / (peak * trainer.processes) if peak else None,
                **batch.record,
            }
            lines.append(line)
            track(line)
            if token_losses is not None:
                token_losses.write(step, losses.by_token)
            trained_s, stalled_s = trained_s + time.perf_counter() - began, stalled_s + stalled
            shown = {"loss": f"{losses.mean:.3f}", "tokens_per_s": f"{tokens_per_s:,.0f}"}
            shown |= {"mfu": f"{line['mfu']:.0%}"} if peak else {}
            shown |= {"data_stall": f"{stalled_s / trained_s:.1%}"}
            steps.set_postfix(shown, refresh=False)
            if measure is not None and step + 1 in measure_at:
                measure(trainer.checkpoint(start, step=step + 1))
            overdue = save_minutes is not None and time.monotonic() - last_saved_at >= 60 * save_minutes
            if step + 1 == stop or step + 1 in save_at or overdue:
                save(step + 1)
        if signum := received():
            raise Interrupted(signum)
        return trainer.checkpoint(start, step=stop)


def _latest_whole(checkpoints: Path) -> Checkpoint | None:
    """The latest checkpoint that is what was saved. Damaged ones are put aside."""
    for step in reversed(saved_steps(checkpoints)):
        try:
            return load_own_checkpoint(checkpoints / f"step{step}")
        except DamagedCheckpoint as error:
            aside = checkpoints / f"damaged-step{step}"
            if aside.exists():
                remove_directory(aside)
            (checkpoints / f"step{step}").rename(aside)
            log.warning("%s; put aside as %s, going on from the one before it", error, aside.name)
    return None


def _divergence(losses: Losses, grad_norm: float, vocab_size: int) -> str | None:
    """What is wrong with a step that must not be taken."""
    if not (math.isfinite(losses.mean) and math.isfinite(grad_norm)):
        return "has a loss or gradient that is no number"
    if losses.mean > _EXPLODED * math.log(vocab_size):
        return f"has a loss above {_EXPLODED:g} ln V = {_EXPLODED * math.log(vocab_size):.1f}, far worse than guessing"
    return None


def _keep_for_inspection(checkpoints: Path, checkpoint: Checkpoint, batch: Batch) -> str:
    """Keep what a step that must not be taken began with; the answer says where, or why it could not be kept."""
    path = checkpoints / "diverged" / f"step{checkpoint.step}"
    if path.exists():
        remove_directory(path)
    try:
        with atomic_directory(path) as aside:
            write_checkpoint(aside, checkpoint)
            np.save(aside / "batch.npy", batch.tokens)
    except (OSError, UserError) as error:
        return f"could not be kept ({error})"
    return f"are kept in {path}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
