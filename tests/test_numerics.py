import copy
import itertools

import numpy as np
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import numpy_neox
from foundation import UserError
from training.numerics import Numerics, numerics_of, set_numerics

PYTHIA_POSITIONS = 2048
FP16_LARGEST = 65504


def one_layer(rotary_dims, positions=PYTHIA_POSITIONS, **rope_parameters):
    """A Pythia's rotary embedding in the smallest model that can hold it."""
    parameters = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25} | rope_parameters
    config = GPTNeoXConfig(
        vocab_size=8,
        hidden_size=4 * rotary_dims,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=positions,
        rope_parameters=parameters,
    )
    return GPTNeoXForCausalLM(config).eval()


def tables(rotary_dims, rope, positions=PYTHIA_POSITIONS):
    model = one_layer(rotary_dims)
    set_numerics(model, activation="erf", rope=rope)
    return model.gpt_neox.rotary_emb(torch.zeros(1), torch.arange(positions))


def tokens(rows=2, positions=100):
    return torch.randint(0, 512, (rows, positions), generator=torch.Generator().manual_seed(0))


def logits(model, ids=None, **options):
    with torch.no_grad():
        return model(tokens() if ids is None else ids, **options).logits


@pytest.fixture
def model(tiny_model):
    return copy.deepcopy(tiny_model)


REFERENCE = {"layers": 2, "heads": 2, "rotary_dims": 8}


