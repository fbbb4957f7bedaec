"""Writes toy checkpoints in the format of GPT-NeoX v1.0 and DeeperSpeed 0.3.15, from the format's description alone.

Nothing of the kit is used: the flat layout, the order of parameters and the split over ranks are written out once more,
so that a misunderstanding would have to be made twice.
"""

import contextlib
import math
import random
import sys
import types
from collections import OrderedDict
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch

GRID = 1024  # values k / GRID are exact in fp16 where they are small, and so are their sums


@dataclass
class Toy:
    """Full tensors by transformers' parameter name, and the numbers that made them."""

    layers: int
    hidden: int
    heads: int
    vocab: int
    masters: dict
    exp_avg: dict
    exp_avg_sq: dict


def full_shapes(layers, hidden, vocab):
    shapes = {"gpt_neox.embed_in.weight": (vocab, hidden)}
    for layer in range(layers):
        at = f"gpt_neox.layers.{layer}."
        shapes |= {
            at + "input_layernorm.weight": (hidden,),
            at + "input_layernorm.bias": (hidden,),
            at + "post_attention_layernorm.weight": (hidden,),
            at + "post_attention_layernorm.bias": (hidden,),
            at + "attention.query_key_value.weight": (3 * hidden, hidden),
            at + "attention.query_key_value.bias": (3 * hidden,),
            at + "attention.dense.weight": (hidden, hidden),
            at + "attention.dense.bias": (hidden,),
            at + "mlp.dense_h_to_4h.weight": (4 * hidden, hidden),
            at + "mlp.dense_h_to_4h.bias": (4 * hidden,),
            at + "mlp.dense_4h_to_h.weight": (hidden, 4 * hidden),
            at + "mlp.dense_4h_to_h.bias": (hidden,),
        }
    shapes |= {
        "gpt_neox.final_layer_norm.weight": (hidden,),
        "gpt_neox.final_layer_norm.bias": (hidden,),
        "lm_head.weight": (vocab, hidden),
    }
    return shapes


def is_replicated(name):
    return "layernorm" in name or "layer_norm" in name


def is_summed(name):
    return name.endswith(("attention.dense.bias", "mlp.dense_4h_to_h.bias"))


def draw_toy(*, layers=2, hidden=32, heads=4, vocab=40, seed=0):
    """Random tensors; those that model-parallel ranks average or sum lie on a grid, where that is exact.

    Second moments are as large as the first ones ask for: at least .75 of their squares at Pythia's betas.
    """
    generator = torch.Generator().manual_seed(seed)

    def second_moments(first):
        return {
            name: torch.randint(128, 512, value.shape, generator=generator) / GRID
            if is_replicated(name) or is_summed(name)
            else value**2 + torch.rand(value.shape, generator=generator) * 0.01
            for name, value in first.items()
        }

    def drawn():
        tensors = {}
        for name, shape in full_shapes(layers, hidden, vocab).items():
            if is_replicated(name) or is_summed(name):
                tensors[name] = torch.randint(-256, 256, shape, generator=generator) / GRID
            else:
                tensors[name] = torch.randn(shape, generator=generator) * 0.1
        return tensors

    masters, exp_avg = drawn(), drawn()
    return Toy(layers, hidden, heads, vocab, masters, exp_avg, second_moments(exp_avg))


def file_place(name, layers):
    """Number of the layer file, and the name in it."""
    if name == "gpt_neox.embed_in.weight":
        return 0, "word_embeddings.weight"
    if name == "lm_head.weight":
        return layers + 4, "final_linear.weight"
    if name.startswith("gpt_neox.final_layer_norm."):
        return layers + 3, "norm." + name.split(".")[-1]
    _, _, layer, key = name.split(".", maxsplit=3)
    return int(layer) + 2, key


