import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foundation import UserError
from test_loop import RECIPE, assert_bitwise_equal, batch_at, run, start, weights  # noqa: F401  # `start` is a fixture
from test_recipe import pythia
from training import OptimizerState, load_checkpoint, plan_replay, save_checkpoint, with_adam_step, without_moments
from training import replay as replay_plan
from training.optimizer import make_optimizer, restore_optimizer

PUBLISHED = [0, 1, 2, 4, 8, 16, *range(1000, 143001, 1000)]


def plan(step, **changes):
    options = {
        "method": "auto",
        "checkpoints": PUBLISHED,
        "frozen_steps": 40,
        "live_steps": 60,
        "arm_steps": 10000,
        "whole_batches": True,
    }
    return plan_replay(step, **options | changes)


def test_live_replays_the_batches_before_the_checkpoint_twice_from_its_own_weights():
    chosen = plan(133000, method="live")
    assert (chosen.origin, chosen.frozen, chosen.live) == (133000, range(132900, 132940), (range(132940, 133000),) * 2)
    assert (chosen.num_steps, chosen.first_step) == (160, 132900)


def test_frozen_replays_as_many_batches_with_fixed_weights():
    chosen = plan(133000, method="frozen")
    assert (chosen.origin, chosen.frozen, chosen.live) == (133000, range(132900, 133000), ())


def test_previous_checkpoint_replays_all_that_lies_between():
    chosen = plan(133000, method="previous_checkpoint")
    assert (chosen.origin, chosen.frozen, chosen.live) == (132000, range(131960, 132000), (range(132000, 133000),))


def test_where_checkpoints_are_near_one_another_previous_checkpoint_passes_through_several():
    chosen = plan(448, method="previous_checkpoint", checkpoints=[0, 256, 320, 384, 448, 512])
    assert (chosen.origin, chosen.frozen) == (320, range(280, 320))
    assert chosen.live == (range(320, 384), range(384, 448))
    assert plan(420, method="previous_checkpoint", checkpoints=[320, 384]).live == (range(320, 384), range(384, 420))
    assert plan(419, method="previous_checkpoint", checkpoints=[310, 320, 384]).origin == 310
    early = plan(16, method="previous_checkpoint", checkpoints=[0, 1, 2, 4, 8, 16])
    assert (early.origin, early.frozen) == (0, range(0))
    assert early.live == (range(0, 1), range(1, 2), range(2, 4), range(4, 8), range(8, 16))


def test_where_the_frozen_steps_would_begin_at_step_0_previous_checkpoint_trains_from_there():
    chosen = plan(192, method="previous_checkpoint", checkpoints=[0, 40, 192])
    assert (chosen.origin, chosen.frozen) == (0, range(0))
    assert chosen.live == (range(0, 40), range(40, 192))
    assert plan(192, method="previous_checkpoint", checkpoints=[0, 41, 192]).frozen == range(1, 41)
    assert plan(192, method="previous_checkpoint", checkpoints=[40, 192]).frozen == range(40)
    assert plan(192, arm_steps=8 * 192, checkpoints=[0, 40, 192]).method == "previous_checkpoint"


def test_the_method_is_chosen_by_its_cost_beside_an_arm():
    assert plan(133000, arm_steps=8320).method == "previous_checkpoint"
    assert plan(133000, arm_steps=8319).method == "live"
    assert plan(133000, arm_steps=100000, whole_batches=False).method == "live"
    assert plan(133000, arm_steps=100000, checkpoints=[133000]).method == "live"


def test_a_method_that_needs_what_is_not_there_is_refused():
    with pytest.raises(
        UserError, match="lively is no way to get Adam's moments; known are previous_checkpoint, live, "
    ):
        plan(133000, method="lively")
    with pytest.raises(UserError, match=r"no checkpoint precedes step 133000; take replay.method=live"):
        plan(133000, method="previous_checkpoint", checkpoints=[133000, 134000])
    with pytest.raises(UserError, match="needs the suite's own batches"):
        plan(133000, method="previous_checkpoint", whole_batches=False)


