"""How a model's layers are called in training: as they are, compiled, or with their activations computed again."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from transformers import AttentionInterface, GPTNeoXForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from foundation import UserError

ActivationCheckpointing = Literal["none", "selective", "full"]
Backend = str | Callable[..., Any]

# Layers of all shapes share their code, and PyTorch's own limit of eight counts every shape that a process has trained.
_ANY_NUMBER_OF_SHAPES = {"recompile_limit": sys.maxsize, "accumulated_recompile_limit": sys.maxsize}

# A name that transformers knows an attention by, and no mask: https://huggingface.co/docs/transformers/attention_interface
_CAUSAL_SDPA = "sdpa_causal_without_mask"
AttentionInterface.register(_CAUSAL_SDPA, sdpa_attention_forward)

# What selective checkpointing keeps: the results of matrix products and of attention, which are dear to make again.
_KEPT = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
}


def choose_compile(choice: str, device: torch.device) -> bool:
    """Whether layers are compiled: `auto` does so on a GPU where a compiler is installed, and not on a CPU.

    Args:
        choice: auto, always or never.

    Raises:
        UserError: the choice is unknown, or `always` is asked for and there is no compiler.
    """
    if choice not in ("auto", "always", "never"):
        raise UserError(f"training.compile={choice} is unknown; known are auto, always, never")
    missing = _missing_compiler(device)
    if choice == "always" and missing:
        raise UserError(
            f"training.compile=always needs {missing}, and none is found; install it or take training.compile=never"
        )
    return choice == "always" or (choice == "auto" and device.type == "cuda" and missing is None)


def _missing_compiler(device: torch.device) -> str | None:
    """What compiled code for the device is made with and is not there."""
    if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "a C++ compiler (g++ or clang++)"
    if device.type == "cuda" and find_spec("triton") is None:
        return "Triton"
    return None


def layer_calls(
    model: GPTNeoXForCausalLM,
    *,
    compile: bool,  # noqa: A002  # the option's name
    activation_checkpointing: ActivationCheckpointing,
    backend: Backend = "inductor",
) -> list[Callable[..., Any]]:
    """What takes the place of each layer's `forward` within `called_by`.

    Each layer is compiled by itself, in full: compiled as a whole, transformers' model hands attention a mask instead
    of `is_causal`, and so no fused causal kernel is taken. Layers of one kind share their code.

    Args:
        compile: whether to compile.
        activation_checkpointing: `none` keeps what backward needs. `full` keeps a layer's input alone and computes the
            layer twice. `selective` keeps the results of matrix products and attention too and computes the rest twice.
        backend: of `torch.compile`.

    Raises:
        UserError: the kind of checkpointing is unknown.
    """
    if activation_checkpointing not in get_args(ActivationCheckpointing):
        known = ", ".join(get_args(ActivationCheckpointing))
        raise UserError(f"training.activation_checkpointing={activation_checkpointing} is unknown; known are {known}")
    calls: list[Callable[..., Any]] = [layer.forward for layer in model.gpt_neox.layers]
    if activation_checkpointing != "none":
        # Pythia has no dropout, whose state would have to be kept.
        again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
        if activation_checkpointing == "selective":
            again = partial(again, context_fn=partial(create_selective_checkpoint_contexts, _policy))
        calls = [partial(again, call) for call in calls]
    if compile:
        calls = [torch.compile(call, fullgraph=True, dynamic=False, backend=backend) for call in calls]
    return calls


def _policy(context: Any, operator: Any, *arguments: Any, **options: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE


@contextlib.contextmanager
def called_by(model: GPTNeoXForCausalLM, calls: list[Callable[..., Any]]) -> Iterator[None]:
    """Within the block the layers run as `calls` say, forward and backward; after it the model is as it was.

    Attention by `sdpa` is then causal and has no mask, and transformers does not ask whether rows hold several packed
    sequences, for which it would wait for the device at each forward pass. There is no padding in training.
    """
    config, implementation = model.config, model.config._attn_implementation
    if implementation == "sdpa":
        config._attn_implementation = _CAUSAL_SDPA
    for layer, call in zip(model.gpt_neox.layers, calls, strict=True):
        vars(layer)["forward"] = call
    try:
        with torch._dynamo.config.patch(_ANY_NUMBER_OF_SHAPES):
            yield
    finally:
        config._attn_implementation = implementation
        for layer in model.gpt_neox.layers:
            del vars(layer)["forward"]
