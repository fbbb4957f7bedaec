import copy
import json
import os
import signal

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from foundation import Interrupted, UserError
from test_recipe import pythia
from training import (
    Batch,
    Checkpoint,
    Diverged,
    Numerics,
    learning_rate,
    load_checkpoint,
    numerics_of,
    read_journal,
    saved_steps,
    set_numerics,
    train,
)
from training.trainer import Trainer

ROW_TOKENS = 9
# a large eps, since Adam turns the rounding noise of gradients that are zero in theory (key biases) into full updates
RECIPE = pythia(1e-2, lr_decay_iters=40, warmup=0.1, sequences_per_step=8, adam_eps=1e-3)


def batch_at(step):
    rng = np.random.default_rng(step)
    rows = rng.integers(1, 400, (RECIPE.sequences_per_step, ROW_TOKENS)).astype(np.uint16)
    return Batch(rows, {"first": int(rows[0, 0])}, groups=groups_of(rows))


def groups_of(rows):
    return np.select([rows % 10 == 0, rows % 10 == 1], [1, 2], 0).astype(np.uint8)


@pytest.fixture
def start(tiny_model, tiny_tokenizer, tmp_path):
    def fresh_start(step=3):
        return Checkpoint(copy.deepcopy(tiny_model), tiny_tokenizer, None, {}, step, tmp_path / "none")

    return fresh_start


def run(start, directory, *, stop=12, **changes):
    options = {
        "batch_at": batch_at,
        "recipe": RECIPE,
        "precision": "fp32",
        "micro_batch": 8,
        "device": torch.device("cpu"),
        "checkpoints": directory / "checkpoints",
        "save_at": range(0, 100, 4),
        "keep": None,
        "journal": directory / "arm.jsonl",
        "description": "training",
    }
    return train(start, stop=stop, **options | changes)


def weights(checkpoint):
    return {name: value.clone() for name, value in checkpoint.model.state_dict().items()}


def assert_bitwise_equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def without_clock(path):
    clock = ("tokens_per_s", "data_stall_s")
    return [{key: value for key, value in line.items() if key not in clock} for line in read_journal(path)]


def test_the_loop_is_the_plain_textbook_loop(start, tmp_path):
    found = weights(run(start(), tmp_path, stop=8))
    model = start().model.train()
    decay = [p for p in model.parameters() if p.ndim > 1]
    no_decay = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": no_decay, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        eps=RECIPE.adam_eps,
    )
    for step in range(3, 8):
        tokens = torch.from_numpy(batch_at(step).tokens.astype(np.int64))
        logits = model(tokens[:, :-1]).logits
        loss = cross_entropy(logits.reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, RECIPE)
        optimizer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_a_killed_run_ends_bitwise_as_an_uninterrupted_one(start, tmp_path):
    whole = run(start(), tmp_path / "whole")

    def fail_at_10(step):
        if step == 10:
            raise KeyboardInterrupt
        return batch_at(step)

    with pytest.raises(KeyboardInterrupt):
        run(start(), tmp_path / "broken", batch_at=fail_at_10)
    assert saved_steps(tmp_path / "broken" / "checkpoints") == [4, 8]
    with (tmp_path / "broken" / "arm.jsonl").open("a") as file:
        file.write('{"step": 11, "loss": 1.')
    resumed = run(start(), tmp_path / "broken")
    assert_bitwise_equal(weights(resumed), weights(whole))
    assert without_clock(tmp_path / "broken" / "arm.jsonl") == without_clock(tmp_path / "whole" / "arm.jsonl")
    saved = [load_checkpoint(tmp_path / name / "checkpoints", step=12).optimizer_state for name in ("whole", "broken")]
    for moments in ("exp_avg", "exp_avg_sq"):
        assert_bitwise_equal(getattr(saved[0], moments), getattr(saved[1], moments))


def test_an_arm_without_moments_resumes_bitwise_too(start, tmp_path):
    whole = weights(run(start(), tmp_path / "whole"))
    run(start(), tmp_path / "parts", stop=8)
    state = load_checkpoint(tmp_path / "parts" / "checkpoints", step=8).optimizer_state
    assert (state.updates, state.adam_step) == (8, 5)
    assert_bitwise_equal(weights(run(start(), tmp_path / "parts")), whole)