@given(
    st.integers(0, 300),
    st.sampled_from(["live", "frozen", "previous_checkpoint"]),
    st.integers(1, 99),
    st.integers(1, 99),
    st.sets(st.integers(0, 300)),
)
def test_every_plan_is_one_stretch_of_steps_that_ends_at_the_checkpoint(step, method, frozen_steps, live_steps, others):
    chosen = plan(step + 1, method=method, frozen_steps=frozen_steps, live_steps=live_steps, checkpoints=[0, *others])
    legs = chosen.live[1:] if method == "live" else chosen.live
    steps = [*chosen.frozen, *(each for leg in legs for each in leg)]
    assert steps == list(range(chosen.first_step, step + 1))
    assert chosen.num_steps == len(steps) + (len(chosen.live[0]) if method == "live" else 0)


STILL = pythia(0.0, min_lr=0.0, adam_eps=1e-3, sequences_per_step=8)


@pytest.fixture
def replayed(start, tmp_path):  # noqa: F811
    """Replays on the loop's own batches, from checkpoints that all have the tiny model's weights but for a shift."""

    def load(step):
        checkpoint = start(step)
        with torch.no_grad():
            checkpoint.model.gpt_neox.final_layer_norm.bias += 0.01 * step
        return checkpoint

    def replay_as(chosen):
        calls = []

        def train_on(checkpoint, *, stop, leg):
            calls.append((checkpoint.step, stop, leg))
            recipe = RECIPE if leg else STILL
            return run(checkpoint, tmp_path / f"{chosen.method}-{leg}", stop=stop, recipe=recipe, save_at=())

        return replay_plan(chosen, load=load, train_on=train_on), calls, load

    return replay_as


OPTIONS = {"checkpoints": [4, 10], "frozen_steps": 3, "live_steps": 5}
THROUGH = {"checkpoints": [4, 7, 10], "frozen_steps": 1}


def test_the_weights_of_the_checkpoint_itself_are_put_back(replayed):
    for method in ("live", "frozen", "previous_checkpoint"):
        rebuilt, _, load = replayed(plan(10, method=method, **OPTIONS))
        assert_bitwise_equal(weights(rebuilt), weights(load(10)))
        assert (rebuilt.step, rebuilt.optimizer_state.updates) == (10, 10)


def test_frozen_steps_come_before_live_ones_and_the_bias_correction_counts_both(replayed):
    rebuilt, calls, _ = replayed(plan(10, method="live", **OPTIONS))
    assert calls == [(2, 5, 0), (5, 10, 1), (5, 10, 2)]
    assert rebuilt.optimizer_state.adam_step == 8
    rebuilt, calls, _ = replayed(plan(10, method="previous_checkpoint", **(OPTIONS | {"live_steps": 3})))
    assert calls == [(1, 4, 0), (4, 10, 1)]
    assert rebuilt.optimizer_state.adam_step == 9


def test_on_the_way_the_true_weights_are_put_in_and_the_moments_kept(replayed, start, tmp_path):  # noqa: F811
    rebuilt, calls, load = replayed(plan(10, method="previous_checkpoint", **THROUGH))
    assert calls == [(3, 4, 0), (4, 7, 1), (7, 10, 2)]
    first = run(replace(load(4), step=3), tmp_path / "a", stop=4, recipe=STILL, save_at=())
    second = run(replace(load(4), optimizer_state=first.optimizer_state), tmp_path / "b", stop=7, save_at=())
    third = run(replace(load(7), optimizer_state=second.optimizer_state), tmp_path / "c", stop=10, save_at=())
    for name, value in third.optimizer_state.exp_avg.items():
        assert torch.equal(rebuilt.optimizer_state.exp_avg[name], value), name


