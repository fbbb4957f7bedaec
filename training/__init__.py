"""Checkpoints, optimizer state, schedule, precision, and the loop that continues pre-training."""

from training.checkpoint import Checkpoint, check_step, load_checkpoint, saved_steps
from training.fidelity import Fidelity, fidelity
from training.journal import read_journal
from training.loop import Batch, train
from training.precision import choose_device, choose_precision
from training.recipe import Recipe, learning_rate
from training.suite import Pretraining, checkpoint_steps, pretrained_suite

__all__ = [
    "Batch",
    "Checkpoint",
    "Fidelity",
    "Pretraining",
    "Recipe",
    "check_step",
    "checkpoint_steps",
    "choose_device",
    "choose_precision",
    "fidelity",
    "learning_rate",
    "load_checkpoint",
    "pretrained_suite",
    "read_journal",
    "saved_steps",
    "train",
]
