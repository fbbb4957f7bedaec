"""What a training step takes, told without taking it."""

import pytest
import torch

from foundation import UserError
from training.cost import StepMemory, _tracked, cost_lines, fitting_micro_batch, room_on, step_memory
from training.flops import ModelShape, flops_per_token
from training.trainer import Sharding

TINY = ModelShape(layers=5, hidden=32, heads=4, vocab=256)
STEP = {"seq_length": 64, "micro_batch": 2, "precision": "fp32"}


def test_the_parameters_of_a_shape_are_those_of_the_model(tiny_model):
    shape = ModelShape.of(tiny_model.config)
    assert shape.parameters == sum(parameter.numel() for parameter in tiny_model.parameters())


@pytest.mark.parametrize(
    ("layers", "hidden", "vocab", "parameters"),
    [(6, 512, 50304, 70_426_624), (24, 2048, 50304, 1_414_647_808), (36, 5120, 50688, 11_846_072_320)],
)
def test_the_parameters_of_published_models_are_counted(layers, hidden, vocab, parameters):
    assert ModelShape(layers=layers, hidden=hidden, heads=8, vocab=vocab).parameters == parameters


def test_flops_of_a_token_worked_by_hand(tiny_model):
    # 6 (2 layers of 12 * 32^2 + 13 * 32 and a head of 512 * 32) + 12 * 2 * 32 * 100
    assert flops_per_token(tiny_model, 100) == 6 * (2 * (12_288 + 416) + 16_384) + 76_800


def test_two_small_models_tell_the_memory_of_a_deep_one():
    told = step_memory(TINY, **STEP)
    assert vars(told) == _tracked(TINY, activation_checkpointing="none", device="cuda", **STEP)


def test_weights_and_moments_are_those_of_fp32_adam():
    told = step_memory(TINY, **STEP)
    assert told.weights == pytest.approx(4 * TINY.parameters, rel=0.01)
    assert told.moments == pytest.approx(8 * TINY.parameters, rel=0.01)
    assert 0 < told.gradients <= 4 * TINY.parameters
    assert told.total == sum(vars(told).values())


def test_activations_grow_with_the_micro_batch_and_shrink_when_computed_again():
    one, two = (step_memory(TINY, **{**STEP, "micro_batch": size}).activations for size in (2, 4))
    assert two == pytest.approx(2 * one, rel=0.2)
    selective, full = (
        step_memory(TINY, **STEP, activation_checkpointing=how).activations for how in ("selective", "full")
    )
    assert full < selective < one


def test_the_plan_says_what_an_arm_takes():
    lines = dict(
        cost_lines(
            ModelShape(layers=2, hidden=32, heads=4, vocab=256),
            steps=10,
            sequences_per_step=8,
            activation_checkpointing="none",
            **STEP,
        )
    )
    assert lines["an arm"].startswith("5,120 tokens")
    assert "training.micro_batch=2, fp32" in lines["memory"]


def test_no_weight_is_made_to_tell_the_memory_of_a_large_model():
    model = ModelShape(layers=36, hidden=5120, heads=40, vocab=50688)
    told = step_memory(model, seq_length=16, micro_batch=1, precision="bf16")
    assert told.weights == pytest.approx(4 * 11_846_072_320, rel=0.01)


def test_a_micro_batch_is_halved_until_its_step_has_room(monkeypatch):
    def told(shape, *, micro_batch, **step):
        return StepMemory(weights=4, gradients=4, moments=8, activations=10 * micro_batch, transient=1)

    monkeypatch.setattr("training.cost.step_memory", told)
    step = {"seq_length": 64, "precision": "fp32"}
    assert fitting_micro_batch(TINY, most=6, room=77, **step) == 6
    assert fitting_micro_batch(TINY, most=6, room=76, **step) == 3
    assert fitting_micro_batch(TINY, most=6, room=46, **step) == 1
    with pytest.raises(UserError, match=r"takes 27 bytes on each device, but there is room for 26 bytes; set "):
        fitting_micro_batch(TINY, most=6, room=26, **step)


def test_devices_that_share_a_model_hold_their_shares_worked_by_hand():
    memory = StepMemory(weights=40, gradients=36, moments=80, activations=7, transient=1)
    assert memory.of_each(1, Sharding()) == memory.total == 164
    assert memory.of_each(4, Sharding()) == 120 // 4 + 40 + 36 + 8  # masters and moments are shared
    assert memory.of_each(4, Sharding(gather="layer")) == 120 // 4 + 36 // 4 + 8
    assert memory.of_each(1, Sharding(offload=True)) == 40 + 36 + 8
    assert memory.of_each(4, Sharding(gather="layer", offload=True)) == 8


def test_nothing_is_asked_of_a_cpu_s_memory():
    assert room_on(torch.device("cpu")) is None
