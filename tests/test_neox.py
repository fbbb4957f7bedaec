import contextlib
import dataclasses
import os
import pickle
import random
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from foundation import UserError
from neox_generator import draw_toy, edited, group_names, write_checkpoint
from training.neox import make_model, neox_steps, parameters, read_neox, write_transformers
from training.neox.layout import merge_masters, merge_weights
from training.optimizer import make_optimizer
from training.recipe import Recipe

RECIPE = Recipe(
    lr=1e-3,
    min_lr=1e-4,
    lr_schedule="neox_v1",
    warmup=0.01,
    lr_decay_iters=143000,
    weight_decay=0.1,
    adam_beta1=0.9,
    adam_beta2=0.95,
    adam_eps=1e-8,
    gradient_clipping=1.0,
    sequences_per_step=1024,
    model_parallel_size=1,
)
YML = """{
   # parallelism settings
   "pipe-parallel-size": 1,
   "num-layers": 2,   # comments come anywhere
   "hidden-size": 32,
   "num-attention-heads": 4,
   #"num-attention-heads": 5,
   "max-position-embeddings": 64,
   "pos-emb": "rotary",
   "rotary_pct": 0.25,
   "no-weight-tying": true,
   "gpt_j_residual": true,
   "attention-config": [[["flash"], 36]]
   "optimizer": {"type": "Adam", "params": {"lr": 0.00012, "betas": [0.9, 0.95], "eps": 1.0e-8}},
}
"""


def assert_equal(given, expected):
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        assert given[name].dtype == value.dtype, name
        assert torch.equal(given[name], value), name


def assert_is(checkpoint, toy, *, dtype=torch.float16):
    assert_equal(checkpoint.masters, toy.masters)
    assert_equal(checkpoint.exp_avg, toy.exp_avg)
    assert_equal(checkpoint.exp_avg_sq, toy.exp_avg_sq)
    assert_equal(checkpoint.weights, {name: value.to(dtype) for name, value in toy.masters.items()})


def zero_file(target, rank, mp_rank=0):
    return target / f"zero_pp_rank_{rank}_mp_rank_{mp_rank:02d}_optim_states.pt"


def layer_file(target, layer, mp_rank=0):
    return target / f"layer_{layer:02d}-model_{mp_rank:02d}-model_states.pt"


def state_file(target, mp_rank=0):
    return target / f"mp_rank_{mp_rank:02d}_model_states.pt"


def refused(target, *parts):
    with pytest.raises(UserError) as caught:
        read_neox(target)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def swap(one, other):
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def test_every_tensor_of_a_zero_1_checkpoint_comes_back_by_name(tmp_path):
    toy = draw_toy()
    checkpoint = read_neox(write_checkpoint(tmp_path, toy, dp=3, intervals=(2, 2)))
    assert_is(checkpoint, toy)
    assert (checkpoint.step, checkpoint.updates, checkpoint.adam_step, checkpoint.model_parallel_size) == (
        7,
        5,
        None,
        1,
    )
    assert checkpoint.loss_scaler == {"scale": 8192.0, "iteration": 7.0, "last_overflow": 1.0, "hysteresis": 2.0}
    assert dataclasses.asdict(checkpoint.architecture) == {
        "hidden_size": 32,
        "num_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 40,
        "max_position_embeddings": 64,
    }


@pytest.mark.parametrize("mp", [2, 4])
def test_model_parallel_ranks_are_merged(tmp_path, mp):
    toy = draw_toy()
    checkpoint = read_neox(write_checkpoint(tmp_path, toy, mp=mp))
    assert_is(checkpoint, toy)
    assert checkpoint.model_parallel_size == mp
    assert checkpoint.architecture.vocab_size == 40


@pytest.mark.parametrize("weights_in", ["layers", "module"])
@pytest.mark.parametrize("mp", [1, 2])
def test_stage_0_keeps_its_adam_step_and_may_keep_its_weights_in_the_model_states(tmp_path, weights_in, mp):
    toy = draw_toy()
    checkpoint = read_neox(write_checkpoint(tmp_path, toy, stage=0, weights_in=weights_in, mp=mp))
    assert_is(checkpoint, toy)
    assert (checkpoint.updates, checkpoint.adam_step) == (5, 6)
    assert checkpoint.loss_scaler == {"scale": 8192.0, "iteration": 7.0, "last_overflow": 1.0, "hysteresis": 1.0}