def test_a_finished_arm_is_loaded_and_not_trained_again(start, tmp_path):
    first = weights(run(start(), tmp_path))

    def never(step):
        raise AssertionError(step)

    assert_bitwise_equal(weights(run(start(), tmp_path, batch_at=never)), first)


@pytest.mark.parametrize("micro_batch", [4, 3])
def test_one_pass_of_eight_equals_smaller_passes(start, tmp_path, micro_batch):
    whole = weights(run(start(), tmp_path / "8x1"))
    parts = weights(run(start(), tmp_path / "parts", micro_batch=micro_batch))
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-5)
    lines = [read_journal(tmp_path / name / "arm.jsonl") for name in ("8x1", "parts")]
    for one, other in zip(*lines, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)


@pytest.mark.parametrize("micro_batch", [8, 3, 1])
def test_the_gradients_of_one_pass_of_32_are_those_of_smaller_passes_to_a_millionth(start, micro_batch):
    rows = np.random.default_rng(0).integers(1, 400, (32, 65)).astype(np.uint16)
    batch = Batch(rows, {}, groups=groups_of(rows), unlearned=rows % 7 == 0)

    def backward(micro_batch):
        trainer = Trainer(start(), recipe=RECIPE, precision="fp32", micro_batch=micro_batch, device=torch.device("cpu"))
        losses = trainer.backward(batch, give_up=lambda: False)
        return losses, torch.cat([parameter.grad.flatten().double() for parameter in trainer.model.parameters()])

    whole, gradient = backward(32)
    parts, other = backward(micro_batch)
    assert parts.mean == pytest.approx(whole.mean, rel=1e-6)
    assert parts.by_group == pytest.approx(whole.by_group, rel=1e-6)
    assert (other - gradient).norm() <= 1e-6 * gradient.norm()


def test_in_fp16_small_gradients_are_those_of_one_micro_batch_however_many_there_are(start):
    row = np.random.default_rng(0).integers(1, 400, (1, 65)).astype(np.uint16)

    def gradients(rows):
        trainer = Trainer(start(), recipe=RECIPE, precision="fp16", micro_batch=1, device=torch.device("cpu"))
        trainer.backward(Batch(rows, {}), give_up=lambda: False)
        trainer.unscaled_gradient_norm()
        return {name: parameter.grad for name, parameter in trainer.model.named_parameters()}

    many, one = gradients(np.repeat(row, 64, axis=0)), gradients(row)
    for name in one:
        torch.testing.assert_close(many[name], one[name], rtol=1e-5, atol=0.0)


