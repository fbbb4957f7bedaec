import copy

import pytest
import torch

from foundation import UserError
from test_recipe import pythia
from training.optimizer import (
    OptimizerState,
    gradient_norm,
    make_optimizer,
    optimizer_state,
    restore_optimizer,
    set_learning_rate,
)


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
    optimizer = make_optimizer(tiny_model, pythia())
    state = OptimizerState(1, 1, {"gpt_neox.embed_in.weight": torch.zeros(1)}, {})
    with pytest.raises(UserError, match="not this model's: 27 names differ"):
        restore_optimizer(tiny_model, optimizer, state)
    zeros = {name: torch.zeros_like(value) for name, value in tiny_model.named_parameters()}
    other = zeros | {"lm_head.weight": torch.zeros(3, 5)}
    with pytest.raises(UserError, match=r"lm_head.weight has shape \(3, 5\) there, \(512, 32\) here"):
        restore_optimizer(tiny_model, optimizer, OptimizerState(1, 1, zeros, other))


def test_before_any_update_the_moments_are_zeros(tiny_model):
    state = optimizer_state(tiny_model, make_optimizer(tiny_model, pythia()), updates=7)
    assert (state.updates, state.adam_step) == (7, 0)
    assert not any(moment.any() for moment in state.exp_avg.values())


def with_gradients(model, *, seed=0):
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


def test_the_gradient_norm_is_torchs(tiny_model):
    model = with_gradients(tiny_model)
    expected = torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])
    assert torch.equal(gradient_norm(model, pythia()), expected)


def test_on_several_tensor_parallel_ranks_what_is_replicated_counts_once_a_rank(tiny_model):
    """Two ranks worked by hand: split tensors once, layer norms and summed biases, which each rank holds, twice."""
    model = with_gradients(tiny_model)
    squares = 0.0
    for name, parameter in model.named_parameters():
        held_by = 2 if "norm" in name or name.endswith(("attention.dense.bias", "dense_4h_to_h.bias")) else 1
        squares += held_by * parameter.grad.double().square().sum().item()
    assert gradient_norm(model, pythia(model_parallel_size=2)).item() == pytest.approx(squares**0.5, rel=1e-6)


def test_a_bias_that_is_summed_over_ranks_moves_as_the_sum_of_its_copies_does(tiny_model):
    """Each of four ranks holds a quarter of the bias, gets the same gradient and makes its own Adam step."""
    recipe = pythia(1e-2, model_parallel_size=4)
    model = with_gradients(tiny_model)
    bias = model.gpt_neox.layers[1].mlp.dense_4h_to_h.bias
    weight = model.gpt_neox.layers[1].mlp.dense_4h_to_h.weight
    copies = [torch.nn.Parameter(bias.detach() / 4) for _ in range(4)]
    for each in copies:
        each.grad = bias.grad.clone()
    expected = torch.optim.AdamW(copies, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    alone = torch.nn.Parameter(weight.detach().clone())
    alone.grad = weight.grad.clone()
    reference = torch.optim.AdamW([alone], lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    optimizer = make_optimizer(model, recipe)
    for _ in range(3):
        set_learning_rate(optimizer, 1e-2)
        optimizer.step()
        expected.step()
        reference.step()
    torch.testing.assert_close(bias.detach(), sum(each.detach() for each in copies), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(weight.detach(), alone.detach(), rtol=1e-5, atol=1e-7)
