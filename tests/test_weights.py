"""Weights in every form in which they lie about, against transformers itself."""

import hashlib
import json
import os
import pickle
import random
import shutil
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import GPT2Config, GPTNeoXForCausalLM

from foundation import UserError
from training import weights as weights_module
from training.weights import (
    check_distinct_steps,
    choose_weights,
    load_weights,
    remembered_sha256,
    weight_files,
    weights_fingerprint,
)

IDS = torch.arange(40)[None]
OLD_CONFIG = {
    "architectures": ["GPTNeoXForCausalLM"],
    "bos_token_id": 0,
    "eos_token_id": 0,
    "hidden_act": "gelu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 128,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 512,
    "model_type": "gpt_neox",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "rotary_emb_base": 10000,
    "rotary_pct": 0.25,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.24.0",
    "use_cache": True,
    "use_parallel_residual": True,
    "vocab_size": 512,
}  # in the spelling of a published one


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def old_state(model, dtype=torch.float16):
    """A state dict as Pythia's `.bin` files hold it: old names, and the buffers of old versions."""
    state = {name.replace("lm_head.", "embed_out."): value.to(dtype) for name, value in model.state_dict().items()}
    for layer in range(model.config.num_hidden_layers):
        attention = f"gpt_neox.layers.{layer}.attention"
        state[f"{attention}.bias"] = torch.ones(1, 1, 512, 512, dtype=torch.uint8).tril()
        state[f"{attention}.masked_bias"] = torch.tensor(-1e9)
        state[f"{attention}.rotary_emb.inv_freq"] = torch.full((4,), 7.0)
    return state


