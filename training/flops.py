"""Arithmetic of a training step, for model FLOPs utilisation."""

import torch
from transformers import GPTNeoXForCausalLM

# dense bf16 peaks without sparsity, from the makers' data sheets
_PEAK_FLOPS_PER_S = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


def flops_per_token(model: GPTNeoXForCausalLM, seq_length: int) -> float:
    """6 (N_nonembedding + V d) + 12 L d T: forward and backward, the input embedding excluded, attention in full."""
    config = model.config
    body = sum(parameter.numel() for parameter in model.gpt_neox.layers.parameters())
    head = config.vocab_size * config.hidden_size
    return 6.0 * (body + head) + 12.0 * config.num_hidden_layers * config.hidden_size * seq_length


def peak_flops_per_s(device: torch.device) -> float | None:
    """bf16 peak of the device, None where it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in _PEAK_FLOPS_PER_S.items() if part in name), None)