def test_bf16_is_checked_in_bf16_and_has_no_loss_scaler(tmp_path):
    toy = draw_toy()
    checkpoint = read_neox(write_checkpoint(tmp_path, toy, dtype=torch.bfloat16))
    assert_is(checkpoint, toy, dtype=torch.bfloat16)
    assert checkpoint.loss_scaler == {}


def test_the_last_sub_partitions_may_be_short_or_empty(tmp_path):
    toy = draw_toy(layers=1, hidden=8, heads=1, vocab=8)
    target = write_checkpoint(tmp_path, toy, dp=5, intervals=(1, 3), slack=6)
    with edited(zero_file(target, 4)) as content:
        masters = content["optimizer_state_dict"]["local_sub_partitions_of_fp32_groups"]
        assert masters[1][-1].numel() == 0
    assert_is(read_neox(target), toy)


@settings(max_examples=25, deadline=None)
@given(
    dp=st.integers(1, 5),
    intervals=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    mp=st.sampled_from([1, 2, 4]),
    layers=st.integers(1, 3),
    head_size=st.sampled_from([8, 9, 11]),
    vocab=st.integers(1, 9),
    slack=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_any_split_of_any_model_comes_back(dp, intervals, mp, layers, head_size, vocab, slack, seed):
    toy = draw_toy(layers=layers, hidden=4 * head_size, vocab=4 * vocab, seed=seed)
    with tempfile.TemporaryDirectory() as directory:
        target = write_checkpoint(Path(directory), toy, dp=dp, intervals=intervals, mp=mp, slack=slack)
        assert_is(read_neox(target), toy)


def test_merged_masters_are_rounded_once_and_merged_weights_after_every_addition_as_published():
    parts = [torch.tensor([value]) for value in (2048.0, 1.0, 1.0, 1.0)]
    assert merge_masters(parts, "sum").item() == 2051
    assert merge_weights([part.half() for part in parts], "sum").item() == 2048
    value = torch.full((1,), 0.9)
    assert (value + value + value) / 3 != value
    assert torch.equal(merge_masters([value] * 3, "mean"), value)


def test_steps_are_listed_in_order(tmp_path):
    for step in (0, 512, 143000, 1000):
        (tmp_path / f"global_step{step}").mkdir()
    (tmp_path / "global_step7").touch()
    (tmp_path / "global_steps").mkdir()
    assert neox_steps(tmp_path) == [0, 512, 1000, 143000]


def test_the_optimizer_groups_are_those_that_the_kit_trains_with(tmp_path, tiny_model):
    names = {parameter: name for name, parameter in tiny_model.named_parameters()}
    groups = make_optimizer(tiny_model, RECIPE).param_groups
    listed = parameters(tiny_model.config.num_hidden_layers)
    for number, generated in enumerate(group_names(tiny_model.config.num_hidden_layers)):
        decayed = number == 0
        ours = {names[one] for group in groups if (group["weight_decay"] > 0) == decayed for one in group["params"]}
        assert ours == {each.name for each in listed if each.group == number} == set(generated)
    assert sum(len(group["params"]) for group in groups) == len(listed) == len(names)


def test_a_model_holds_copies_of_the_masters_and_computes(tmp_path):
    toy = draw_toy()
    checkpoint = read_neox(write_checkpoint(tmp_path, toy))
    state = torch.get_rng_state()
    model = make_model(checkpoint)
    assert torch.equal(torch.get_rng_state(), state)
    assert_equal(dict(model.named_parameters()), toy.masters)
    assert model.config.hidden_act == "gelu"
    assert model.config.rope_parameters["partial_rotary_factor"] == 0.25
    with torch.inference_mode():
        assert model(torch.arange(40)[None]).logits.isfinite().all()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert_equal(checkpoint.masters, toy.masters)


def test_training_in_place_does_not_change_the_files(tmp_path):
    toy = draw_toy()
    target = write_checkpoint(tmp_path, toy, dp=1, intervals=(1, 1))
    checkpoint = read_neox(target)
    for tensors in (checkpoint.weights, checkpoint.masters, checkpoint.exp_avg, checkpoint.exp_avg_sq):
        for value in tensors.values():
            assert not value.requires_grad
            value.zero_()
    assert_is(read_neox(target), toy)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_transformers_loads_what_is_written_with_equal_logits(tmp_path, dtype):
    checkpoint = read_neox(write_checkpoint(tmp_path, draw_toy(), mp=2, dtype=dtype))
    write_transformers(checkpoint, tmp_path / "step7")
    assert {path.name for path in tmp_path.iterdir()} == {"global_step7", "step7"}
    halves = {name: value.half() for name, value in checkpoint.weights.items()}
    with safe_open(tmp_path / "step7" / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert names == {name.replace("lm_head", "embed_out") for name in halves}
    stored = AutoModelForCausalLM.from_pretrained(tmp_path / "step7", dtype="auto")
    assert_equal(dict(stored.named_parameters()), halves)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "step7", dtype=torch.float32)
    floats = {name: value.float() for name, value in halves.items()}
    expected = make_model(dataclasses.replace(checkpoint, masters=floats))
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        assert torch.equal(loaded(ids).logits, expected(ids).logits)
    with pytest.raises(UserError, match="step7 exists already"):
        write_transformers(checkpoint, tmp_path / "step7")


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        (lambda target: zero_file(target, 1, 1), {}),
        (lambda target: layer_file(target, 3), {}),
        (lambda target: layer_file(target, 6, 1), {"arguments": False}),
        (lambda target: state_file(target, 1), {}),
        (lambda target: state_file(target, 0), {}),
        (lambda target: layer_file(target, 6), {}),
    ],
)
def test_a_missing_file_is_named(tmp_path, path, arguments):
    target = write_checkpoint(tmp_path, draw_toy(), mp=2, **arguments)
    path(target).unlink()
    refused(target, f"{path(target)} is missing")


