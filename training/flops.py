"""Arithmetic of a training step, for model FLOPs utilisation."""

from dataclasses import dataclass

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

_MASK_BYTES = 2048**2

# dense bf16 peaks without sparsity, from the makers' data sheets
_PEAK_FLOPS_PER_S = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What decides the cost of a GPT-NeoX model."""

    layers: int
    hidden: int
    heads: int
    vocab: int

    @classmethod
    def of(cls, config: GPTNeoXConfig) -> "ModelShape":
        """The shape of a model that transformers describes."""
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            vocab=config.vocab_size,
        )

    def configuration(self, seq_length: int) -> GPTNeoXConfig:
        """Of a model of this shape for rows of so many tokens, otherwise as transformers makes one."""
        return GPTNeoXConfig(
            vocab_size=self.vocab,
            hidden_size=self.hidden,
            intermediate_size=4 * self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=seq_length,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
            use_cache=False,
        )

    @property
    def layer_parameters(self) -> int:
        """Of one layer: four matrices, 12 d^2; their biases, 9 d; two layer norms, 4 d."""
        return 12 * self.hidden**2 + 13 * self.hidden

    @property
    def parameters(self) -> int:
        """All: both embeddings, the layers, the last layer norm."""
        return 2 * self.vocab * self.hidden + self.layers * self.layer_parameters + 2 * self.hidden

    def flops_per_token(self, seq_length: int) -> float:
        """6 (N_nonembedding + V d) + 12 L d T: forward and backward, no input embedding, attention in full."""
        body = self.layers * self.layer_parameters
        return 6.0 * (body + self.vocab * self.hidden) + 12.0 * self.layers * self.hidden * seq_length


def stored_bytes(shape: ModelShape) -> int:
    """Bytes of a checkpoint as Pythia's are published: fp16, and with each layer its mask of 2048 x 2048 bytes."""
    return 2 * shape.parameters + shape.layers * _MASK_BYTES


def flops_per_token(model: GPTNeoXForCausalLM, seq_length: int) -> float:
    """As `ModelShape.flops_per_token`."""
    return ModelShape.of(model.config).flops_per_token(seq_length)


def peak_flops_per_s(device: torch.device) -> float | None:
    """bf16 peak of the device, None where it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in _PEAK_FLOPS_PER_S.items() if part in name), None)
