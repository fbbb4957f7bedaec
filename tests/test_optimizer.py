import copy

import pytest
import torch

from foundation import UserError
from test_recipe import pythia
from training.optimizer import OptimizerState, make_optimizer, optimizer_state, restore_optimizer


def test_matrices_decay_and_biases_and_norms_do_not(tiny_model):
    decayed, not_decayed = make_optimizer(tiny_model, pythia()).param_groups
    names = {parameter: name for name, parameter in tiny_model.named_parameters()}
    assert decayed["weight_decay"] == 0.1
    assert not_decayed["weight_decay"] == 0.0
    layer = "gpt_neox.layers.0."
    assert {names[parameter] for parameter in decayed["params"] if ".layers.1." not in names[parameter]} == {
        "gpt_neox.embed_in.weight",
        layer + "attention.query_key_value.weight",
        layer + "attention.dense.weight",
        layer + "mlp.dense_h_to_4h.weight",
        layer + "mlp.dense_4h_to_h.weight",
        "lm_head.weight",
    }
    assert all(parameter.ndim == 1 for parameter in not_decayed["params"])
    assert len(decayed["params"]) + len(not_decayed["params"]) == len(names)


def test_an_update_is_the_documented_fused_adam_update():
    """DeeperSpeed `multi_tensor_adam.cu`: p -= lr (mhat / (sqrt(vhat) + eps) + wd p), in fp64."""
    recipe = pythia(3e-4)
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(5, 4, dtype=torch.float64))
    expected = parameter.detach().clone()
    optimizer = torch.optim.AdamW([parameter], lr=recipe.lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True)
    m = v = torch.zeros_like(expected)
    for step in range(1, 6):
        gradient = torch.randn_like(expected)
        m, v = 0.9 * m + 0.1 * gradient, 0.95 * v + 0.05 * gradient**2
        mhat, vhat = m / (1 - 0.9**step), v / (1 - 0.95**step)
        expected = expected - recipe.lr * (mhat / (vhat.sqrt() + 1e-8) + 0.1 * expected)
        parameter.grad = gradient
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=1e-12)


def one_update(model, optimizer):
    model(torch.arange(12).reshape(2, 6)).logits.square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_restored_optimizer_goes_on_as_if_never_stopped(tiny_model):
    model = copy.deepcopy(tiny_model)
    optimizer = make_optimizer(model, pythia(1e-3))
    one_update(model, optimizer)
    twin = copy.deepcopy(model)
    twin_optimizer = make_optimizer(twin, pythia(1e-3))
    restore_optimizer(twin, twin_optimizer, optimizer_state(model, optimizer, updates=1))
    one_update(model, optimizer)
    one_update(twin, twin_optimizer)
    for (name, parameter), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(parameter, other), name


def test_a_state_of_another_model_is_refused(tiny_model):
    state = OptimizerState(1, 1, {"gpt_neox.embed_in.weight": torch.zeros(1)}, {})
    with pytest.raises(UserError, match="not this model's"):
        restore_optimizer(tiny_model, make_optimizer(tiny_model, pythia()), state)


def test_before_any_update_the_moments_are_zeros(tiny_model):
    state = optimizer_state(tiny_model, make_optimizer(tiny_model, pythia()), updates=7)
    assert (state.updates, state.adam_step) == (7, 0)
    assert not any(moment.any() for moment in state.exp_avg.values())
