"""Reads the checkpoints that GPT-NeoX v1.0 (DeeperSpeed 0.3.15) wrote: weights, fp32 masters and Adam's moments."""

from training.neox.architecture import NeoxArchitecture
from training.neox.conversion import make_model, neox_config, write_transformers
from training.neox.layout import Parameter, parameters
from training.neox.reader import NeoxCheckpoint, neox_steps, read_neox

__all__ = [
    "NeoxArchitecture",
    "NeoxCheckpoint",
    "Parameter",
    "make_model",
    "neox_config",
    "neox_steps",
    "parameters",
    "read_neox",
    "write_transformers",
]
