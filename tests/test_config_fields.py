"""What a config.json may say: the three lists hold every field, and nothing that decides numbers is another's."""

import dataclasses
import json

import pytest
from transformers import GPTNeoXConfig

from foundation import UserError
from training.config_fields import PYTHIA, SIZES, WITHOUT_EFFECT
from training.weights import load_weights, read_config

KEPT_BY_TRANSFORMERS_ITSELF = {
    "_attn_implementation_internal",  # refused before (`attn_implementation`)
    "_experts_implementation_internal",  # there are no experts
    "_output_attentions",  # what `output_attentions` is kept as
    "_post_init_done",
}


def write_config(directory, tiny_model, **changes):
    tiny_model.save_pretrained(directory)
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return directory


def test_every_field_of_transformers_config_is_known_to_decide_numbers_or_sizes_or_nothing():
    fields = {field.name for field in dataclasses.fields(GPTNeoXConfig)} | vars(GPTNeoXConfig()).keys()
    fields |= GPTNeoXConfig().to_dict().keys()
    known = [*PYTHIA, *SIZES, *WITHOUT_EFFECT]
    assert sorted(fields - KEPT_BY_TRANSFORMERS_ITSELF) == sorted(known)


def test_the_reasons_why_a_field_decides_nothing_are_given():
    assert all(len(reason.split()) > 3 for reason in WITHOUT_EFFECT.values())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_dropout", 0.3),
        ("attention_dropout", 0.1),
        ("use_parallel_residual", False),
        ("layer_norm_eps", 0.1),
        ("layer_norm_eps", 1e-12),
        ("attention_bias", False),
        ("tie_word_embeddings", True),
        ("hidden_act", "relu"),
        ("hidden_act", "gelu_fast"),
        ("output_attentions", True),
        ("return_dict", False),
        ("rope_parameters", {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4, "partial_rotary_factor": 0.25}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 5e5, "partial_rotary_factor": 0.25}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}),
        ("rope_scaling", {"type": "dynamic", "factor": 4.0}),
        ("rotary_pct", 1.0),
        ("rotary_emb_base", 1e6),
        ("rope_theta", 5e5),
        ("partial_rotary_factor", 1.0),
        ("head_dim", 4),
        ("is_causal", False),
        ("sliding_window", 64),
        ("per_layer_config", {"0": {"attention_dropout": 0.1}}),
        ("layer_types", ["sliding_attention", "full_attention"]),
        ("a_field_of_tomorrow", 1),
    ],
)
def test_a_model_that_computes_otherwise_than_a_pythia_is_refused(tmp_path, tiny_model, field, value):
    with pytest.raises(UserError, match=field.replace("rope_scaling", "rope_parameters")) as caught:
        load_weights(write_config(tmp_path, tiny_model, **{field: value}))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "config.json") in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "gelu_pytorch_tanh"},
        {"hidden_dropout": 0, "attention_dropout": 0.0, "classifier_dropout": 0.3},
        {"use_cache": False, "pad_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"},
        {"layer_norm_eps": 9.999999747378752e-06, "is_decoder": True},  # by way of fp32; as transformers' docs do
        {"rope_scaling": None, "head_dim": None, "sliding_window": None},
        {"rotary_pct": 0.25, "rope_theta": 10000, "partial_rotary_factor": 0.25},
        {"max_length": 20, "do_sample": True, "temperature": 0.7},
        {"_name_or_path": "a/b", "id2label": {"0": "yes"}, "label2id": {"yes": 0}, "unsloth_version": "2024.9"},
    ],
)
def test_what_decides_nothing_may_be_as_it_likes(tmp_path, tiny_model, changes):
    config = read_config(write_config(tmp_path, tiny_model, **changes))
    assert config.hidden_size == tiny_model.config.hidden_size


def as_published(**changes):
    """What Pythia's config.json say that were written in 2022 and 2023, for a tiny model."""
    return {
        "architectures": ["GPTNeoXForCausalLM"],
        **{"bos_token_id": 0, "eos_token_id": 0, "hidden_act": "gelu", "hidden_size": 32, "initializer_range": 0.02},
        **{"intermediate_size": 128, "layer_norm_eps": 1e-05, "max_position_embeddings": 128, "model_type": "gpt_neox"},
        **{"num_attention_heads": 4, "num_hidden_layers": 2, "rotary_emb_base": 10000, "rotary_pct": 0.25},
        **{"tie_word_embeddings": False, "torch_dtype": "float16", "transformers_version": "4.24.0"},
        **{"use_cache": True, "use_parallel_residual": True, "vocab_size": 512},
        **changes,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"classifier_dropout": 0.1, "transformers_version": "4.29.2"},
        {"attention_bias": True, "attention_dropout": 0.0, "hidden_dropout": 0.0, "rope_scaling": None},
        {"rope_theta": 10000, "partial_rotary_factor": 0.25, "_attn_implementation_autoset": True},
        {"rope_scaling": {"type": "default"}, "rotary_emb_base": 10000.0},
    ],
)
def test_configs_as_pythias_were_published_with_load(tmp_path, changes):
    (tmp_path / "config.json").write_text(json.dumps(as_published(**changes)))
    config = read_config(tmp_path)
    assert config.rope_parameters["partial_rotary_factor"] == 0.25
    assert config.rope_parameters["rope_theta"] == 10000


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"layer_norm_eps": "1e-5"}, "'layer_norm_eps' expected float, got str"),
        ({"hidden_dropout": None}, "'hidden_dropout' with value None"),
        ({"num_attention_heads": 3}, "not divisible by the number of attention heads"),
    ],
)
def test_a_config_that_transformers_refuses_is_refused_with_its_reason_in_one_line(tmp_path, changes, reason):
    (tmp_path / "config.json").write_text(json.dumps(as_published(**changes)))
    with pytest.raises(UserError, match=reason) as caught:
        read_config(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "config.json") in str(caught.value)