def group_names(layers):
    """Names of the two optimizer groups in the order in which their parameters are flattened."""
    decayed, rest = ["gpt_neox.embed_in.weight"], []
    for layer in range(layers):
        at = f"gpt_neox.layers.{layer}."
        decayed.append(at + "attention.query_key_value.weight")
        decayed.append(at + "attention.dense.weight")
        decayed.append(at + "mlp.dense_h_to_4h.weight")
        decayed.append(at + "mlp.dense_4h_to_h.weight")
        rest.append(at + "input_layernorm.weight")
        rest.append(at + "input_layernorm.bias")
        rest.append(at + "attention.query_key_value.bias")
        rest.append(at + "attention.dense.bias")
        rest.append(at + "post_attention_layernorm.weight")
        rest.append(at + "post_attention_layernorm.bias")
        rest.append(at + "mlp.dense_h_to_4h.bias")
        rest.append(at + "mlp.dense_4h_to_h.bias")
    decayed.append("lm_head.weight")
    rest.append("gpt_neox.final_layer_norm.weight")
    rest.append("gpt_neox.final_layer_norm.bias")
    return decayed, rest


def split(name, full, mp, *, moment, seed):
    """The model-parallel ranks' tensors of which `full` is made; they differ where the format lets them differ."""
    if mp == 1:
        return [full]
    if name.endswith(("attention.dense.weight", "mlp.dense_4h_to_h.weight")):
        width = full.shape[1] // mp
        return [full[:, rank * width : (rank + 1) * width].clone() for rank in range(mp)]
    if not is_replicated(name) and not is_summed(name):
        height = full.shape[0] // mp
        return [full[rank * height : (rank + 1) * height].clone() for rank in range(mp)]
    generator = torch.Generator().manual_seed(seed)
    if is_summed(name) and not moment:
        shares = [torch.randint(-256, 256, full.shape, generator=generator) / GRID for _ in range(mp - 1)]
        return [*shares, full - sum(shares)]
    shift = torch.randint(-8, 8, full.shape, generator=generator) / GRID
    return [full + shift if rank % 2 else full - shift for rank in range(mp)]


@contextlib.contextmanager
def modules_of_the_time():
    """Within this, what is saved names DeepSpeed's classes, NumPy 1's module and a GPU, as real files do."""
    scalers = types.ModuleType("deepspeed.runtime.fp16.loss_scaler")
    multiarray = types.ModuleType("numpy.core.multiarray")
    for name in ("DynamicLossScaler", "LossScaler"):
        setattr(scalers, name, type(name, (), {"__module__": scalers.__name__}))

    def _reconstruct(*_):
        raise AssertionError("only its name is used")

    _reconstruct.__module__ = multiarray.__name__
    _reconstruct.__qualname__ = "_reconstruct"
    multiarray._reconstruct = _reconstruct
    parents = ("deepspeed", "deepspeed.runtime", "deepspeed.runtime.fp16")
    modules = {name: types.ModuleType(name) for name in parents} | {scalers.__name__: scalers}
    with (
        mock.patch.dict(sys.modules, {**modules, multiarray.__name__: multiarray}),
        mock.patch("torch.serialization.location_tag", lambda storage: "cuda:0"),
    ):
        yield scalers, _reconstruct


class OldArray:
    """Pickled as NumPy 1.22 pickles an array."""

    def __init__(self, array, reconstruct):
        self.array, self.reconstruct = array, reconstruct

    def __reduce__(self):
        return self.reconstruct, (np.ndarray, (0,), b"b"), self.array.__reduce__()[2]


def loss_scaler(scalers, *, dynamic, step, skipped):
    if not dynamic:
        scaler = scalers.LossScaler()
        scaler.cur_scale = 1.0
        return scaler
    scaler = scalers.DynamicLossScaler()
    scaler.cur_scale, scaler.cur_iter, scaler.last_overflow_iter = 8192.0, step, skipped - 1
    scaler.scale_factor, scaler.scale_window, scaler.min_scale = 2.0, 1000, 1
    scaler.delayed_shift, scaler.cur_hysteresis, scaler.consecutive_hysteresis = 2, 2, False
    scaler.raise_error_at_min_scale = True
    return scaler