def test_a_missing_last_layer_is_noticed_without_arguments(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy(), arguments=False)
    layer_file(target, 6).unlink()
    refused(target, "holds layer 3, which a model of 1 layers does not have")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize(
    "path", [lambda target: zero_file(target, 1), lambda target: layer_file(target, 2), state_file]
)
def test_a_cut_off_file_is_named(tmp_path, path, share):
    target = write_checkpoint(tmp_path, draw_toy())
    whole = path(target).read_bytes()
    path(target).write_bytes(whole[: int(len(whole) * share)])
    refused(target, f"{path(target)} cannot be read", "fetch it again")


def test_a_directory_with_another_steps_files_is_refused(tmp_path):
    refused(
        write_checkpoint(tmp_path, draw_toy(), step=7, named_step=8),
        "was saved at iteration 7, its directory is named global_step8",
    )


def test_a_directory_of_another_name_is_refused(tmp_path):
    refused(write_checkpoint(tmp_path, draw_toy()).rename(tmp_path / "latest"), "no directory named global_step<N>")


def test_updates_that_contradict_the_skipped_steps_are_refused(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy())
    with edited(state_file(target)) as content:
        content["lr_scheduler"]["num_iters"] = 6
    refused(target, "iteration=7 and skipped_steps=2, which makes 5 updates, but its lr_scheduler counts 6")


def test_model_parallel_ranks_of_two_steps_are_refused(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy(), mp=2)
    with edited(state_file(target, 1)) as content:
        content["iteration"] += 1
    refused(target, "mp_rank_01_model_states.pt says iteration=8", "says 7")


def test_a_partition_count_that_contradicts_the_data_parallel_size_is_refused(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy())
    with edited(zero_file(target, 2)) as content:
        content["optimizer_state_dict"]["partition_count"] = 4
    refused(target, "zero_pp_rank_2_mp_rank_00_optim_states.pt says partition_count=4", "says dp_world_size=3")


