import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, linear
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from test_recipe import pythia
from training import Batch, Checkpoint
from training.loss import head_loss
from training.trainer import Trainer

CPU = torch.device("cpu")


def losses_and_gradients(function, tokens, width, vocabulary, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, width, generator=generator).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=generator).requires_grad_()
    labels = torch.randint(vocabulary, (tokens,), generator=generator)
    weights = torch.rand(tokens, generator=generator)
    total, losses = function(hidden, weight, labels, weights)
    (3 * total).backward()
    return losses.detach(), hidden.grad, weight.grad


def plainly(dtype):
    def function(hidden, weight, labels, weights):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = linear(hidden, weight)
        losses = cross_entropy(logits.float(), labels, reduction="none")
        return (losses * weights).sum(), losses

    return function


def in_chunks(dtype, chunk):
    return lambda *tensors: head_loss(*tensors, dtype=dtype, chunk=chunk)


@settings(deadline=None)
@given(tokens=st.integers(1, 40), chunk=st.integers(1, 50), vocabulary=st.integers(2, 60), seed=st.integers(0, 99))
def test_in_chunks_losses_and_gradients_are_those_of_the_plain_path(tokens, chunk, vocabulary, seed):
    shape = (tokens, 8, vocabulary, seed)
    found = losses_and_gradients(in_chunks(torch.float32, chunk), *shape)
    for value, expected in zip(found, losses_and_gradients(plainly(torch.float32), *shape), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_they_are_as_near_to_fp32_as_autocast_is(dtype):
    exact = losses_and_gradients(plainly(torch.float32), 64, 32, 128)
    autocast = losses_and_gradients(plainly(dtype), 64, 32, 128)
    for found, plain, truth in zip(
        losses_and_gradients(in_chunks(dtype, 16), 64, 32, 128), autocast, exact, strict=True
    ):
        assert (found - truth).norm() <= 1.2 * (plain - truth).norm()


def test_a_loss_worked_by_hand():
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(3.0)]])
    total, losses = head_loss(hidden, weight, torch.tensor([1]), torch.tensor([2.0]), dtype=torch.float32, chunk=1)
    assert losses.item() == pytest.approx(math.log(4 / 3))  # logits 0 and ln 3: probabilities 1/4 and 3/4
    assert total.item() == pytest.approx(2 * math.log(4 / 3))


class Largest(TorchDispatchMode):
    """The most elements of the vocabulary's width that an operation's result has, by format; the weights are apart."""

    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary, self.elements, self.waits = vocabulary, {}, 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        results = operator(*args, **(kwargs or {}))
        self.waits += operator is torch.ops.aten._local_scalar_dense.default
        for result in tree_leaves(results):
            if isinstance(result, torch.Tensor) and result.ndim == 2 and result.shape[1] == self.vocabulary:
                self.elements[result.dtype] = max(self.elements.get(result.dtype, 0), result.numel())
        return results


def watched(precision, *, sequences, micro_batch):
    config = GPTNeoXConfig(
        vocab_size=1024,
        hidden_size=8,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=1024,
        bos_token_id=0,
        eos_token_id=0,
    )
    rows = np.random.default_rng(0).integers(1, 1024, (sequences, 769))
    start = Checkpoint(GPTNeoXForCausalLM(config), None, None, {}, 0, None)
    recipe = pythia(1e-3, sequences_per_step=sequences)
    trainer = Trainer(start, recipe=recipe, precision=precision, micro_batch=micro_batch, device=CPU)
    with Largest(1024) as watch:
        trainer.backward(Batch(rows, {}), give_up=lambda: False)
    return watch


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_logits_of_all_tokens_of_a_micro_batch_never_stand_in_memory(precision):
    watch = watched(precision, sequences=4, micro_batch=4)  # 4 * 768 tokens, in six chunks
    assert watch.elements[torch.float32] == 512 * 1024
    assert max(watch.elements.values()) == 512 * 1024


def test_the_watch_sees_the_logits_of_the_plain_path():
    with Largest(64) as watch:
        losses_and_gradients(plainly(torch.bfloat16), 96, 8, 64)
    assert watch.elements[torch.float32] == 96 * 64


def test_the_device_is_waited_for_as_often_in_four_micro_batches_as_in_one():
    one, four = (watched("fp32", sequences=4, micro_batch=size).waits for size in (4, 1))
    assert one == four
