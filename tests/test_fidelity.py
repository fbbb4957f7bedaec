import copy

import numpy as np
import pytest
import torch

from training import fidelity

ROWS = np.random.default_rng(0).integers(1, 400, (3, 17)).astype(np.uint16)


@pytest.fixture
def models(tiny_model):
    """A start, a true end and a continuation that misses a quarter of the way in one tensor."""
    start, continued, true = (copy.deepcopy(tiny_model) for _ in range(3))
    with torch.no_grad():
        true.gpt_neox.final_layer_norm.bias[0] += 4.0
        continued.gpt_neox.final_layer_norm.bias[0] += 3.0
    return start, continued, true


def test_distance_is_that_of_the_weights_over_the_distance_moved(models):
    start, continued, true = models
    found = fidelity(start, continued, true, rows=ROWS)
    assert found.distance == pytest.approx(0.25)
    assert not found.bitwise_equal
    assert fidelity(start, true, copy.deepcopy(true), rows=ROWS).bitwise_equal
    assert fidelity(start, continued, start, rows=ROWS).distance is None


def test_the_worst_tensor_is_named(models):
    start, continued, true = models
    with torch.no_grad():
        true.gpt_neox.embed_in.weight += 1.0
        continued.gpt_neox.embed_in.weight += 1.0
    found = fidelity(start, continued, true, rows=ROWS)
    assert (found.worst_parameter, found.worst_distance) == (
        "gpt_neox.final_layer_norm.bias",
        pytest.approx(0.25),
    )
    assert found.distance < 0.05


def test_losses_and_divergence_are_means_over_all_predictions_of_the_held_out_rows(models):
    start, continued, true = models
    found = fidelity(start, continued, true, rows=ROWS)
    tokens = torch.from_numpy(ROWS.astype(np.int64))
    with torch.inference_mode():
        log_q, log_p = (model(tokens[:, :-1]).logits.double().log_softmax(-1) for model in (continued, true))
    losses = [-log.gather(-1, tokens[:, 1:, None]).mean().item() for log in (log_q, log_p)]
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1).mean().item()
    assert (found.loss, found.true_loss) == (pytest.approx(losses[0], rel=1e-5), pytest.approx(losses[1], rel=1e-5))
    assert found.mean_token_kl == pytest.approx(divergence, rel=1e-4)
    assert divergence > 1e-3