def test_a_file_of_a_rank_too_many_is_refused(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy())
    shutil.copy(zero_file(target, 2), zero_file(target, 3))
    refused(target, "zero_pp_rank_3_mp_rank_00_optim_states.pt contradicts", "dp_world_size=3")
    zero_file(target, 3).unlink()
    shutil.copy(state_file(target), state_file(target, 1))
    refused(target, "mp_rank_01_model_states.pt contradicts", "mp_world_size=1")
    state_file(target, 1).unlink()
    shutil.copy(layer_file(target, 2), layer_file(target, 2, 1))
    refused(target, "layer_02-model_01-model_states.pt contradicts", "mp_world_size=1")


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_wrong_number_of_elements_is_refused(tmp_path, rank, change):
    target = write_checkpoint(tmp_path, draw_toy())
    with edited(zero_file(target, rank)) as content:
        state = content["optimizer_state_dict"]
        pieces = [state["local_sub_partitions_of_fp32_groups"][0], *state["base_optimizer_state"][0]]
        for holder, key in ((pieces[0], 1), (pieces[2], "exp_avg"), (pieces[2], "exp_avg_sq")):
            value = holder[key].detach()
            holder[key] = value[:-1].clone() if change < 0 else torch.cat([value, value[:1]])
    refused(target, "elements of", "group 0", "expected", "make")


def test_moments_of_another_length_than_their_masters_are_refused(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy())
    with edited(zero_file(target, 1)) as content:
        moment = content["optimizer_state_dict"]["base_optimizer_state"][1][0]
        moment["exp_avg_sq"] = moment["exp_avg_sq"][:-1].clone()
    refused(target, "zero_pp_rank_1_mp_rank_00_optim_states.pt holds", "elements of exp_avg_sq for")


@pytest.mark.parametrize("stage", [0, 1])
def test_groups_of_another_model_are_refused(tmp_path, stage):
    target = write_checkpoint(tmp_path / "two", draw_toy(layers=2), stage=stage)
    other = write_checkpoint(tmp_path / "three", draw_toy(layers=3), stage=stage)
    if stage == 1:
        for rank in range(3):
            shutil.copy(zero_file(other, rank), zero_file(target, rank))
    else:
        with edited(state_file(other)) as content:
            optimizer = content["optimizer"]
        with edited(state_file(target)) as content:
            content["optimizer"] = optimizer
    refused(target, "group 0", "the model's tensors make")


def test_files_of_two_steps_are_told_by_their_loss_scalers(tmp_path):
    target = write_checkpoint(tmp_path / "one", draw_toy())
    other = write_checkpoint(tmp_path / "other", draw_toy(), step=8)
    shutil.copy(zero_file(other, 1), zero_file(target, 1))
    refused(target, "zero_pp_rank_1_mp_rank_00_optim_states.pt has the loss scaler", "'iteration': 8.0")


def test_two_swapped_tensors_are_caught_by_name(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy())
    with edited(layer_file(target, 3)) as content:
        one, other = "input_layernorm.weight", "post_attention_layernorm.weight"
        content[one], content[other] = content[other], content[one]
    refused(target, "2 of 28 tensors are not their fp32 masters", "the first is input_layernorm.weight of layer 3")


def test_two_swapped_layers_are_caught(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy())
    swap(layer_file(target, 2), layer_file(target, 3))
    refused(target, "24 of 28 tensors", "the first is attention.query_key_value.weight of layer 2")


def test_two_swapped_ranks_are_caught(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy())
    swap(zero_file(target, 0), zero_file(target, 1))
    refused(target, "tensors are not their fp32 masters", "the first is word_embeddings.weight of layer 0")


def test_two_swapped_model_parallel_ranks_are_caught(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy(), mp=2)
    for rank in range(3):
        swap(zero_file(target, rank, 0), zero_file(target, rank, 1))
    refused(target, "tensors are not their fp32 masters", "model-parallel rank 0")


