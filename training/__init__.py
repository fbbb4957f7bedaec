"""Checkpoints, optimizer state, schedule, precision, and the loop that continues pre-training."""

import foundation  # noqa: F401  # before torch is imported
from training.checkpoint import Checkpoint, check_step, check_stored, save_checkpoint, saved_steps, weights_sha256
from training.compilation import ActivationCheckpointing, choose_compile
from training.cost import H100_BYTES, ROOM, cost_lines, fitting_micro_batch, room_on
from training.distributed import check_processes, launcher, number_of_processes, processes
from training.fidelity import Fidelity, fidelity
from training.flops import ModelShape, stored_bytes
from training.journal import read_journal
from training.layouts import checkpoint_places
from training.loop import Diverged, train
from training.memory import memory_for_users
from training.numerics import Numerics, numerics_of, set_numerics
from training.optimizer import AdamStep, OptimizerState
from training.precision import Precision, autocast, choose_device, choose_precision
from training.pretraining import Pretraining, pretrained_suite, suite_made_with
from training.published import (
    check_not_v0,
    check_same_model,
    check_trained_precision,
    checkpoint_steps,
    published_repository,
)
from training.recipe import Recipe, learning_rate
from training.replay import ReplayMethod, ReplayPlan, plan_replay, replay, with_adam_step, without_moments
from training.suites import Architecture, Suite, check_architecture, check_tokenizer, load_checkpoint, open_suite
from training.token_losses import TokenLosses, spread
from training.tokenization import check_same_tokens, foreign_rows
from training.tracking import Tracker, check_tracker
from training.trainer import Batch, Sharding
from training.weights import check_finite

__all__ = [
    "H100_BYTES",
    "ROOM",
    "ActivationCheckpointing",
    "AdamStep",
    "Architecture",
    "Batch",
    "Checkpoint",
    "Diverged",
    "Fidelity",
    "ModelShape",
    "Numerics",
    "OptimizerState",
    "Precision",
    "Pretraining",
    "Recipe",
    "ReplayMethod",
    "ReplayPlan",
    "Sharding",
    "Suite",
    "TokenLosses",
    "Tracker",
    "autocast",
    "check_architecture",
    "check_finite",
    "check_not_v0",
    "check_processes",
    "check_same_model",
    "check_same_tokens",
    "check_step",
    "check_stored",
    "check_tokenizer",
    "check_tracker",
    "check_trained_precision",
    "checkpoint_places",
    "checkpoint_steps",
    "choose_compile",
    "choose_device",
    "choose_precision",
    "cost_lines",
    "fidelity",
    "fitting_micro_batch",
    "foreign_rows",
    "launcher",
    "learning_rate",
    "load_checkpoint",
    "memory_for_users",
    "number_of_processes",
    "numerics_of",
    "open_suite",
    "plan_replay",
    "pretrained_suite",
    "processes",
    "published_repository",
    "read_journal",
    "replay",
    "room_on",
    "save_checkpoint",
    "saved_steps",
    "set_numerics",
    "spread",
    "stored_bytes",
    "suite_made_with",
    "train",
    "weights_sha256",
    "with_adam_step",
    "without_moments",
]
