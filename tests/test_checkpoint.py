import copy

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXForCausalLM

from foundation import UserError
from training import checkpoint as checkpoint_module
from training import load_checkpoint, saved_steps
from training.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    prune_checkpoints,
    save_checkpoint,
    weights_sha256,
    write_checkpoint,
)
from training.optimizer import OptimizerState


def save(directory, step, model, tokenizer):
    parameters = dict(model.named_parameters())
    state = OptimizerState(
        updates=step,
        adam_step=step - 1,
        exp_avg={name: torch.full_like(value, 0.5) for name, value in parameters.items()},
        exp_avg_sq={name: torch.full_like(value, 0.25) for name, value in parameters.items()},
    )
    save_checkpoint(directory, Checkpoint(model, tokenizer, state, {"scale": 8.0}, step, directory))


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path, tiny_model, tiny_tokenizer):
    save(tmp_path, 5, tiny_model, tiny_tokenizer)
    checkpoint = load_checkpoint(tmp_path, step=5)
    for name, value in tiny_model.state_dict().items():
        assert torch.equal(checkpoint.model.state_dict()[name], value), name
    state = checkpoint.optimizer_state
    assert (checkpoint.step, state.updates, state.adam_step, checkpoint.scaler_state) == (5, 5, 4, {"scale": 8.0})
    assert all((value == 0.5).all() for value in state.exp_avg.values())
    assert all((value == 0.25).all() for value in state.exp_avg_sq.values())
    text = "He said that she saw him."
    assert checkpoint.tokenizer(text).input_ids == tiny_tokenizer(text).input_ids


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "config.json", "tokenizer.json", "training_state.json"]
)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, tiny_model, tiny_tokenizer, name):
    save(tmp_path, 5, tiny_model, tiny_tokenizer)
    content = bytearray((tmp_path / "step5" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "step5" / name).write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match=f"{name} is damaged"):
        load_checkpoint(tmp_path, step=5)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "training_state.json"])
def test_a_truncated_checkpoint_is_refused_by_name(tmp_path, tiny_model, tiny_tokenizer, name):
    save(tmp_path, 5, tiny_model, tiny_tokenizer)
    content = (tmp_path / "step5" / name).read_bytes()
    (tmp_path / "step5" / name).write_bytes(content[:-7])
    with pytest.raises(DamagedCheckpoint, match=f"{name} is damaged"):
        load_checkpoint(tmp_path, step=5)


def test_the_same_weights_have_one_fingerprint_however_they_are_stored(tmp_path, tiny_model, tiny_tokenizer):
    save(tmp_path, 5, tiny_model, tiny_tokenizer)
    tiny_model.save_pretrained(tmp_path / "step7", max_shard_size="40KB")
    tiny_tokenizer.save_pretrained(tmp_path / "step7")
    own, sharded = (load_checkpoint(tmp_path, step=step).model for step in (5, 7))
    assert weights_sha256(own) == weights_sha256(sharded) == weights_sha256(tiny_model)
    with torch.no_grad():
        own.gpt_neox.final_layer_norm.bias[3] += 1e-6
    assert weights_sha256(own) != weights_sha256(tiny_model)


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, tiny_model, tiny_tokenizer, monkeypatch):
    def full(*_):
        raise SafetensorError("No space left on device (os error 28)")

    save(tmp_path, 4, tiny_model, tiny_tokenizer)
    monkeypatch.setattr(checkpoint_module, "save_file", full)
    with pytest.raises(UserError, match=r"step 5 cannot be written \(No space left"):
        save(tmp_path, 5, tiny_model, tiny_tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == ["step4"]


def test_a_disk_that_is_full_when_the_tokenizer_is_written_is_one_line_too(tmp_path, tiny_model, tiny_tokenizer):
    save(tmp_path, 4, tiny_model, tiny_tokenizer)
    full = tmp_path / "aside"
    full.mkdir()
    (full / "tokenizer.json").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"step 4 cannot be written \(.*No space left"):
        write_checkpoint(full, load_checkpoint(tmp_path, step=4))