def test_one_changed_weight_is_caught(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy(), mp=2)
    with edited(layer_file(target, 5, 1)) as content:
        content["norm.bias"].view(torch.int16)[3] ^= 1
    refused(target, "1 of 56 tensors", "the first is norm.bias of layer 5, model-parallel rank 1")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda layer: layer.pop("mlp.dense_4h_to_h.bias"), ["no mlp.dense_4h_to_h.bias in layer 2"]),
        (
            lambda layer: layer.update({"attention.dense.weight": torch.zeros(32, 31).half()}),
            ["attention.dense.weight in layer 2", "(32, 31), expected (32, 32)"],
        ),
        (
            lambda layer: layer.update({"attention.dense.weight": layer["attention.dense.weight"].float()}),
            ["is torch.float32, expected float16"],
        ),
        (lambda layer: layer.update({"mlp.dense_h_to_4h.weight": torch.zeros(()).half()}), ["of the shape ()"]),
    ],
)
def test_tensors_of_another_model_are_refused(tmp_path, change, parts):
    target = write_checkpoint(tmp_path, draw_toy())
    with edited(layer_file(target, 2)) as content:
        change(content)
    refused(target, *parts)


@pytest.mark.parametrize("key", ["iteration", "lr_scheduler", "mp_world_size", "dp_world_size"])
def test_a_field_that_is_not_there_is_named(tmp_path, key):
    target = write_checkpoint(tmp_path, draw_toy())
    with edited(state_file(target)) as content:
        del content[key]
    refused(target, f"holds no '{key}'")


def test_a_zero_checkpoint_that_is_not_elastic_is_refused(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy())
    with edited(zero_file(target, 0)) as content:
        del content["optimizer_state_dict"]["zero_stage"]
    refused(target, "holds no 'zero_stage'; it was not written by GPT-NeoX v1.0")


class CreatesAFile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Evaluates:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


class RunsACommand:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize(
    "path", [state_file, lambda target: layer_file(target, 2), lambda target: zero_file(target, 0)]
)
@pytest.mark.parametrize(
    ("malice", "name"), [(CreatesAFile, "getattr"), (Evaluates, "eval"), (RunsACommand, f"{os.name}.system")]
)
def test_code_in_a_file_is_named_and_not_executed(tmp_path, path, malice, name):
    target = write_checkpoint(tmp_path, draw_toy())
    with edited(path(target)) as content:
        content["extra"] = malice(tmp_path / "created")
    refused(target, f"{path(target)} names ", name, "nothing of it was executed")
    assert not (tmp_path / "created").exists()


def test_a_file_that_is_no_archive_is_refused_unexecuted(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy())
    layer_file(target, 2).write_bytes(pickle.dumps(Evaluates(tmp_path / "created"), protocol=2))
    refused(target, f"{layer_file(target, 2)}")
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize("folder", ["global_step7/configs", "configs"])
def test_the_configuration_files_serve_where_no_arguments_are_stored(tmp_path, folder):
    target = write_checkpoint(tmp_path, draw_toy(), arguments=False, rotary_dims=0)
    refused(target, "does not say num_attention_heads", "configs")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "pythia.yml").write_text(YML)
    architecture = read_neox(target).architecture
    assert architecture.num_attention_heads == 4
    assert architecture.max_position_embeddings == 64


def test_hyphens_in_the_stored_arguments_are_read(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy())
    with edited(state_file(target)) as content:
        content["args"] = {key.replace("_", "-"): value for key, value in content["args"].items()}
    assert read_neox(target).architecture.num_attention_heads == 4


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('"num-layers": 2', '"num-layers": 40', ["num_layers=40, its tensors say 2"]),
        ('"num-attention-heads": 4', '"num-attention-heads": 2', ["store 1 frequencies, which rotate 2 of 16"]),
        ('"rotary_pct": 0.25', '"rotary_pct": 1', ["rotary_pct=1, Pythia has 0.25"]),
        ('"rotary_pct": 0.25', '"rotary-emb-base": 5e5', ["rotary_emb_base=5e5, Pythia has 10000"]),
        ('"rotary_pct": 0.25', '"hidden-dropout": 0.1', ["hidden_dropout=0.1, Pythia has 0.0"]),
        ('"rotary_pct": 0.25', '"attention_dropout": 0.1', ["attention_dropout=0.1, Pythia has 0.0"]),
        ('"rotary_pct": 0.25', '"layernorm-epsilon": 1.0e-12', ["layernorm_epsilon=1.0e-12, Pythia has 1e-05"]),
        ('"gpt_j_residual": true', '"gpt-j-residual": False', ["gpt_j_residual=False, Pythia has True"]),
        ('"num-attention-heads": 4', '"num-attention-heads": 3', ["num_attention_heads=3, which does not divide"]),
        ('"num-attention-heads": 4', '"num-attention-heads": many', ["num_attention_heads=many, a number"]),
        ('"pos-emb": "rotary"', '"pos-emb": "learned"', ["pos_emb=learned, Pythia has rotary"]),
        ('"max-position-embeddings": 64', "", ["does not say max_position_embeddings"]),
    ],
)
def test_a_configuration_of_another_model_is_refused(tmp_path, old, new, parts):
    target = write_checkpoint(tmp_path, draw_toy(), arguments=False)
    (target / "configs").mkdir()
    assert old in YML
    (target / "configs" / "pythia.yml").write_text(YML.replace(old, new))
    refused(target, *parts)