@pytest.fixture(scope="module")
def reference_model():
    """Heads of 32, as in pythia-14m; every weight is drawn, biases and LayerNorms too."""
    config = GPTNeoXConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=PYTHIA_POSITIONS,
        initializer_range=0.1,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPTNeoXForCausalLM(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("rope", ["fp32", "neox_fp16", "neox_bf16"])
@pytest.mark.parametrize("activation", ["erf", "tanh"])
def test_the_forward_pass_is_that_of_the_numpy_reference(reference_model, activation, rope):
    model = copy.deepcopy(reference_model)
    set_numerics(model, activation=activation, rope=rope)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    ids = tokens(2, 300)
    expected = numpy_neox.logits(weights, ids.numpy(), activation=activation, rope=rope, **REFERENCE)
    np.testing.assert_allclose(logits(model, ids).numpy(), expected, rtol=0, atol=1e-5)


def test_the_numpy_reference_tells_every_option_from_every_other(reference_model):
    weights = {name: value.numpy() for name, value in reference_model.state_dict().items()}
    results = [
        numpy_neox.logits(weights, tokens(2, 300).numpy(), activation=activation, rope=rope, **REFERENCE)
        for activation in ("erf", "tanh")
        for rope in ("fp32", "neox_fp16", "neox_bf16")
    ]
    for one, other in itertools.combinations(results, 2):
        assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("rope", ["neox_fp16", "neox_bf16"])
@pytest.mark.parametrize("rotary_dims", [8, 16, 20, 32, 64])
def test_the_tables_are_bit_for_bit_those_of_the_numpy_reference(rotary_dims, rope):
    for table, expected in zip(
        tables(rotary_dims, rope), numpy_neox.rotary_tables(PYTHIA_POSITIONS, rotary_dims, rope), strict=True
    ):
        np.testing.assert_array_equal(table.numpy(), expected.astype(np.float32))


@pytest.mark.parametrize("rotary_dims", [8, 64])
def test_cosines_that_numpy_takes_in_float16_are_the_tables_within_a_unit_in_the_last_place(rotary_dims):
    angles = np.tile(numpy_neox.rotary_angles(PYTHIA_POSITIONS, rotary_dims, "neox_fp16"), 2)
    assert angles.dtype == np.float16
    for table, native in zip(tables(rotary_dims, "neox_fp16"), (np.cos(angles), np.sin(angles)), strict=True):
        np.testing.assert_array_max_ulp(native, table.numpy().astype(np.float16), maxulp=1)
        assert (native != table.numpy()).mean() < 1e-3


@pytest.mark.parametrize(("rope", "dtype"), [("neox_fp16", torch.float16), ("neox_bf16", torch.bfloat16)])
def test_no_cosine_is_so_near_a_tie_that_another_math_library_could_round_it_otherwise(rope, dtype):
    angles = torch.from_numpy(numpy_neox.rotary_angles(PYTHIA_POSITIONS, 64, rope).astype(np.float64))
    for function in (torch.cos, torch.sin):
        exact = function(angles)
        for error in (-1e-15, 1e-15):
            assert torch.equal((exact * (1 + error)).float().to(dtype), exact.float().to(dtype))


@pytest.mark.parametrize(
    ("rope", "rotary_dims", "largest", "mean"),
    [
        ("neox_fp16", 8, 0.100, 0.0048),
        ("neox_fp16", 16, 0.353, 0.0093),
        ("neox_fp16", 20, 0.410, 0.0109),
        ("neox_fp16", 32, 0.782, 0.0139),
        ("neox_fp16", 64, 0.782, 0.0152),
        ("neox_bf16", 64, 1.999, 0.1272),
    ],
)
def test_the_tables_are_off_by_the_documented_amounts(rope, rotary_dims, largest, mean):
    exact, _ = tables(rotary_dims, "fp32")
    rounded, _ = tables(rotary_dims, rope)
    difference = (rounded - exact).abs()
    assert difference.max().item() == pytest.approx(largest, abs=6e-4)
    assert difference.mean().item() == pytest.approx(mean, abs=6e-5)


@pytest.mark.parametrize(("rope", "last_exact"), [("neox_fp16", 2048), ("neox_bf16", 256)])
def test_neighbours_share_their_angles_from_the_first_position_that_the_format_lacks(rope, last_exact):
    cosines, _ = tables(8, rope, positions=last_exact + 2)
    assert torch.equal(cosines[last_exact + 1], cosines[last_exact])
    assert not torch.equal(cosines[last_exact], cosines[last_exact - 1])


def test_the_two_activations_differ_by_at_most_5e_4_near_2_7(model):
    x = torch.linspace(-8, 8, 160_001, dtype=torch.float64)
    values = {}
    for activation in ("erf", "tanh"):
        set_numerics(model, activation=activation, rope="fp32")
        values[activation] = model.gpt_neox.layers[0].mlp.act(x)
        np.testing.assert_allclose(values[activation].numpy(), numpy_neox.gelu(x.numpy(), activation), atol=1e-9)
    difference = (values["erf"] - values["tanh"]).abs()
    assert difference.max().item() == pytest.approx(4.73e-4, abs=1e-6)
    assert x[difference.argmax()].abs().item() == pytest.approx(2.70, abs=0.005)


def test_every_option_can_be_taken_back_bit_for_bit(model):
    before, rotary = logits(model), model.gpt_neox.rotary_emb
    assert numerics_of(model) == Numerics("erf", "fp32")
    seen = []
    for options in [("tanh", "fp32"), ("tanh", "neox_fp16"), ("erf", "neox_bf16"), ("erf", "neox_fp16")]:
        set_numerics(model, activation=options[0], rope=options[1])
        assert numerics_of(model) == Numerics(*options)
        seen.append(logits(model))
        assert not any(torch.equal(seen[-1], other) for other in [before, *seen[:-1]])
    set_numerics(model, activation="erf", rope="fp32")
    assert torch.equal(logits(model), before)
    assert model.gpt_neox.rotary_emb is rotary


def test_setting_the_same_again_changes_nothing(model):
    set_numerics(model, activation="tanh", rope="neox_fp16")
    modules = list(model.modules())
    set_numerics(model, activation="tanh", rope="neox_fp16")
    assert all(now is before for now, before in zip(model.modules(), modules, strict=True))


def test_the_state_dict_is_the_same_with_any_tables(model, tiny_model):
    set_numerics(model, activation="tanh", rope="neox_fp16")
    assert model.state_dict().keys() == tiny_model.state_dict().keys()


def test_a_copy_computes_what_the_model_computes_and_goes_its_own_way(model, tiny_model):
    set_numerics(model, activation="tanh", rope="neox_fp16")
    twin = copy.deepcopy(model)
    assert torch.equal(logits(twin), logits(model))
    set_numerics(twin, activation="erf", rope="fp32")
    assert torch.equal(logits(twin), logits(tiny_model))
    assert numerics_of(model) == Numerics("tanh", "neox_fp16")


def test_a_saved_model_keeps_its_activation_and_needs_its_rope_set_again(model, tmp_path):
    set_numerics(model, activation="tanh", rope="neox_fp16")
    model.save_pretrained(tmp_path)
    loaded = GPTNeoXForCausalLM.from_pretrained(tmp_path)
    assert loaded.config.hidden_act == "gelu_pytorch_tanh"
    assert numerics_of(loaded) == Numerics("tanh", "fp32")
    set_numerics(loaded, activation="tanh", rope="neox_fp16")
    assert torch.equal(logits(loaded), logits(model))


def test_the_tables_follow_the_model_to_another_device(model):
    set_numerics(model, activation="erf", rope="neox_fp16")
    model.to("meta")
    rotary = model.gpt_neox.rotary_emb
    assert {buffer.device.type for buffer in rotary.buffers()} == {"meta"}
    cosines, _ = rotary(torch.zeros(1, device="meta"), torch.arange(600, device="meta"))
    assert cosines.device.type == "meta"


@pytest.mark.parametrize("shape", [(6,), (1, 6), (3, 2), (2, 1, 3)])
def test_positions_may_have_any_shape_and_order(shape):
    model = one_layer(8)
    rotary = model.gpt_neox.rotary_emb
    positions = torch.tensor([7, 0, 2047, 3, 3, 1024]).reshape(shape)
    set_numerics(model, activation="erf", rope="neox_fp16")
    for table, found, interface in zip(
        numpy_neox.rotary_tables(PYTHIA_POSITIONS, 8, "neox_fp16"),
        model.gpt_neox.rotary_emb(torch.zeros(1), positions),
        rotary(torch.zeros(1), positions),
        strict=True,
    ):
        assert found.shape == interface.shape == (*shape, 8)
        np.testing.assert_array_equal(found.numpy(), table[positions.numpy()])


def test_a_sequence_longer_than_the_context_makes_the_tables_longer():
    model = one_layer(8, positions=16)
    set_numerics(model, activation="erf", rope="neox_fp16")
    cosines, _ = model.gpt_neox.rotary_emb(torch.zeros(1), torch.arange(3000)[None])
    expected, _ = numpy_neox.rotary_tables(3000, 8, "neox_fp16")
    np.testing.assert_array_equal(cosines[0].numpy(), expected)
    assert torch.isfinite(logits(model, torch.zeros(1, 40, dtype=torch.long))).all()


@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")  # `cache` since transformers 5.24
def test_decoding_with_a_cache_gives_the_logits_of_the_whole_sequence(model):
    set_numerics(model, activation="tanh", rope="neox_fp16")
    ids = tokens(2, 300)
    with torch.no_grad():
        start = model(ids[:, :299], use_cache=True)
        end = model(ids[:, 299:], past_key_values=start.past_key_values)
    torch.testing.assert_close(end.logits[:, 0], logits(model, ids)[:, -1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("rope", "autocast", "dtype"),
    [
        ("neox_fp16", torch.float16, torch.float16),
        ("neox_fp16", torch.bfloat16, torch.float32),
        ("neox_bf16", torch.bfloat16, torch.bfloat16),
        ("neox_bf16", torch.float16, torch.float32),
        ("neox_fp16", None, torch.float32),
    ],
)
def test_autocast_gets_the_tables_in_their_own_format_or_in_fp32_and_never_rounded_again(model, rope, autocast, dtype):
    set_numerics(model, activation="erf", rope=rope)
    rotary, positions = model.gpt_neox.rotary_emb, torch.arange(300)
    exact, _ = rotary(torch.zeros(1), positions)
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        cosines, _ = rotary(torch.zeros(1), positions)
        cast = logits(model)
    assert cosines.dtype == dtype
    assert torch.equal(cosines.float(), exact)
    torch.testing.assert_close(cast.float(), logits(model), rtol=0, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_held_in_half_precision_gets_tables_of_that_format(model, dtype):
    set_numerics(model, activation="tanh", rope="neox_fp16")
    expected = logits(model)
    torch.testing.assert_close(logits(model.to(dtype)).float(), expected, rtol=0, atol=0.05)


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_a_compiled_model_is_one_graph(model, dtype):
    set_numerics(model, activation="tanh", rope="neox_fp16")
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        torch.testing.assert_close(
            logits(compiled, use_cache=False), logits(model, use_cache=False), rtol=0, atol=1e-2 if dtype else 1e-6
        )


def test_unknown_options_are_refused(model):
    with pytest.raises(UserError, match="activation=relu is unknown; known are erf, tanh"):
        set_numerics(model, activation="relu", rope="fp32")
    with pytest.raises(UserError, match="rope=fp16 is unknown; known are fp32, neox_fp16, neox_bf16"):
        set_numerics(model, activation="erf", rope="fp16")


@pytest.mark.parametrize("hidden_act", ["relu", "gelu_new", "gelu_fast"])
def test_a_model_with_another_activation_is_refused(tiny_model, hidden_act):
    config = copy.deepcopy(tiny_model.config)
    config.hidden_act = hidden_act
    model = GPTNeoXForCausalLM(config)
    for act in (numerics_of, lambda other: set_numerics(other, activation="tanh", rope="neox_fp16")):
        with pytest.raises(UserError, match=f"hidden_act={hidden_act} .* gelu or gelu_pytorch_tanh"):
            act(model)
    assert model.config.hidden_act == hidden_act


def test_a_model_whose_layers_differ_is_refused(model):
    model.gpt_neox.layers[1].mlp.act = torch.nn.ReLU()
    with pytest.raises(UserError, match="in every layer"):
        numerics_of(model)


def test_a_scaled_rotary_embedding_is_refused_and_the_model_stays_as_it_was():
    model = one_layer(8, rope_type="linear", factor=2.0)
    with pytest.raises(UserError, match=r"rope_type=linear take training.numerics.rope=fp32"):
        set_numerics(model, activation="tanh", rope="neox_fp16")
    assert numerics_of(model) == Numerics("erf", "fp32")
    assert model.config.hidden_act == "gelu"


def with_large_scores(model, constant=300.0):
    """Queries and keys get one constant dimension each: `constant`² is added to every q·k, which softmax cannot see."""
    unrotated = -1
    for layer in model.gpt_neox.layers:
        linear = layer.attention.query_key_value
        with torch.no_grad():
            linear.weight.view(4, 3, 8, 32)[:, :2, unrotated] = 0
            linear.bias.view(4, 3, 8)[:, :2, unrotated] = constant
    return model


@pytest.mark.parametrize("rope", ["fp32", "neox_fp16"])
@pytest.mark.parametrize("padding", [False, True])
def test_fp16_is_safe_where_q_times_k_passes_its_range(model, rope, padding):
    set_numerics(with_large_scores(model), activation="tanh", rope=rope)
    assert FP16_LARGEST < 300.0**2
    assert model.config._attn_implementation == "sdpa"
    mask = torch.ones_like(tokens())
    mask[0, :5] = 1 - padding
    exact = logits(model, attention_mask=mask)
    with torch.autocast("cpu", dtype=torch.float16):
        half = logits(model, attention_mask=mask)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), exact, rtol=0, atol=0.02)


def test_eager_attention_is_not_safe_there(model):
    model = with_large_scores(model)
    model.set_attn_implementation("eager")
    with torch.autocast("cpu", dtype=torch.float16):
        assert logits(model).isnan().all()


def with_large_branches(model, attention, mlp):
    first = model.gpt_neox.layers[0]
    with torch.no_grad():
        first.attention.dense.bias.fill_(attention)
        first.mlp.dense_4h_to_h.bias.fill_(mlp)
    return model


def test_the_residual_stream_of_fp16_autocast_does_not_overflow(model):
    model.gpt_neox.embed_in.weight.data.mul_(1e6)
    with torch.autocast("cpu", dtype=torch.float16), torch.no_grad():
        hidden = model(tokens(), output_hidden_states=True).hidden_states
    assert {state.dtype for state in hidden} == {torch.float32}
    assert hidden[1].abs().max() > FP16_LARGEST
    assert torch.isfinite(hidden[-1]).all()


@pytest.mark.parametrize(("attention", "mlp", "overflows"), [(60000, 0, False), (60000, 60000, True), (70000, 0, True)])
def test_the_branches_of_fp16_autocast_overflow_alone_and_in_their_sum(model, attention, mlp, overflows):
    model = with_large_branches(model, attention, mlp)
    with torch.autocast("cpu", dtype=torch.float16):
        assert logits(model).isfinite().all().item() is not overflows
    assert logits(model).isfinite().all()
