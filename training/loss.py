"""The output layer and its cross entropy in one, so that the logits of all tokens never stand in memory together."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits held at once: on a GPU a product that fills the machine, on a CPU what its caches hold.
_CHUNK_LOGITS = {"cuda": 2**28, "cpu": 2**19}
_FEWEST_TOKENS = 128

LogitGradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def chunk_tokens(vocab: int, device: torch.device) -> int:
    """Tokens whose logits are held at once."""
    return max(_FEWEST_TOKENS, _CHUNK_LOGITS.get(device.type, _CHUNK_LOGITS["cpu"]) // vocab)


def logit_gradient(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropies, and the gradient of their weighted sum with respect to the logits.

    Args:
        logits: (n, V), in the format of the arithmetic. What follows from them is computed in fp32.
        labels: (n,) ids.
        weights: (n,) of the losses in the sum, fp32.

    Returns:
        The losses (n,) in nats, fp32, and the gradient (n, V) in the format of the logits; it takes the place of
        logits in fp32.
    """
    scores, labels = logits.float(), labels[:, None]
    scores -= scores.amax(1, keepdim=True)
    of_labels = scores.gather(1, labels)
    total = scores.exp_().sum(1, keepdim=True)
    scores *= weights[:, None] / total
    scores.scatter_add_(1, labels, -weights[:, None])
    return (total.log() - of_labels)[:, 0], scores.to(logits.dtype)


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
    @once_differentiable
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = ctx.saved_tensors
        of_total = of_outputs[0]
        return of_hidden.mul_(of_total), of_weight.mul_(of_total), None, None, None, None, None