def test_two_configurations_that_differ_are_refused(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy(), arguments=False)
    (target / "configs").mkdir()
    (target / "configs" / "one.yml").write_text(YML)
    (target / "configs" / "two.yml").write_text("num-attention-heads: 8\n")
    refused(target, "two.yml says num_attention_heads=8", "one.yml says 4")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stage", [0, 1])
def test_a_flipped_bit_anywhere_in_a_checkpoint_changes_nothing_or_is_refused(tmp_path, stage, seed):
    target = write_checkpoint(tmp_path, draw_toy(), stage=stage, dp=1 if stage == 0 else 3)
    expected = {kind: clones(getattr(read_neox(target), kind)) for kind in ("masters", "exp_avg", "exp_avg_sq")}
    rng = random.Random(seed)
    for _ in range(20):
        file = rng.choice(sorted(target.iterdir()))
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        try:
            found = read_neox(target)
        except UserError as error:
            assert file.name in str(error) and "\n" not in str(error)
        else:
            for kind, tensors in expected.items():
                assert_equal(getattr(found, kind), tensors)
        file.write_bytes(whole)


def clones(tensors):
    return {name: value.clone() for name, value in tensors.items()}


def all_moments(content):
    """The moments in a file of either stage, group by group."""
    state = content.get("optimizer_state_dict") or content["optimizer"]["optimizer_state_dict"]
    if "state" in state:
        return list(state["state"].values())
    return [moment for group in state["base_optimizer_state"] for moment in group]


def one(value):
    return lambda moments, kind: moments[0][kind].flatten()[3:4].fill_(value)


def zeros(moments, kind):
    for moment in moments:
        moment[kind].zero_()


def of_elsewhere(moments, kind):
    moments[0][kind].copy_(moments[0][kind].roll(1))


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize(
    ("kind", "change", "part"),
    [
        ("exp_avg", one(float("nan")), "(exp_avg) that are no numbers"),
        ("exp_avg", one(float("-inf")), "(exp_avg) that are no numbers"),
        ("exp_avg_sq", one(float("nan")), "(exp_avg_sq) that are no numbers"),
        ("exp_avg_sq", one(float("inf")), "(exp_avg_sq) that are no numbers"),
        ("exp_avg_sq", one(-1e-12), "(exp_avg_sq) down to -1e-12"),
        ("exp_avg_sq", zeros, "larger than their second moments"),
        ("exp_avg", one(1e4), "1 first moments (exp_avg) that are larger than their second moments"),
        ("exp_avg", of_elsewhere, "the two are not of one step"),
    ],
)
def test_moments_that_no_training_leaves_are_refused(tmp_path, stage, kind, change, part):
    target = write_checkpoint(tmp_path, draw_toy(), stage=stage, dp=1 if stage == 0 else 3)
    file = state_file(target) if stage == 0 else zero_file(target, 1)
    with edited(file) as content:
        change(all_moments(content), kind)
    refused(target, str(file), part, "fetch it again")


@pytest.mark.parametrize("stage", [0, 1])
def test_moments_of_one_rank_that_are_all_zero_are_refused_once_the_model_has_moved(tmp_path, stage):
    arguments = {"stage": stage, "dp": 1 if stage == 0 else 3}
    target = write_checkpoint(tmp_path, draw_toy(), **arguments)
    still = write_checkpoint(tmp_path, draw_toy(), step=0, skipped=0, **arguments)
    for directory in (target, still):
        with edited(state_file(directory) if stage == 0 else zero_file(directory, 2)) as content:
            for kind in ("exp_avg", "exp_avg_sq"):
                zeros(all_moments(content), kind)
    refused(target, "only zeros as second moments", "5 updates")
    assert read_neox(still).updates == 0