def stored_arguments(toy, mp):
    return {
        "num_layers": toy.layers,
        "hidden_size": toy.hidden,
        "num_attention_heads": toy.heads,
        "max_position_embeddings": 64,
        "make_vocab_size_divisible_by": 8,
        "padded_vocab_size": toy.vocab,
        "tokenizer_type": "HFTokenizer",
        "model_parallel_size": mp,
    }


def write_checkpoint(
    directory,
    toy,
    *,
    step=7,
    skipped=2,
    dp=3,
    intervals=(2, 2),
    mp=1,
    stage=1,
    weights_in="layers",
    dtype=torch.float16,
    slack=0,
    rotary_dims=2,
    arguments=True,
    named_step=None,
):
    """Write `directory/global_step<step>` and return its path.

    Args:
        intervals: communication intervals of the two groups.
        weights_in: "layers" or "module".
        slack: elements by which sub-partitions are larger than needed, so that the last ones become empty.
        rotary_dims: rotated dimensions of a head; 0 stores no frequencies.
        arguments: store `args`.
        named_step: N of the directory's name, where it is to lie.
    """
    target = directory / f"global_step{step if named_step is None else named_step}"
    target.mkdir(parents=True)
    dynamic = dtype == torch.float16
    order = group_names(toy.layers)

    ranks = [{"masters": {}, "exp_avg": {}, "exp_avg_sq": {}} for _ in range(mp)]
    for seed, name in enumerate(full_shapes(toy.layers, toy.hidden, toy.vocab)):
        for kind in ("masters", "exp_avg", "exp_avg_sq"):
            parts = split(name, getattr(toy, kind)[name], mp, moment=kind != "masters", seed=seed)
            for rank in range(mp):
                ranks[rank][kind][name] = parts[rank]

    with modules_of_the_time() as (scalers, reconstruct):
        for rank, tensors in enumerate(ranks):
            layer_files = {}
            for name, master in tensors["masters"].items():
                layer, key = file_place(name, toy.layers)
                layer_files.setdefault(layer, {})[key] = master.to(dtype)
            for layer in range(2, toy.layers + 2):
                if rotary_dims:
                    frequencies = 1.0 / (10000 ** (torch.arange(0, rotary_dims, 2).float() / rotary_dims))
                    layer_files[layer]["attention.rotary_emb.inv_freq"] = frequencies.to(dtype)
            module = None
            if weights_in == "module":
                module = OrderedDict(
                    (f"sequential.{layer}.{key}", tensor)
                    for layer, content in sorted(layer_files.items())
                    for key, tensor in content.items()
                )
            else:
                for layer, content in layer_files.items():
                    torch.save(OrderedDict(content), target / f"layer_{layer:02d}-model_{rank:02d}-model_states.pt")

            flat = {
                kind: [torch.cat([tensors[kind][name].flatten() for name in names]) for names in order]
                for kind in ("masters", "exp_avg", "exp_avg_sq")
            }
            optimizer = None
            if stage == 0:
                optimizer = {
                    "dynamic_loss_scale": True,
                    "cur_scale": 8192.0,
                    "cur_iter": step,
                    "last_overflow_iter": skipped - 1,
                    "scale_factor": 2.0,
                    "scale_window": 1000,
                    "optimizer_state_dict": {
                        "state": {
                            group: {"exp_avg": flat["exp_avg"][group], "exp_avg_sq": flat["exp_avg_sq"][group]}
                            for group in (0, 1)
                        },
                        "param_groups": [
                            {"lr": 1e-3, "weight_decay": decay, "step": step - skipped + 1, "params": [group]}
                            for group, decay in enumerate((0.1, 0.0))
                        ],
                    },
                    "fp32_groups_flat": [torch.nn.Parameter(vector) for vector in flat["masters"]],
                    "clip_grad": 1.0,
                }
            else:
                write_zero_files(
                    target,
                    flat,
                    rank,
                    dp,
                    intervals,
                    slack,
                    loss_scaler(scalers, dynamic=dynamic, step=step, skipped=skipped),
                )
            state = {
                "module": module,
                "optimizer": optimizer,
                "lr_scheduler": {
                    "start_lr": 1e-3,
                    "warmup_iter": 1430.0,
                    "num_iters": step - skipped,
                    "decay_style": "cosine",
                    "end_iter": 143000,
                    "min_lr": 1e-4,
                },
                "csr_tensor_module_names": set(),
                "skipped_steps": skipped,
                "global_steps": step,
                "global_samples": step * 1024,
                "dp_world_size": dp,
                "mp_world_size": mp,
                "iteration": step,
                "random_rng_state": random.Random(0).getstate(),
                "np_rng_state": (
                    "MT19937",
                    OldArray(np.random.RandomState(0).get_state()[1], reconstruct),
                    624,
                    0,
                    0.0,
                ),
                "torch_rng_state": torch.zeros(16, dtype=torch.uint8),
                "cuda_rng_state": torch.zeros(16, dtype=torch.uint8),
                "rng_tracker_states": {"model-parallel-rng": torch.zeros(16, dtype=torch.uint8)},
            }
            if arguments:
                state["args"] = stored_arguments(toy, mp)
            torch.save(state, target / f"mp_rank_{rank:02d}_model_states.pt")
    return target


