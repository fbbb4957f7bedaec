import copy
import json

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from foundation import UserError
from test_recipe import pythia
from training import Batch, Checkpoint, learning_rate, load_checkpoint, read_journal, saved_steps, train
from training.fidelity import fidelity

ROW_TOKENS = 9
# a large eps, since Adam turns the rounding noise of gradients that are zero in theory (key biases) into full updates
RECIPE = pythia(1e-2, lr_decay_iters=40, warmup=0.1, sequences_per_step=8, adam_eps=1e-3)


def batch_at(step):
    rng = np.random.default_rng(step)
    rows = rng.integers(1, 400, (RECIPE.sequences_per_step, ROW_TOKENS)).astype(np.uint16)
    return Batch(rows, marked=rows % 10 == 0, record={"first": int(rows[0, 0])})


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
    return [{key: value for key, value in line.items() if key != "tokens_per_s"} for line in read_journal(path)]


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


def test_a_journal_without_the_checkpoints_steps_is_refused(start, tmp_path):
    run(start(), tmp_path, stop=8)
    lines = (tmp_path / "arm.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "arm.jsonl").write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(UserError, match="holds 4 steps before the checkpoint at step 8, expected 5"):
        run(start(), tmp_path)


def test_the_journal_tells_apart_the_loss_on_marked_tokens(start, tmp_path):
    run(start(), tmp_path, stop=4)
    (line,) = read_journal(tmp_path / "arm.jsonl")
    batch = batch_at(3)
    tokens = torch.from_numpy(batch.tokens.astype(np.int64))
    with torch.inference_mode():
        log_p = start().model(tokens[:, :-1]).logits.log_softmax(-1)
    losses = -log_p.gather(-1, tokens[:, 1:, None])[..., 0].numpy()
    marked = batch.marked[:, 1:]
    assert 0 < marked.sum() < marked.size
    assert line["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert line["loss_swapped"] == pytest.approx(losses[marked].mean(), rel=1e-5)
    assert line["loss_other"] == pytest.approx(losses[~marked].mean(), rel=1e-5)
    assert (line["step"], line["lr"], line["skipped"], line["mfu"]) == (3, learning_rate(3, RECIPE), False, None)
    assert line["first"] == int(batch.tokens[0, 0])


def test_without_marked_tokens_their_loss_is_null(start, tmp_path):
    def unmarked(step):
        batch = batch_at(step)
        return Batch(batch.tokens, np.zeros_like(batch.marked), {})

    run(start(), tmp_path, stop=4, batch_at=unmarked)
    (line,) = read_journal(tmp_path / "arm.jsonl")
    assert line["loss_swapped"] is None
    assert line["loss_other"] == line["loss"]


def test_only_the_latest_checkpoints_are_kept(start, tmp_path):
    run(start(), tmp_path, stop=14, keep=2)
    assert saved_steps(tmp_path / "checkpoints") == [12, 14]


def test_bf16_arithmetic_keeps_fp32_weights_and_stays_near(start, tmp_path):
    exact = run(start(), tmp_path / "fp32", stop=6)
    rounded = run(start(), tmp_path / "bf16", stop=6, precision="bf16")
    assert {value.dtype for value in weights(rounded).values()} == {torch.float32}
    lines = [read_journal(tmp_path / name / "arm.jsonl")[-1]["loss"] for name in ("fp32", "bf16")]
    assert lines[0] != lines[1]
    assert lines[1] == pytest.approx(lines[0], rel=0.02)
    assert 0 < fidelity(start().model, rounded.model, exact.model).distance < 0.5


def test_a_loss_that_is_no_number_stops_the_arm_and_says_where(start, tmp_path):
    broken = start()
    with torch.no_grad():
        broken.model.gpt_neox.embed_in.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 3 is nan"):
        run(broken, tmp_path)


def test_journal_lines_are_json_and_in_order(start, tmp_path):
    run(start(), tmp_path)
    lines = (tmp_path / "arm.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(3, 12))


def test_fidelity_is_distance_over_distance_moved(tiny_model):
    start, continued, true = (copy.deepcopy(tiny_model) for _ in range(3))
    with torch.no_grad():
        true.gpt_neox.final_layer_norm.bias[0] += 4.0
        continued.gpt_neox.final_layer_norm.bias[0] += 3.0
    assert fidelity(start, continued, true).distance == pytest.approx(0.25)
    assert not fidelity(start, continued, true).bitwise_equal
    assert fidelity(start, true, true).bitwise_equal
    assert fidelity(start, continued, start).distance is None