def save_old(directory, state, *, zipped=True):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(OLD_CONFIG))
    torch.save(state, directory / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    return directory


def save_in_shards(directory, state, *, stem, ending, save):
    """Three shards with their index, as transformers wrote them in either format."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(OLD_CONFIG))
    places = {}
    for part in range(3):
        name = f"{stem}-{part + 1:05d}-of-00003.{ending}"
        shard = {key: value for number, (key, value) in enumerate(state.items()) if number % 3 == part}
        save(shard, directory / name)
        places |= dict.fromkeys(shard, name)
    (directory / f"{stem}.{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return directory


def logits(model):
    with torch.inference_mode():
        return model(IDS).logits


def check_loaded(directory, model, dtype):
    loaded = load_weights(directory)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert {parameter.device.type for parameter in loaded.parameters()} == {"cpu"}
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.to(dtype).float()), name
    itself = GPTNeoXForCausalLM.from_pretrained(directory, dtype=torch.float32)
    assert torch.equal(logits(loaded), logits(itself))
    return loaded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_transformers_saves_is_loaded_as_transformers_loads_it(tmp_path, tiny_model, dtype):
    model = GPTNeoXForCausalLM(tiny_model.config)
    model.load_state_dict(tiny_model.state_dict())
    model.to(dtype).save_pretrained(tmp_path)
    loaded = check_loaded(tmp_path, tiny_model, dtype)
    if dtype is torch.float32:
        assert torch.equal(logits(loaded), logits(tiny_model))


def test_shards_of_safetensors_are_loaded_as_transformers_loads_them(tmp_path, tiny_model):
    tiny_model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(weight_files(tmp_path)) > 3
    check_loaded(tmp_path, tiny_model, torch.float32)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_tensors_come_back_from_any_shards_in_any_precision(tmp_path_factory, tiny_model, data):
    directory, places = tmp_path_factory.mktemp("shards"), {}
    shards = {f"model-{part:05d}.safetensors": {} for part in range(data.draw(st.integers(2, 4)))}
    for name, value in tiny_model.state_dict().items():
        places[name] = data.draw(st.sampled_from(sorted(shards)))
        shards[places[name]][name] = value.to(data.draw(st.sampled_from([torch.float32, torch.float16])))
    for file in set(places.values()):
        save_file(shards[file], directory / file)
    (directory / "config.json").write_text(json.dumps(OLD_CONFIG))
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    loaded = load_weights(directory).state_dict()
    for name, file in places.items():
        assert torch.equal(loaded[name], shards[file][name].float()), name


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_pickled_weights_under_old_names_are_loaded_as_transformers_loads_them(tmp_path, tiny_model, dtype, zipped):
    loaded = check_loaded(save_old(tmp_path, old_state(tiny_model, dtype), zipped=zipped), tiny_model, dtype)
    assert loaded.config.rope_parameters["partial_rotary_factor"] == 0.25


def test_pickled_shards_are_loaded_as_transformers_loads_them(tmp_path, tiny_model):
    save_in_shards(tmp_path, old_state(tiny_model), stem="pytorch_model", ending="bin", save=torch.save)
    check_loaded(tmp_path, tiny_model, torch.float16)


def test_new_names_in_a_pickle_are_understood(tmp_path, tiny_model):
    check_loaded(save_old(tmp_path, dict(tiny_model.state_dict())), tiny_model, torch.float32)


def test_the_old_buffers_change_nothing(tmp_path, tiny_model):
    with_buffers = load_weights(save_old(tmp_path / "a", old_state(tiny_model)))
    bare = {name: value for name, value in old_state(tiny_model).items() if "attention.bias" not in name}
    assert torch.equal(logits(with_buffers), logits(load_weights(save_old(tmp_path / "b", bare))))
    assert not [name for name, _ in with_buffers.named_buffers() if "bias" in name]


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_loaded_weights_do_not_follow_the_file_when_it_is_overwritten(tmp_path, tiny_model, ending):
    if ending == "bin":
        save_old(tmp_path, old_state(tiny_model, torch.float32))
    else:
        tiny_model.save_pretrained(tmp_path)
    (path,) = weight_files(tmp_path)
    loaded = load_weights(tmp_path)
    with path.open("r+b") as file:
        file.write(b"\x11" * path.stat().st_size)
    assert torch.equal(logits(loaded), logits(tiny_model))


def test_safetensors_are_taken_where_both_are_there(tmp_path, tiny_model):
    save_old(tmp_path, {"nothing": torch.zeros(1)})
    tiny_model.save_pretrained(tmp_path)
    check_loaded(tmp_path, tiny_model, torch.float32)
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]


def test_a_pickle_is_taken_where_the_safetensors_are_not_whole(tmp_path, tiny_model):
    tiny_model.save_pretrained(tmp_path, max_shard_size="40KB")
    weight_files(tmp_path)[1].unlink()
    save_old(tmp_path, old_state(tiny_model))
    for name, value in load_weights(tmp_path).state_dict().items():
        assert torch.equal(value, tiny_model.state_dict()[name].half().float()), name


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_never_run(tmp_path, tiny_model, zipped):
    state = {**old_state(tiny_model), "extra": Malicious(tmp_path / "was-here")}
    save_old(tmp_path / "model", state, zipped=zipped)
    with pytest.raises(
        UserError, match=r"pytorch_model.bin asks for (posix|nt|os).mkdir .* it holds code, .* is refused"
    ):
        load_weights(tmp_path / "model")
    assert not (tmp_path / "was-here").exists()


def test_a_bare_pickle_with_code_is_refused_and_never_run(tmp_path, tiny_model):
    save_old(tmp_path / "model", {})
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(Malicious(tmp_path / "was-here"), protocol=2))
    with pytest.raises(UserError, match="it holds code, not only tensors, and is refused"):
        load_weights(tmp_path / "model")
    assert not (tmp_path / "was-here").exists()


def refusal(directory):
    with pytest.raises(UserError) as caught:
        load_weights(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_missing_tensors_are_counted_and_the_first_is_named(tmp_path, tiny_model, ending):
    state = {name: value for name, value in tiny_model.state_dict().items() if ".mlp." not in name}
    save_old(tmp_path, state)
    if ending == "safetensors":
        (tmp_path / "pytorch_model.bin").unlink()
        save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 8 of the model's 28 tensors, first gpt_neox.layers.0.mlp.dense_h_to_4h.weight" in refusal(tmp_path)


def test_weights_without_the_output_layer_are_refused(tmp_path, tiny_model):
    state = {name: value for name, value in old_state(tiny_model).items() if name != "embed_out.weight"}
    assert "lacks 1 of the model's 28 tensors, first lm_head.weight" in refusal(save_old(tmp_path, state))


def test_unexpected_tensors_are_counted_and_the_first_is_named(tmp_path, tiny_model):
    more = {f"gpt_neox.layers.{layer}.mlp.dense_h_to_4h.bias": torch.zeros(128) for layer in (2, 3)}
    message = refusal(save_old(tmp_path, {**old_state(tiny_model), **more}))
    assert "holds 2 tensors that the model has not, first gpt_neox.layers.2.mlp.dense_h_to_4h.bias" in message


def test_misshaped_tensors_are_counted_and_the_first_is_named(tmp_path, tiny_model):
    state = {**old_state(tiny_model), "embed_out.weight": torch.zeros(500, 32)}
    message = refusal(save_old(tmp_path, state))
    assert "holds 1 tensors of another shape than the model's, first lm_head.weight: [500, 32], expected [512, 32]" in (
        message
    )


def test_one_tensor_under_both_of_its_names_is_refused(tmp_path, tiny_model):
    state = {**tiny_model.state_dict(), "embed_out.weight": torch.zeros(512, 32)}
    assert "holds embed_out.weight, which pytorch_model.bin holds too" in refusal(save_old(tmp_path, state))


def test_quantised_weights_are_refused(tmp_path, tiny_model):
    state = {**old_state(tiny_model), "embed_out.weight": torch.zeros(512, 32, dtype=torch.int8)}
    assert "first lm_head.weight: torch.int8, expected float16, bfloat16 or float32" in refusal(
        save_old(tmp_path, state)
    )


def test_what_is_no_tensor_is_refused(tmp_path, tiny_model):
    assert "holds 1 tensors that the model has not, first step" in refusal(
        save_old(tmp_path / "a", {**old_state(tiny_model), "step": 3})
    )
    assert "holds a list, expected a dict of tensors" in refusal(save_old(tmp_path / "b", [1, 2]))


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_a_missing_shard_is_named(tmp_path, tiny_model, ending):
    if ending == "bin":
        save_in_shards(tmp_path, old_state(tiny_model), stem="pytorch_model", ending="bin", save=torch.save)
    else:
        save_in_shards(tmp_path, tiny_model.state_dict(), stem="model", ending="safetensors", save=save_file)
    lost = weight_files(tmp_path)[1]
    lost.unlink()
    assert f"{lost.name} is missing (1 of 3 shards are)" in refusal(tmp_path)


@pytest.mark.parametrize(
    "index",
    ["{", "[]", "{}"]
    + [
        json.dumps({"metadata": {}, "weight_map": places})
        for places in ({}, {"a": "../x.bin"}, {"a": 1}, {"a": ""}, [])
    ]
    + ['{"weight_map": {"a": "x.bin"}}'],
)
def test_an_index_that_is_none_is_refused(tmp_path, index):
    (tmp_path / "pytorch_model.bin.index.json").write_text(index)
    assert "pytorch_model.bin.index.json is no index of shards, or is damaged" in refusal(tmp_path)


def damaged(name, model, directory):
    """A file of weights cut at many places, and with single bytes changed, all of which must load or be refused."""
    if name == "model.safetensors":
        model.save_pretrained(directory)
    else:
        save_old(directory, old_state(model), zipped=name == "zip")
    path = directory / ("pytorch_model.bin" if name != "model.safetensors" else name)
    content = path.read_bytes()
    chance = random.Random(1)
    for _ in range(60):
        path.write_bytes(content[: chance.randrange(len(content))])
        yield True
        changed = bytearray(content)
        changed[chance.choice([chance.randrange(3000), -chance.randrange(1, 3000)])] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        yield False


@pytest.mark.parametrize("name", ["model.safetensors", "zip", "pickle"])
def test_a_truncated_or_damaged_file_is_one_line(tmp_path, tiny_model, name):
    for truncated in damaged(name, tiny_model, tmp_path):
        try:
            load_weights(tmp_path)
            assert not truncated
        except UserError as error:
            assert "\n" not in str(error)
            assert str(tmp_path) in str(error)


def test_a_pointer_of_git_lfs_is_told_from_weights(tmp_path, tiny_model):
    tiny_model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.example/spec/v1\noid sha256:ab\nsize 3\n")
    assert "model.safetensors is a pointer of git-lfs, not the weights; run `git lfs pull`" in refusal(tmp_path)


def test_a_directory_of_no_gpt_neox_is_refused(tmp_path, tiny_model):
    assert "there is no directory" in refusal(tmp_path / "nowhere")
    assert "holds no weights; expected model.safetensors, pytorch_model.bin, or shards" in refusal(tmp_path)
    tiny_model.save_pretrained(tmp_path)
    GPT2Config().save_pretrained(tmp_path)
    assert "config.json is of a model of type gpt2, expected gpt_neox" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**OLD_CONFIG, "num_attention_heads": "many"}))
    assert "config.json makes no GPT-NeoX" in refusal(tmp_path)
    for text in ("{", "[]"):
        (tmp_path / "config.json").write_text(text)
        assert "config.json is damaged: it is no JSON object" in refusal(tmp_path)
    (tmp_path / "config.json").unlink()
    assert "holds no config.json" in refusal(tmp_path)


def test_the_choice_among_names_needs_no_file():
    names = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = json.dumps({"metadata": {}, "weight_map": {"a": names[2], "b": names[1]}})
    assert choose_weights(names, lambda _: index, where="here") == names[1:]
    assert choose_weights([*names[:2], "pytorch_model.bin"], lambda _: index, where="here") == ["pytorch_model.bin"]
    with pytest.raises(UserError, match=r"here: model-00002-of-00002.safetensors is missing \(1 of 2 shards are\)"):
        choose_weights(names[:2], lambda _: index, where="here")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_fingerprint_of_a_lone_file_is_its_own_hash(tmp_path, tiny_model):
    tiny_model.save_pretrained(tmp_path)
    assert weights_fingerprint(tmp_path) == sha256(tmp_path / "model.safetensors")


def test_the_fingerprint_of_several_files_is_of_their_names_and_hashes(tmp_path, tiny_model):
    tiny_model.save_pretrained(tmp_path, max_shard_size="40KB")
    pairs = "".join(f"{path.name} {sha256(path)}\n" for path in weight_files(tmp_path))
    fingerprint = weights_fingerprint(tmp_path)
    assert fingerprint == hashlib.sha256(pairs.encode()).hexdigest()
    first, second = weight_files(tmp_path)[:2]
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    assert weights_fingerprint(tmp_path) != fingerprint


@pytest.fixture
def hashed(monkeypatch):
    """The files that were read to be hashed."""
    seen = []

    def spy(path):
        seen.append(path.name)
        return sha256(path)

    monkeypatch.setattr(weights_module, "sha256_of_file", spy)
    return seen


def write_settled(path, content):
    path.write_bytes(content)
    os.utime(path, (time.time() - 60, time.time() - 60))


def test_a_file_is_hashed_once_until_it_changes(tmp_path, hashed):
    path = tmp_path / "weights"
    write_settled(path, b"one")
    assert remembered_sha256(path) == remembered_sha256(path) == hashlib.sha256(b"one").hexdigest()
    assert len(hashed) == 1
    path.write_bytes(b"two")
    assert remembered_sha256(path) == hashlib.sha256(b"two").hexdigest()
    write_settled(path, b"more")
    assert remembered_sha256(path) == hashlib.sha256(b"more").hexdigest()
    assert len(hashed) == 3


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path, hashed):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    remembered_sha256(path)
    remembered_sha256(path)
    assert len(hashed) == 2


def test_a_damaged_memory_of_hashes_does_no_harm(tmp_path, hashed):
    path = tmp_path / "weights"
    write_settled(path, b"one")
    remembered_sha256(path)
    (memory,) = (Path(os.environ["XDG_CACHE_HOME"]) / "pythia-counterfactual" / "hashes").iterdir()
    for text in ("{", "[1]", "{}", '{"file": 1, "sha256": "ab"}'):
        memory.write_text(text)
        assert remembered_sha256(path) == hashlib.sha256(b"one").hexdigest()


def save_steps(directory, model, steps):
    """`step<N>` directories with weights of their own."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for step in steps:
        model.save_pretrained(directory / f"step{step}")
        state["lm_head.weight"] += 1
        save_file(state, directory / f"step{step}" / "model.safetensors", metadata={"format": "pt"})


def test_steps_with_weights_of_their_own_pass(tmp_path, tiny_model, hashed):
    save_steps(tmp_path, tiny_model, [0, 1, 4, 8, 64])
    for step in (0, 1, 4, 8, 64):
        check_distinct_steps(tmp_path, step=step)
    assert not hashed


@pytest.mark.parametrize(("copy", "of"), [(8, 512), (8, 16), (8, 4), (512, 256), (1, 512)])
def test_a_step_with_the_weights_of_the_latest_or_a_neighbour_is_refused(tmp_path, tiny_model, copy, of):
    save_steps(tmp_path, tiny_model, [0, 1, 2, 4, 8, 16, 256, 512])
    shutil.copy(tmp_path / f"step{of}" / "model.safetensors", tmp_path / f"step{copy}" / "model.safetensors")
    with pytest.raises(UserError, match=rf"step{copy}/model.safetensors is the same as step{of}'s") as caught:
        check_distinct_steps(tmp_path, step=copy)
    assert "\n" not in str(caught.value)


def test_one_shard_of_another_step_is_enough_to_refuse_it(tmp_path, tiny_model):
    for step, dtype in ((4, torch.float16), (8, torch.bfloat16)):
        directory = tmp_path / f"step{step}"
        save_in_shards(directory, old_state(tiny_model, dtype), stem="pytorch_model", ending="bin", save=torch.save)
    check_distinct_steps(tmp_path, step=4)
    shard = "pytorch_model-00002-of-00003.bin"
    (tmp_path / "step4" / shard).unlink()
    (tmp_path / "step4" / shard).symlink_to(tmp_path / "step8" / shard)
    with pytest.raises(UserError, match=f"{shard} is the same as step8's"):
        check_distinct_steps(tmp_path, step=4)


def test_the_first_steps_may_have_the_same_weights(tmp_path, tiny_model):
    for step in (0, 1, 2):
        tiny_model.save_pretrained(tmp_path / f"step{step}")
    save_steps(tmp_path, tiny_model, [4])
    for step in (0, 1, 2):
        check_distinct_steps(tmp_path, step=step)


def test_steps_in_another_format_are_not_compared(tmp_path, tiny_model):
    save_steps(tmp_path, tiny_model, [4])
    save_old(tmp_path / "step8", old_state(tiny_model))
    (tmp_path / "step16").mkdir()
    check_distinct_steps(tmp_path, step=4)


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_in_a_pytorch_file_changes_nothing_or_is_refused(tmp_path, tiny_model, seed):
    path = save_old(tmp_path, old_state(tiny_model)) / "pytorch_model.bin"
    expected = {name: value.clone() for name, value in load_weights(tmp_path).state_dict().items()}
    damaged, rng = bytearray(path.read_bytes()), random.Random(seed)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    try:
        found = load_weights(tmp_path).state_dict()
    except UserError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
    else:
        assert all(torch.equal(found[name], value) for name, value in expected.items())