@pytest.mark.parametrize("step", [5, 6, None])
def test_the_moments_of_stage_0_say_of_which_step_they_are(tmp_path, step):
    target = write_checkpoint(tmp_path, draw_toy(), stage=0, dp=1)

    def say(number):
        with edited(state_file(target)) as content:
            for group in content["optimizer"]["optimizer_state_dict"]["param_groups"]:
                group["step"] = number

    say(step)
    assert read_neox(target).adam_step == step
    for other in (4, 7, 143_000):
        say(other)
        refused(target, f"moments of Adam's step {other}, but the model has made 5 updates")


def test_a_loss_scaler_that_has_seen_more_steps_than_were_made_is_refused(tmp_path):
    target = write_checkpoint(tmp_path, draw_toy(), dp=1, intervals=(1, 1))
    with edited(zero_file(target, 0)) as content:
        content["optimizer_state_dict"]["loss_scaler"].cur_iter = 8
    refused(target, "loss scaler of iteration 8", "saved at iteration 7")


@pytest.mark.parametrize("kinds", [["local", "global"], ["sparse_fixed", "sparse_fixed"]])
def test_attention_that_does_not_look_at_all_that_came_before_is_refused(tmp_path, kinds):
    path = write_checkpoint(tmp_path, draw_toy())
    with edited(path / "mp_rank_00_model_states.pt") as state:
        state["args"]["attention_config"] = kinds
    with pytest.raises(UserError, match=f"attention_config=.*{kinds[0]}, Pythia has global or flash"):
        read_neox(path)


CONFIGURATION = """{
  # the model
  "num-layers": 2, "hidden-size": 32, "num-attention-heads": 4,
  "max-position-embeddings": 2048, "rotary-pct": 0.25,
  "gpt-j-residual": True, "hidden-dropout": 0, "attention-config": [[["flash"], 2]],
  "fp16": {"enabled": true, "loss_scale": 0,},
}"""


@pytest.mark.parametrize(
    ("further", "said"),
    [
        ('{"hidden-dropout": 0.0, "gpt-j-residual": true, "rotary-pct": .25}', None),
        ('{"attention-config": [ [["flash"], 2] ]}', None),
        ('{"hidden-dropout": 0.1}', "hidden_dropout=0.1, .* says 0; keep the file of this model only"),
        ('{"attention-config": [[["local"], 2]]}', "attention_config=.*local.* keep the file of this model only"),
    ],
)
def test_two_configurations_that_say_the_same_in_other_spellings_do_not_contradict_each_other(tmp_path, further, said):
    path = write_checkpoint(tmp_path, draw_toy(), arguments=False)
    (path / "configs").mkdir()
    (path / "configs" / "1.yml").write_text(CONFIGURATION)
    (path / "configs" / "2.yml").write_text(further)
    with pytest.raises(UserError, match=said) if said else contextlib.nullcontext():
        assert read_neox(path).architecture.max_position_embeddings == 2048


def test_sparse_attention_in_a_configuration_is_refused(tmp_path):
    path = write_checkpoint(tmp_path, draw_toy())
    (path / "configs").mkdir()
    (path / "configs" / "1.yml").write_text(CONFIGURATION.replace("flash", "sparse_variable"))
    with pytest.raises(UserError, match="attention_config=sparse_variable, Pythia has global or flash"):
        read_neox(path)


def test_files_of_the_kind_before_pytorch_1_6_are_read(tmp_path):
    expected = read_neox(write_checkpoint(tmp_path / "new", draw_toy()))
    path = write_checkpoint(tmp_path / "old", draw_toy())
    for file in path.glob("layer_*"):
        content = torch.load(file, map_location="cpu", weights_only=True)
        torch.save(content, file, _use_new_zipfile_serialization=False)
    found = read_neox(path).weights
    assert found.keys() == expected.weights.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.weights.items())