def test_live_replay_goes_once_away_from_the_checkpoint_and_once_towards_it(replayed, tmp_path):
    rebuilt, _, load = replayed(plan(10, method="live", **OPTIONS))
    frozen = run(replace(load(10), step=2), tmp_path / "a", stop=5, recipe=STILL, save_at=())
    memory = frozen.optimizer_state
    away = run(replace(load(10), step=5, optimizer_state=memory), tmp_path / "b", stop=10, save_at=())
    other_side = load(10)
    with torch.no_grad():
        for name, weight in other_side.model.named_parameters():
            weight += weight - away.model.get_parameter(name)
    back = run(replace(other_side, step=5, optimizer_state=memory), tmp_path / "c", stop=10, save_at=())
    for name, value in back.optimizer_state.exp_avg.items():
        torch.testing.assert_close(rebuilt.optimizer_state.exp_avg[name], value, rtol=1e-3, atol=1e-6)


def test_frozen_moments_are_averages_of_gradients_at_the_checkpoints_own_weights(replayed):
    rebuilt, calls, load = replayed(plan(10, method="frozen", **OPTIONS))
    assert calls == [(2, 10, 0)]
    model = load(10).model.train()
    first = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    second = copy.deepcopy(first)
    for step in range(2, 10):
        tokens = torch.from_numpy(batch_at(step).tokens.astype(np.int64))
        logits = model(tokens[:, :-1]).logits
        model.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for name, parameter in model.named_parameters():
            first[name] = 0.9 * first[name] + 0.1 * parameter.grad
            second[name] = 0.95 * second[name] + 0.05 * parameter.grad**2
    for name in first:
        torch.testing.assert_close(rebuilt.optimizer_state.exp_avg[name], first[name], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(rebuilt.optimizer_state.exp_avg_sq[name], second[name], rtol=1e-4, atol=1e-9)


def test_the_first_checkpoint_has_no_moments_to_rebuild(replayed, tmp_path):
    rebuilt, calls, _ = replayed(plan(0, method="live"))
    assert calls == []
    assert (rebuilt.updates, rebuilt.optimizer_state.adam_step) == (0, 0)
    assert not any(moment.any() for moment in rebuilt.optimizer_state.exp_avg_sq.values())
    save_checkpoint(tmp_path, rebuilt)
    saved = load_checkpoint(tmp_path, step=0).optimizer_state
    assert_bitwise_equal(saved.exp_avg, rebuilt.optimizer_state.exp_avg)
    assert_bitwise_equal(saved.exp_avg_sq, rebuilt.optimizer_state.exp_avg_sq)


def test_without_moments_an_arm_is_that_of_an_optimizer_just_made(start, tmp_path):  # noqa: F811
    fresh = without_moments(replace(start(), optimizer_state=None))
    assert (fresh.updates, fresh.optimizer_state.adam_step) == (3, 0)
    assert_bitwise_equal(weights(run(fresh, tmp_path / "zeros")), weights(run(start(), tmp_path / "none")))


@pytest.mark.parametrize(
    ("adam_step", "multiples"),
    [
        ("neox_resume", {1: 1.643, 2: 1.394, 3: 1.252, 4: 1.161, 9: 0.973, 19: 0.912, 39: 0.948, 99: 0.997}),
        ("continue", dict.fromkeys((1, 2, 10, 99), 1.0)),
    ],
)
def test_a_restarted_bias_correction_makes_the_first_updates_too_large(start, adam_step, multiples):  # noqa: F811
    """Moments of a gradient that has long been one, and goes on being one: each update would be the learning rate."""
    checkpoint = start()
    ones = {name: torch.ones_like(value) for name, value in checkpoint.model.named_parameters()}
    state = OptimizerState(133000, 133000, ones, ones)
    state = with_adam_step(replace(checkpoint, optimizer_state=state), adam_step).optimizer_state
    recipe = pythia(1e-3, weight_decay=0.0)
    optimizer = make_optimizer(checkpoint.model, recipe)
    restore_optimizer(checkpoint.model, optimizer, state)
    bias = checkpoint.model.gpt_neox.final_layer_norm.bias
    for update in range(1, 100):
        before = bias[0].item()
        for parameter in checkpoint.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        if update in multiples:
            assert (before - bias[0].item()) / recipe.lr == pytest.approx(multiples[update], abs=2e-3)
