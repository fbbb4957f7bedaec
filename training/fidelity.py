"""How near a continuation comes to the true one."""

from dataclasses import dataclass

import torch
from transformers import GPTNeoXForCausalLM


@dataclass(frozen=True)
class Fidelity:
    """How far weights are from the true ones.

    Attributes:
        bitwise_equal: every weight is the true one.
        distance: L2 distance of the weights from the true ones, over how far the true ones moved since the start; None
            where those have not moved.
    """

    bitwise_equal: bool
    distance: float | None


def fidelity(start: GPTNeoXForCausalLM, continued: GPTNeoXForCausalLM, true: GPTNeoXForCausalLM) -> Fidelity:
    """Compare the weights of a continuation from `start` with the true later checkpoint."""
    missed = moved = 0.0
    bitwise_equal = True
    for name, truth in true.state_dict().items():
        found, origin = continued.state_dict()[name].cpu(), start.state_dict()[name].cpu()
        bitwise_equal = bitwise_equal and torch.equal(found, truth)
        missed += (found.double() - truth.double()).square().sum().item()
        moved += (truth.double() - origin.double()).square().sum().item()
    return Fidelity(bitwise_equal, (missed / moved) ** 0.5 if moved else None)
