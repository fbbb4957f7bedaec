"""A GPT-NeoX checkpoint as a transformers model: in memory with fp32 masters, or on disk as EleutherAI published it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from foundation import UserError, atomic_directory, remedy_for
from training.neox.architecture import ROTARY_EMB_BASE, ROTARY_PCT, NeoxArchitecture
from training.neox.reader import NeoxCheckpoint
from training.weights import save_weights


def neox_config(architecture: NeoxArchitecture) -> GPTNeoXConfig:
    """What transformers makes the model from, as gpt-neox v1.0 `tools/convert_to_hf.py` did: its `gelu` is
    transformers' exact one, where training approximated it.
    """
    return GPTNeoXConfig(
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=architecture.num_layers,
        num_attention_heads=architecture.num_attention_heads,
        intermediate_size=architecture.intermediate_size,
        hidden_act="gelu",
        max_position_embeddings=architecture.max_position_embeddings,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
        use_parallel_residual=True,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": ROTARY_EMB_BASE,
            "partial_rotary_factor": ROTARY_PCT,
        },
    )


def _model(architecture: NeoxArchitecture, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> GPTNeoXForCausalLM:
    return GPTNeoXForCausalLM.from_pretrained(
        None, config=neox_config(architecture), state_dict=dict(tensors), dtype=dtype
    )


def make_model(checkpoint: NeoxCheckpoint) -> GPTNeoXForCausalLM:
    """A model on the CPU, in eval mode, whose parameters are copies of `checkpoint.masters` in fp32.

    `hidden_act` is "gelu" as the published conversions say. No random number is drawn.
    """
    return _model(
        checkpoint.architecture,
        {name: master.clone() for name, master in checkpoint.masters.items()},
        torch.float32,
    )


def write_transformers(checkpoint: NeoxCheckpoint, directory: Path) -> None:
    """Write the weights to `directory` as EleutherAI published its conversions: fp16, with `config.json`, no tokenizer.

    Weights in bf16 are cast to fp16, as there. The directory is written whole or not at all.

    Raises:
        UserError: the directory is there already, or cannot be written, as on a full disk.
    """
    if directory.exists():
        raise UserError(f"{directory} exists already; remove it or name another directory")
    model = _model(
        checkpoint.architecture,
        {name: weight.half() for name, weight in checkpoint.weights.items()},
        torch.float16,
    )
    with atomic_directory(directory) as aside:
        try:
            save_weights(model, aside)
        except SafetensorError as error:
            remedy = remedy_for(str(error)) or "make room and write it again"
            raise UserError(f"{directory} cannot be written ({error}); {remedy}") from error
