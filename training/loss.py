"""The output layer and its cross entropy in one, so that the logits of all tokens never stand in memory together."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Tokens whose logits are held at once. On a GPU a product of 4,096 rows fills the machine; on a CPU fewer stay nearer.
_CHUNK_TOKENS = {"cuda": 4096, "cpu": 1024}

LogitGradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def chunk_tokens(device: torch.device) -> int:
    """Tokens whose logits are held at once."""
    return _CHUNK_TOKENS.get(device.type, _CHUNK_TOKENS["cpu"])


def logit_gradient(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropies, and the gradient of their weighted sum with respect to the logits.

    Args:
        logits: (n, V), in the format of the arithmetic. What follows from them is computed in fp32.
        labels: (n,) ids.
        weights: (n,) of the losses in the sum, fp32.

    Returns:
        The losses (n,) in nats, fp32, and the gradient (n, V) in the format of the logits.
    """
    log_probabilities = torch.log_softmax(logits.float(), dim=-1)
    labels = labels[:, None]
    losses = -log_probabilities.gather(1, labels)
    gradient = log_probabilities.exp().scatter_add(1, labels, torch.full_like(losses, -1.0))
    return losses[:, 0], (gradient * weights[:, None]).to(logits.dtype)


def head_loss(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    weights: Tensor,
    *,
    dtype: torch.dtype,
    chunk: int,
    logit_gradient: LogitGradient = logit_gradient,
) -> tuple[Tensor, Tensor]:
    """Cross entropies of a layer without bias, `chunk` tokens after another; their gradients are made on the way.

    It equals `cross_entropy(linear(hidden, weight).float(), labels)` under autocast to `dtype`. Each chunk's logits are
    made, turned into the gradients of the hidden states and of the weight, and dropped: nothing is computed twice, and
    beside the weight's gradient and its copy in `dtype` only the logits of one chunk take room. In half precision each
    chunk's part of the weight's gradient is rounded to `dtype` before the parts are added in fp32; autocast rounds
    their sum once.

    Args:
        hidden: (n, d) states in any format.
        weight: (V, d) in fp32.
        labels: (n,) ids.
        weights: (n,) of the losses in the sum, fp32; a loss scale belongs into them, since gradients are rounded here.
        dtype: of the products.
        chunk: tokens whose logits are held at once.
        logit_gradient: the function of this name, or what a compiler made of it.

    Returns:
        The weighted sum of the losses, from which `backward` goes, and the losses (n,) in nats, without a gradient.
    """
    apply: Callable[..., tuple[Tensor, Tensor]] = _HeadLoss.apply
    return apply(hidden, weight, labels, weights, dtype, chunk, logit_gradient)


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor,
        weights: Tensor,
        dtype: torch.dtype,
        chunk: int,
        logit_gradient: LogitGradient,
    ) -> tuple[Tensor, Tensor]:
        states, matrix = hidden.to(dtype), weight.to(dtype)
        of_hidden, of_weight = torch.empty_like(states), torch.zeros_like(weight)
        losses = torch.empty_like(weights)
        for first in range(0, len(states), chunk):
            part = slice(first, first + chunk)
            logits = torch.mm(states[part], matrix.t())
            losses[part], gradient = logit_gradient(logits, labels[part], weights[part])
            del logits  # before the products, which need the room
            torch.mm(gradient, matrix, out=of_hidden[part])
            if dtype == weight.dtype:
                of_weight.addmm_(gradient.t(), states[part])
            else:
                of_weight += torch.mm(gradient.t(), states[part])
        ctx.save_for_backward(of_hidden.to(hidden.dtype), of_weight)
        ctx.mark_non_differentiable(losses)
        return torch.dot(losses, weights), losses

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = ctx.saved_tensors
        of_total = of_outputs[0]
        return of_hidden * of_total, of_weight * of_total, None, None, None, None, None
