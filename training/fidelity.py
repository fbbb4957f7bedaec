"""How near a continuation comes to the true one."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div
from transformers import GPTNeoXForCausalLM


@dataclass(frozen=True)
class Fidelity:
    """How far a continued model is from the true later one.

    Attributes:
        bitwise_equal: every weight is the true one.
        distance: L2 distance of the weights from the true ones, over how far the true ones moved since the start; None
            where those have not moved.
        worst_distance: the largest such ratio of a single parameter tensor.
        worst_parameter: its name.
        loss: mean cross entropy of the continued model on the held-out rows, in nats.
        true_loss: of the true model.
        mean_token_kl: mean over the held-out predictions of KL(true || continued), in nats.
    """

    bitwise_equal: bool
    distance: float | None
    worst_distance: float | None
    worst_parameter: str | None
    loss: float
    true_loss: float
    mean_token_kl: float


def fidelity(
    start: GPTNeoXForCausalLM,
    continued: GPTNeoXForCausalLM,
    true: GPTNeoXForCausalLM,
    *,
    rows: NDArray[np.integer],
) -> Fidelity:
    """Compare a continuation with the true later checkpoint.

    Args:
        start: the model that both began as.
        continued: on any device; `true` is moved to it.
        rows: (S, L + 1) tokens that neither has been trained on.
    """
    device = continued.device
    missed: dict[str, float] = {}
    moved: dict[str, float] = {}
    found = continued.state_dict()
    truth = true.state_dict()
    origin = start.state_dict()
    for name, value in truth.items():
        missed[name] = _squared_distance(found[name], value)
        moved[name] = _squared_distance(value, origin[name])
    ratios = {name: (missed[name] / moved[name]) ** 0.5 for name in truth if moved[name]}
    worst = max(ratios, key=ratios.__getitem__, default=None)
    true.to(device)  # type: ignore[arg-type]  # transformers' wrapper takes `self` for the argument
    loss, true_loss, mean_token_kl = _compare_predictions(continued, true, rows)
    return Fidelity(
        bitwise_equal=all(torch.equal(found[name].cpu(), value.cpu()) for name, value in truth.items()),
        distance=(sum(missed.values()) / sum(moved.values())) ** 0.5 if ratios else None,
        worst_distance=ratios[worst] if worst else None,
        worst_parameter=worst,
        loss=loss,
        true_loss=true_loss,
        mean_token_kl=mean_token_kl,
    )


def _squared_distance(one: Tensor, other: Tensor) -> float:
    return (one.detach().cpu().double() - other.detach().cpu().double()).square().sum().item()


@torch.inference_mode()
def _compare_predictions(
    continued: GPTNeoXForCausalLM, true: GPTNeoXForCausalLM, rows: NDArray[np.integer]
) -> tuple[float, float, float]:
    sums = np.zeros(3)
    for row in torch.from_numpy(rows.astype(np.int64)).to(continued.device):
        inputs, labels = row[None, :-1], row[1:]
        log_q, log_p = (
            model.eval()(inputs, use_cache=False).logits[0].float().log_softmax(-1) for model in (continued, true)
        )
        divergence = kl_div(log_q, log_p, reduction="sum", log_target=True)
        sums += [
            cross_entropy(log_q, labels, reduction="sum").item(),
            cross_entropy(log_p, labels, reduction="sum").item(),
            divergence.item(),
        ]
    loss, true_loss, mean_token_kl = sums / rows[:, 1:].size
    return loss, true_loss, mean_token_kl