def test_what_else_goes_wrong_while_a_checkpoint_is_written_keeps_its_own_name(
    tmp_path, tiny_model, tiny_tokenizer, monkeypatch
):
    def broken(*_):
        raise TypeError("a tensor is no tensor")

    save(tmp_path, 4, tiny_model, tiny_tokenizer)
    monkeypatch.setattr(checkpoint_module, "save_file", broken)
    with pytest.raises(TypeError, match="a tensor is no tensor"):
        save(tmp_path, 5, tiny_model, tiny_tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == ["step4"]


def test_transformers_loads_a_checkpoint_by_itself(tmp_path, tiny_model, tiny_tokenizer):
    save(tmp_path, 5, tiny_model, tiny_tokenizer)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "step5")
    ids = AutoTokenizer.from_pretrained(tmp_path / "step5")("He said", return_tensors="pt").input_ids
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, tiny_model(ids).logits)


def under_own_names(tmp_path, tiny_model, tiny_tokenizer):
    return tiny_model


def under_published_names(tmp_path, tiny_model, tiny_tokenizer):
    tiny_model.save_pretrained(tmp_path / "published" / "step7")
    tiny_tokenizer.save_pretrained(tmp_path / "published" / "step7")
    assert "embed_out.weight" in load_file(tmp_path / "published" / "step7" / "model.safetensors")
    return load_checkpoint(tmp_path / "published", step=7).model


def of_a_state_dict(tmp_path, tiny_model, tiny_tokenizer):
    return GPTNeoXForCausalLM.from_pretrained(None, config=tiny_model.config, state_dict=tiny_model.state_dict())


def under_transformers_5_names(tmp_path, tiny_model, tiny_tokenizer):
    tiny_model.save_pretrained(tmp_path / "own" / "step7", save_original_format=False)
    tiny_tokenizer.save_pretrained(tmp_path / "own" / "step7")
    assert "lm_head.weight" in load_file(tmp_path / "own" / "step7" / "model.safetensors")
    return load_checkpoint(tmp_path / "own", step=7).model


@pytest.mark.parametrize(
    "origin", [under_own_names, under_published_names, of_a_state_dict, under_transformers_5_names]
)
def test_weights_are_written_under_the_published_names_whatever_they_were_read_from(
    tmp_path, tiny_model, tiny_tokenizer, origin
):
    model = origin(tmp_path, tiny_model, tiny_tokenizer)
    save(tmp_path, 5, model, tiny_tokenizer)
    written = load_file(tmp_path / "step5" / "model.safetensors")
    assert written.keys() == {name.replace("lm_head", "embed_out") for name in tiny_model.state_dict()}
    assert torch.equal(written["embed_out.weight"], tiny_model.lm_head.weight)
    assert torch.equal(load_checkpoint(tmp_path, step=5).model.lm_head.weight, tiny_model.lm_head.weight)


def test_a_step_without_a_checkpoint_is_refused_with_the_nearest(tmp_path, tiny_model, tiny_tokenizer):
    with pytest.raises(UserError, match=r"holds no checkpoint at all; name a directory that holds step<N>"):
        load_checkpoint(tmp_path, step=3)
    for step in (2, 8, 64):
        save(tmp_path, step, tiny_model, tiny_tokenizer)
    with pytest.raises(UserError, match=r"step=10 has no checkpoint .* the nearest are 2 and 8"):
        load_checkpoint(tmp_path, step=10)


def test_weights_alone_load_without_an_optimizer_state(tmp_path, tiny_model, tiny_tokenizer):
    model = copy.deepcopy(tiny_model).half()
    model.save_pretrained(tmp_path / "step7")
    tiny_tokenizer.save_pretrained(tmp_path / "step7")
    checkpoint = load_checkpoint(tmp_path, step=7)
    assert checkpoint.optimizer_state is None
    assert {value.dtype for value in checkpoint.model.state_dict().values()} == {torch.float32}


def test_pruning_keeps_the_latest(tmp_path):
    for step in (1, 2, 10):
        (tmp_path / f"step{step}").mkdir()
    (tmp_path / "stepped").mkdir()
    prune_checkpoints(tmp_path, keep=2)
    assert saved_steps(tmp_path) == [2, 10]