def write_zero_files(target, flat, mp_rank, dp, intervals, slack, scaler):
    """One file per data-parallel rank: of every group, the sub-partitions `interval * dp + rank`, without padding."""
    held = [{"masters": [[], []], "exp_avg": [[], []], "exp_avg_sq": [[], []]} for _ in range(dp)]
    for kind, vectors in flat.items():
        for group, vector in enumerate(vectors):
            count = dp * intervals[group]
            size = math.ceil(vector.numel() / count) + slack
            padded = torch.zeros(count * size)
            padded[: vector.numel()] = vector
            for index in range(count):
                own = padded[index * size : (index + 1) * size].clone()
                if kind == "masters":
                    own.requires_grad_()
                kept = max(0, min(size, vector.numel() - index * size))
                held[index % dp][kind][group].append(own[:kept])
    for rank, content in enumerate(held):
        moments = [
            [
                {"exp_avg": first, "exp_avg_sq": second}
                for first, second in zip(content["exp_avg"][group], content["exp_avg_sq"][group], strict=True)
            ]
            for group in (0, 1)
        ]
        state = {
            "optimizer_state_dict": {
                "loss_scaler": scaler,
                "dynamic_loss_scale": type(scaler).__name__ == "DynamicLossScaler",
                "overflow": False,
                "base_optimizer_state": moments,
                "zero_stage": 1,
                "partition_count": dp,
                "num_comm_intervals_per_group": list(intervals),
                "local_sub_partitions_of_fp32_groups": content["masters"],
            },
            "param_shapes": OrderedDict(),
        }
        torch.save(state, target / f"zero_pp_rank_{rank}_mp_rank_{mp_rank:02d}_optim_states.pt")


@contextlib.contextmanager
def edited(file):
    """Yield the content of a file that `write_checkpoint` wrote, and save it again, with what was changed in it."""
    with modules_of_the_time() as (scalers, _):
        scalers.DynamicLossScaler.__setstate__ = lambda self, state: vars(self).update(state)
        stand_ins = [
            scalers.DynamicLossScaler,
            scalers.LossScaler,
            (lambda *_: np.zeros(0), "numpy.core.multiarray._reconstruct"),
            np.ndarray,
            np.dtype,
            type(np.dtype("uint32")),
        ]
        with torch.serialization.safe_globals(stand_ins):
            content = torch.load(file, map_location="cpu", weights_only=True)
        yield content
        content.pop("np_rng_state", None)
        torch.save(content, file)