def test_a_journal_without_the_checkpoints_steps_is_refused(start, tmp_path):
    run(start(), tmp_path, stop=8)
    lines = (tmp_path / "arm.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "arm.jsonl").write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(UserError, match="holds 4 steps before the checkpoint at step 8, expected 5"):
        run(start(), tmp_path)


def test_the_journal_tells_apart_the_losses_of_the_groups(start, tmp_path):
    run(start(), tmp_path, stop=4)
    (line,) = read_journal(tmp_path / "arm.jsonl")
    batch = batch_at(3)
    tokens = torch.from_numpy(batch.tokens.astype(np.int64))
    with torch.inference_mode():
        log_p = start().model(tokens[:, :-1]).logits.log_softmax(-1)
    losses = -log_p.gather(-1, tokens[:, 1:, None])[..., 0].numpy()
    groups = batch.groups[:, 1:]
    assert line["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    for group, name in enumerate(["other", "swapped", "neighbouring"]):
        assert line[f"loss_{name}"] == pytest.approx(losses[groups == group].mean(), rel=1e-5)
    assert (line["step"], line["lr"], line["skipped"], line["mfu"]) == (3, learning_rate(3, RECIPE), False, None)
    assert line["first"] == int(batch.tokens[0, 0])


def test_without_groups_their_losses_are_null(start, tmp_path):
    run(start(), tmp_path, stop=4, batch_at=lambda step: Batch(batch_at(step).tokens, {}))
    (line,) = read_journal(tmp_path / "arm.jsonl")
    assert line["loss_swapped"] is line["loss_neighbouring"] is None
    assert line["loss_other"] == line["loss"]


def test_unlearned_labels_have_no_gradient_and_the_mean_is_over_the_others(start):
    batch = batch_at(3)
    unlearned = batch.groups == 1
    trainer = Trainer(start(), recipe=RECIPE, precision="fp32", micro_batch=3, device=torch.device("cpu"))
    losses = trainer.backward(Batch(batch.tokens, {}, unlearned=unlearned), give_up=lambda: False)
    found = {name: parameter.grad for name, parameter in trainer.model.named_parameters()}

    tokens = torch.from_numpy(batch.tokens.astype(np.int64))
    labels = torch.where(torch.from_numpy(unlearned), -100, tokens)[:, 1:]
    model = start().model
    logits = model(tokens[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    expected.backward()
    assert losses.mean == pytest.approx(expected.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-7)


def test_only_the_latest_checkpoints_are_kept(start, tmp_path):
    run(start(), tmp_path, stop=14, keep=2)
    assert saved_steps(tmp_path / "checkpoints") == [12, 14]


def poisoned(step, at=6):
    batch = batch_at(step)
    return Batch(np.full_like(batch.tokens, POISON), batch.record) if step == at else batch


POISON = 401  # a token that no other batch holds


def test_a_loss_that_is_no_number_stops_the_arm_says_where_and_keeps_what_was_before(start, tmp_path):
    sane = weights(run(start(), tmp_path / "sane", stop=6))
    broken = start()
    with torch.no_grad():
        broken.model.gpt_neox.embed_in.weight[POISON] = float("nan")
    with pytest.raises(Diverged, match=r"step 6 has a loss or gradient that is no number: loss nan, gradient norm nan"):
        run(broken, tmp_path, batch_at=poisoned)
    kept = tmp_path / "checkpoints" / "diverged"
    found = load_checkpoint(kept, step=6).model.state_dict()
    for name, value in sane.items():
        rows = [row for row in range(len(value)) if row != POISON]
        assert torch.equal(found[name][rows], value[rows]) or "embed_in" not in name
        if "embed_in" not in name:
            assert torch.equal(found[name], value), name
    assert (np.load(kept / "step6" / "batch.npy") == POISON).all()
    assert saved_steps(tmp_path / "checkpoints") == [4]
    assert [line["step"] for line in read_journal(tmp_path / "arm.jsonl")] == [3, 4, 5]


def test_a_loss_far_above_guessing_stops_the_arm(start, tmp_path):
    broken = start()
    with torch.no_grad():
        broken.model.get_output_embeddings().weight *= 1e4
    with pytest.raises(Diverged, match=r"step 3 has a loss above 2 ln V = 12.5, far worse than guessing"):
        run(broken, tmp_path)


def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_it_gone_on_from(start, tmp_path, caplog):
    whole = weights(run(start(), tmp_path / "whole"))
    run(start(), tmp_path / "parts", stop=8)
    file = tmp_path / "parts" / "checkpoints" / "step8" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    resumed = run(start(), tmp_path / "parts")
    assert "optimizer.safetensors is damaged" in caplog.text
    assert "put aside as damaged-step8, going on from the one before it" in caplog.text
    assert_bitwise_equal(weights(resumed), whole)
    assert saved_steps(tmp_path / "parts" / "checkpoints") == [4, 8, 12]
    assert without_clock(tmp_path / "parts" / "arm.jsonl") == without_clock(tmp_path / "whole" / "arm.jsonl")


def test_where_every_checkpoint_is_damaged_the_arm_begins_again(start, tmp_path, caplog):
    whole = weights(run(start(), tmp_path / "whole"))
    run(start(), tmp_path / "parts", stop=8)
    for step in (4, 8):
        file = tmp_path / "parts" / "checkpoints" / f"step{step}" / "training_state.json"
        file.unlink() if step == 8 else file.write_text("{")
    assert_bitwise_equal(weights(run(start(), tmp_path / "parts")), whole)
    assert caplog.text.count("put aside") == 2


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_the_step_up_saves_what_was_before_and_a_resumed_arm_ends_bitwise(
    start, tmp_path, monkeypatch, signum
):
    whole = weights(run(start(), tmp_path / "whole"))

    class Signalled(Trainer):
        def backward(self, batch, *, give_up):
            if batch.record == batch_at(6).record:
                os.kill(os.getpid(), signum)
            return super().backward(batch, give_up=give_up)

    with monkeypatch.context() as patch, pytest.raises(Interrupted) as interruption:
        patch.setattr("training.distributed.Trainer", Signalled)
        run(start(), tmp_path / "parts")
    assert interruption.value.signal == signum
    assert saved_steps(tmp_path / "parts" / "checkpoints") == [4, 6]
    assert_bitwise_equal(weights(run(start(), tmp_path / "parts")), whole)


def test_a_signal_in_the_last_step_is_not_forgotten(start, tmp_path):
    class Signal:
        def __init__(self, tokens):
            self.tokens, self.groups, self.unlearned = tokens, None, None

        @property
        def record(self):
            os.kill(os.getpid(), signal.SIGTERM)
            return {}

    with pytest.raises(Interrupted):
        run(start(), tmp_path, stop=4, batch_at=lambda step: Signal(batch_at(step).tokens))
    assert saved_steps(tmp_path / "checkpoints") == [4]


def test_after_training_signals_do_again_what_they_did(start, tmp_path):
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    run(start(), tmp_path, stop=4)
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_checkpoint_is_saved_when_so_many_minutes_have_passed(start, tmp_path):
    run(start(), tmp_path, stop=7, save_at=(), save_minutes=0.0)
    assert saved_steps(tmp_path / "checkpoints") == [4, 5, 6, 7]


def test_a_resumed_arm_computes_as_its_start_does(start, tmp_path):
    def tanh_start():
        checkpoint = start()
        set_numerics(checkpoint.model, activation="tanh", rope="neox_fp16")
        return checkpoint

    whole = weights(run(tanh_start(), tmp_path / "whole"))
    run(tanh_start(), tmp_path / "parts", stop=8)
    resumed = run(tanh_start(), tmp_path / "parts")
    assert numerics_of(resumed.model) == Numerics("tanh", "neox_fp16")
    assert_bitwise_equal(weights(resumed), whole)
    other = weights(run(start(), tmp_path / "other"))
    assert any(not torch.equal(other[name], whole[name]) for name in whole)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_stays_near_fp32_and_resumes_bitwise(start, tmp_path, precision):
    exact = run(start(), tmp_path / "fp32")
    whole = run(start(), tmp_path / "whole", precision=precision)
    run(start(), tmp_path / "parts", precision=precision, stop=8)
    resumed = run(start(), tmp_path / "parts", precision=precision)
    assert_bitwise_equal(weights(resumed), weights(whole))
    assert resumed.scaler_state == whole.scaler_state
    losses = [[line["loss"] for line in read_journal(tmp_path / name / "arm.jsonl")] for name in ("fp32", "whole")]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert {value.dtype for value in weights(whole).values()} == {torch.float32}
    assert not torch.equal(exact.model.gpt_neox.embed_in.weight, whole.model.gpt_neox.embed_in.weight)


def test_an_fp16_update_that_overflows_is_skipped_its_data_consumed_and_the_schedule_stands_still(start, tmp_path):
    checkpoint = start()
    checkpoint.scaler_state.update(scale=2.0**40, iteration=0, last_overflow=-1, hysteresis=2)
    before = weights(start())
    end = run(checkpoint, tmp_path, stop=6, precision="fp16")
    lines = read_journal(tmp_path / "arm.jsonl")
    assert [line["step"] for line in lines] == [3, 4, 5]
    assert all(line["skipped"] for line in lines)
    assert [line["loss_scale"] for line in lines] == [2.0**40, 2.0**40, 2.0**39]
    assert {line["lr"] for line in lines} == {learning_rate(3, RECIPE)}
    assert (end.step, end.optimizer_state.updates, end.optimizer_state.adam_step) == (6, 3, 0)
    assert_bitwise_equal(weights(end), before)


def test_an_overflow_that_no_loss_scale_mends_stops_the_arm(start, tmp_path):
    checkpoint = start()
    checkpoint.scaler_state.update(scale=1.0, iteration=9, last_overflow=8, hysteresis=1)
    with torch.no_grad():
        checkpoint.model.gpt_neox.embed_in.weight.fill_(float("nan"))
    with pytest.raises(Diverged, match="step 3 has a loss or gradient that is no number"):
        run(checkpoint, tmp_path, precision="fp16")


def test_a_frozen_arm_gathers_moments_and_moves_no_weight(start, tmp_path):
    end = run(start(), tmp_path, recipe=pythia(0.0, lr_decay_iters=40, sequences_per_step=8, min_lr=0.0))
    assert_bitwise_equal(weights(end), weights(start()))
    assert all(moment.any() for moment in end.optimizer_state.exp_avg_sq.values())


def test_journal_lines_are_json_and_in_order(start, tmp_path):
    run(start(), tmp_path)
    lines = (tmp_path / "arm.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(3, 12))
