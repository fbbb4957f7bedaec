import math

import pytest

from foundation import UserError
from training import Recipe, learning_rate


def pythia(lr=1.0, **changes):
    values = {
        "lr": lr,
        "min_lr": 0.1 * lr,
        "lr_schedule": "neox_v1",
        "warmup": 0.01,
        "lr_decay_iters": 143000,
        "weight_decay": 0.1,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "adam_eps": 1e-8,
        "gradient_clipping": 1.0,
        "sequences_per_step": 1024,
        "model_parallel_size": 1,
    }
    return Recipe(**values | changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_lr", 2.0),
        ("lr_schedule", "cosine"),
        ("warmup", 1430.0),
        ("warmup", -0.01),
        ("lr_decay_iters", 0),
        ("weight_decay", -0.1),
        ("adam_beta1", 1.0),
        ("adam_beta2", 1.0),
        ("adam_eps", 0.0),
        ("gradient_clipping", 0.0),
        ("gradient_clipping", -1.0),
        ("sequences_per_step", 0),
        ("model_parallel_size", 0),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name, value):
    with pytest.raises(UserError, match=f"{name}={value}, but it must be "):
        pythia(**{name: value})


@pytest.mark.parametrize(
    ("updates", "multiple"),
    [
        (0, 0.0),
        (1, 0.000699),
        (1430, 1.0),
        (10000, 0.99116),
        (36000, 0.86260),
        (66500, 0.57040),
        (100000, 0.21987),
        (113000, 0.11453),
        (115000, 0.10092),
        (115138, 0.100006),
        (115139, 0.1),
        (120000, 0.1),
        (133000, 0.1),
        (142999, 0.1),
    ],
)
def test_the_schedule_is_the_one_that_pythia_had(updates, multiple):
    assert learning_rate(updates, pythia()) == pytest.approx(multiple, abs=6e-6)


@pytest.mark.parametrize(
    ("updates", "multiple"),
    [
        (0, 0.0),
        (1, 0.000699),
        (1430, 1.0),
        (10000, 0.99189),
        (36000, 0.87395),
        (66500, 0.60692),
        (100000, 0.28979),
        (113000, 0.19609),
        (115000, 0.18411),
        (120000, 0.15735),
        (133000, 0.11104),
        (142999, 0.1),
        (143000, 0.1),
        (150000, 0.1),
    ],
)
def test_the_schedule_of_gpt_neox_since_1011_reaches_the_floor_at_the_end(updates, multiple):
    assert learning_rate(updates, pythia(lr_schedule="neox_1011")) == pytest.approx(multiple, abs=6e-6)


@pytest.mark.parametrize("updates", [1430, 10000, 66500, 133000, 143000])
def test_the_schedule_of_1008_falls_over_all_of_the_iterations_and_ends_above_the_floor(updates):
    expected = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (updates - 1430) / 143000))
    assert learning_rate(updates, pythia(lr_schedule="neox_1008")) == pytest.approx(expected)
    assert learning_rate(143000, pythia(lr_schedule="neox_1008")) > 0.1002


def test_the_floor_is_the_minimum_exactly():
    assert learning_rate(133000, pythia(2e-4)) == 0.1 * 2e-4
    assert learning_rate(115138, pythia(2e-4)) > 0.1 * 2e-4


def test_the_rate_scales_with_its_peak():
    assert learning_rate(50000, pythia(6e-4)) == pytest.approx(6e-4 * learning_rate(50000, pythia()), rel=1e-12)


def test_without_a_warm_up_the_first_update_has_the_peak_rate():
    assert learning_rate(0, pythia(warmup=0.0)) == 1.0


def test_the_cosine_is_shifted_by_the_warm_up_and_as_long_as_the_whole_schedule():
    recipe = pythia(lr_decay_iters=100, warmup=0.1)
    assert learning_rate(60, recipe) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.5)))
