import copy
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from foundation import UserError
from test_loop import RECIPE, assert_bitwise_equal, batch_at, run, start, weights  # noqa: F401  # `start` is a fixture
from training import Batch, Checkpoint, choose_compile
from training.compilation import called_by, layer_calls
from training.trainer import Trainer

# torch's own compilers warn of themselves
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor", "ignore:.torch.jit.script_method")

CPU = torch.device("cpu")
ROWS = torch.arange(1, 65).view(4, 16)


def gradients(model, *, compile=False, activation_checkpointing="none", backend="eager", precision=None, **inputs):  # noqa: A002
    calls = layer_calls(model, compile=compile, activation_checkpointing=activation_checkpointing, backend=backend)
    model.zero_grad()
    with called_by(model, calls):
        with torch.autocast("cpu", precision, enabled=precision is not None):
            hidden = model.gpt_neox(ROWS, use_cache=False, **inputs).last_hidden_state
        hidden.float().square().mean().backward()
    return {name: value.grad.clone() for name, value in model.gpt_neox.named_parameters()}


class Captured:
    """A backend that keeps the graphs and runs them as they are."""

    def __init__(self):
        self.graphs = []

    def __call__(self, graph, inputs):
        self.graphs.append(graph)
        return graph

    def attention(self):
        """How attention is called: each call's mask and whether it is causal."""
        kernel = torch.nn.functional.scaled_dot_product_attention
        nodes = [node for graph in self.graphs for node in graph.graph.nodes if node.target is kernel]
        return [(node.kwargs.get("attn_mask"), node.kwargs.get("is_causal", False)) for node in nodes]


@pytest.fixture
def model(tiny_model):
    return copy.deepcopy(tiny_model).train()


def test_compiled_attention_is_causal_and_has_no_mask(model):
    captured = Captured()
    gradients(model, compile=True, backend=captured)
    assert captured.attention() == [(None, True)]  # the layers share one graph


def test_a_mask_that_comes_back_is_seen(model):
    captured = Captured()
    mask = torch.zeros(4, 1, 16, 16)
    gradients(model, compile=True, backend=captured, attention_mask=mask)
    ((found, causal),) = captured.attention()
    assert found is not None and not causal


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["full", "selective"])
def test_activations_that_are_computed_again_give_equal_gradients(model, kind, compiled, precision):
    plain = gradients(model, precision=precision)
    again = gradients(model, activation_checkpointing=kind, compile=compiled, precision=precision)
    assert_bitwise_equal(again, plain)


def test_what_is_computed_again_is_not_kept(model):
    def kept(kind):
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with (
            called_by(model, layer_calls(model, compile=False, activation_checkpointing=kind)),
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        ):
            model.gpt_neox(ROWS, use_cache=False)
        return sum(sizes.values())

    assert kept("full") < kept("none") / 2


def test_after_training_the_layers_are_called_as_before(model):
    with (
        pytest.raises(KeyboardInterrupt),
        called_by(model, layer_calls(model, compile=False, activation_checkpointing="full")),
    ):
        raise KeyboardInterrupt
    assert all("forward" not in vars(layer) for layer in model.gpt_neox.layers)


def test_a_compiled_arm_trains_as_a_plain_one_and_resumes_bitwise(start, tmp_path):  # noqa: F811
    if shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler")
    plain = weights(run(start(), tmp_path / "plain", stop=6))
    whole = weights(run(start(), tmp_path / "whole", stop=6, compile=True))
    run(start(), tmp_path / "parts", stop=4, compile=True)
    assert_bitwise_equal(weights(run(start(), tmp_path / "parts", stop=6, compile=True)), whole)
    for name in plain:
        torch.testing.assert_close(whole[name], plain[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("choice", ["auto", "never"])
def test_on_a_cpu_nothing_is_compiled_unless_asked_for(choice):
    assert not choose_compile(choice, CPU)


def test_who_asks_for_compiled_code_without_a_compiler_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"training.compile=always needs a C\+\+ compiler .* install it or take"):
        choose_compile("always", CPU)


def test_unknown_choices_are_refused(model):
    with pytest.raises(UserError, match=r"training.compile=on is unknown; known are auto, always, never"):
        choose_compile("on", CPU)
    with pytest.raises(UserError, match="activation_checkpointing=half is unknown; known are none, selective, full"):
        layer_calls(model, compile=False, activation_checkpointing="half")


def test_a_trainer_that_computes_again_has_the_plain_gradients(start):  # noqa: F811
    def found(kind):
        trainer = Trainer(
            start(), recipe=RECIPE, precision="fp32", micro_batch=3, device=CPU, activation_checkpointing=kind
        )
        losses = trainer.backward(batch_at(3), give_up=lambda: False)
        return losses, {name: value.grad for name, value in trainer.model.named_parameters()}

    plain, again = found("none"), found("full")
    assert plain[0].mean == again[0].mean and np.isfinite(plain[0].mean)
    assert_bitwise_equal(again[1], plain[1])


def test_any_number_of_model_shapes_train_compiled_in_one_process(monkeypatch):
    monkeypatch.setattr("torch.compile", partial(torch.compile, backend="eager"))
    for width in (8, 16, 24):
        shape = GPTNeoXConfig(
            **{"vocab_size": 16, "hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 2},
            **{"intermediate_size": 4 * width, "max_position_embeddings": 4},
        )
        begins = Checkpoint(GPTNeoXForCausalLM(shape), None, None, {}, 0, Path("step0"))
        trainer = Trainer(begins, recipe=RECIPE, precision="fp32", micro_batch=2, device=CPU, compile=True)
        batch = Batch(np.arange(8, dtype=np.uint16).reshape(2, 4), {})
        with torch._dynamo.config.patch(recompile_limit=1):  # in place of PyTorch's eight, to be quick
            losses = trainer.backward(batch, give_up=lambda: False)
        assert np.isfinite(losses.mean)


@pytest.mark.parametrize("lengths", [[3, 5, 3, 5], [*range(2, 12), 3]])
def test_a_shape_that_was_compiled_before_is_not_compiled_again(model, lengths):
    captured = Captured()
    calls = layer_calls(model, compile=True, activation_checkpointing="none", backend=captured)
    for length in lengths:
        with called_by(model, calls):
            model.gpt_neox(ROWS[:, :length], use_cache=False)
    assert len(captured.graphs) == len(set(lengths))
