"""A checkpoint `global_step<N>` of GPT-NeoX v1.0, read whole and checked against itself."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from foundation import UserError
from training.neox.architecture import NeoxArchitecture, Shapes, read_architecture
from training.neox.layout import (
    Parameter,
    layer_numbers,
    merge_masters,
    merge_moments,
    merge_weights,
    num_layers_before,
    parameters,
    rank_shape,
)
from training.neox.optimizer_files import RankState, check_rank_files, read_stage0, read_zero1
from training.neox.unpickling import field, load

_LAYER_FILE = re.compile(r"layer_(\d+)-model_(\d+)-model_states\.pt")
_MODULE_KEY = re.compile(r"sequential\.(\d+)\.(.+)")
_ROTARY = "attention.rotary_emb.inv_freq"

# layer number -> name in the layer's file -> tensor, for one model-parallel rank
_Layers = dict[int, dict[str, Tensor]]
_WHOLE = "it is damaged, or not GPT-NeoX v1.0's in half precision: fetch it again, or take a Pythia checkpoint"


@dataclass(frozen=True)
class NeoxCheckpoint:
    """A GPT-NeoX v1.0 checkpoint, merged over data- and model-parallel ranks.

    All four dictionaries have the same keys, transformers 5's parameter names (`gpt_neox.embed_in.weight`, ...,
    `lm_head.weight`), and transformers' shapes; query, key and value stay interleaved per head as both have it. A
    tensor may be a view of its file, which must then stay as it is; changing the tensor does not change the file.

    Attributes:
        step: iterations made: `iteration` in the file. The next batch is that of this step.
        updates: successful updates: the place in the learning-rate schedule. Smaller than `step` by those that
            overflowed.
        adam_step: the bias correction's counter, where it is stored: by ZeRO stage 0, one more than `updates`, as
            DeepSpeed makes a step of zeros when it starts. Stage 1 does not store it: None.
        model_parallel_size: ranks that the model was split over.
        weights: as the model used them in its forward pass: fp16, or bf16 where it was trained so.
        masters: fp32 parameters. Row-parallel biases are summed over model-parallel ranks, layer norms averaged.
        exp_avg: Adam's first moments, fp32. Those of row-parallel biases are averaged.
        exp_avg_sq: Adam's second moments, likewise.
        loss_scaler: `scale`, `iteration` (that it has seen), `last_overflow` (the iteration, -1 for none) and
            `hysteresis` (overflows until it shrinks). Empty where the scale was fixed, as in bf16.
        architecture: of the model.
    """

    step: int
    updates: int
    adam_step: int | None
    model_parallel_size: int
    weights: dict[str, Tensor]
    masters: dict[str, Tensor]
    exp_avg: dict[str, Tensor]
    exp_avg_sq: dict[str, Tensor]
    loss_scaler: dict[str, float]
    architecture: NeoxArchitecture


def neox_steps(directory: Path) -> list[int]:
    """Steps N that have a directory `global_step<N>` in `directory`, in order."""
    matches = (re.fullmatch(r"global_step(\d+)", path.name) for path in directory.glob("global_step*") if path.is_dir())
    return sorted(int(match[1]) for match in matches if match)


def read_neox(directory: Path) -> NeoxCheckpoint:
    """Read `directory`, a `global_step<N>` that GPT-NeoX v1.0 with DeeperSpeed 0.3.15 wrote; execute nothing in it.

    Layout: DeeperSpeed `runtime/engine.py:1456-1470,1764-1818`, `runtime/zero/stage1.py`,
    `runtime/fp16/fused_optimizer.py`; gpt-neox `megatron/checkpointing.py:163-205`, `tools/convert_to_hf.py`.

    The masters, cast to the weights' format, must be the weights bit for bit, for every model-parallel rank and tensor.

    Raises:
        UserError: a file is missing, damaged, names code, or contradicts another one or the directory's name; the
            masters are not the weights' masters, or the moments none that training leaves. The message names the file
            or the tensor.
    """
    named = re.fullmatch(r"global_step(\d+)", directory.name)
    if named is None or not directory.is_dir():
        raise UserError(f"{directory} is no directory named global_step<N>; give one of a GPT-NeoX v1.0 checkpoint")
    states = _model_states(directory)
    ranks = len(states)
    first, first_file = states[0], _state_file(directory, 0)
    step = field(first, "iteration", int, file=first_file)
    if step != int(named[1]):
        raise UserError(
            f"{first_file} was saved at iteration {step}, its directory is named {directory.name}; "
            f"rename it global_step{step}, or fetch the checkpoint of step {named[1]}"
        )
    updates = _updates(first, step, file=first_file)

    layers = _layers(directory, states)
    shapes, listed = _check_shapes(layers, directory=directory)
    architecture = read_architecture(first.get("args"), shapes, directory=directory)
    numels = [
        sum(layers[0][each.layer][each.key].numel() for each in listed if each.group == group) for group in (0, 1)
    ]
    optimizers = _optimizers(directory, states, numels, updates=updates)
    weights, masters, exp_avg, exp_avg_sq = _merge(layers, optimizers, listed, directory=directory)
    return NeoxCheckpoint(
        step=step,
        updates=updates,
        adam_step=optimizers[0].adam_step,
        model_parallel_size=ranks,
        weights=weights,
        masters=masters,
        exp_avg=exp_avg,
        exp_avg_sq=exp_avg_sq,
        loss_scaler=optimizers[0].loss_scaler,
        architecture=architecture,
    )


def _state_file(directory: Path, mp_rank: int) -> Path:
    return directory / f"mp_rank_{mp_rank:02d}_model_states.pt"


def _model_states(directory: Path) -> list[dict[str, object]]:
    """The model states of every model-parallel rank, which must tell the same story."""
    first = load(_state_file(directory, 0))
    ranks = field(first, "mp_world_size", int, file=_state_file(directory, 0))
    states = [first, *(load(_state_file(directory, rank)) for rank in range(1, ranks))]
    for file in sorted(directory.glob("mp_rank_*_model_states.pt")):
        if file not in [_state_file(directory, rank) for rank in range(ranks)]:
            raise UserError(
                f"{file} contradicts {_state_file(directory, 0).name}, which says mp_world_size={ranks}; "
                "keep the files of one checkpoint only"
            )
    for rank, state in enumerate(states):
        for key in ("iteration", "skipped_steps", "dp_world_size", "mp_world_size"):
            file = _state_file(directory, rank)
            given, expected = field(state, key, int, file=file), first[key]
            if given != expected:
                raise UserError(
                    f"{file} says {key}={given}, {_state_file(directory, 0).name} says {expected}; "
                    "keep the files of one checkpoint only"
                )
        _updates(state, field(state, "iteration", int, file=file), file=file)
    return states


def _updates(state: dict[str, object], step: int, *, file: Path) -> int:
    scheduler = field(state, "lr_scheduler", dict, file=file)
    updates = field(scheduler, "num_iters", int, file=file)
    skipped = field(state, "skipped_steps", int, file=file)
    if updates != step - skipped:
        raise UserError(
            f"{file} says iteration={step} and skipped_steps={skipped}, which makes {step - skipped} updates, but its "
            f"lr_scheduler counts {updates}; fetch it again"
        )
    return updates


def _layers(directory: Path, states: list[dict[str, object]]) -> list[_Layers]:
    """The half-precision tensors of every model-parallel rank, from layer files or from the model states."""
    found: dict[tuple[int, int], Path] = {}
    for file in sorted(directory.glob("layer_*-model_*-model_states.pt")):
        match = _LAYER_FILE.fullmatch(file.name)
        if match is not None:
            found[int(match[2]), int(match[1])] = file
    ranks = len(states)
    if not found:
        return [_module_layers(state, file=_state_file(directory, rank)) for rank, state in enumerate(states)]
    for (rank, _), file in found.items():
        if rank >= ranks:
            raise UserError(
                f"{file} contradicts {_state_file(directory, 0).name}, which says mp_world_size={ranks}; "
                "keep the files of one checkpoint only"
            )
    numbers = _layer_numbers({layer for _, layer in found}, states[0], where=directory)
    return [
        {layer: _tensors(load(directory / f"layer_{layer:02d}-model_{rank:02d}-model_states.pt")) for layer in numbers}
        for rank in range(ranks)
    ]


def _module_layers(state: dict[str, object], *, file: Path) -> _Layers:
    if state.get("module") is None:
        raise UserError(f"{file.parent} has no layer_*-model_*-model_states.pt; fetch every file of the checkpoint")
    layers: _Layers = {}
    for key, tensor in _tensors(field(state, "module", dict, file=file)).items():
        match = _MODULE_KEY.fullmatch(key)
        if match is None:
            raise UserError(f"{file} holds {key!r}, GPT-NeoX v1.0 names it sequential.<layer>.<name>; fetch it again")
        layers.setdefault(int(match[1]), {})[match[2]] = tensor
    missing = [number for number in _layer_numbers(set(layers), state, where=file) if number not in layers]
    if missing:
        raise UserError(f"{file} holds no tensor of layer {missing[0]}; fetch it again")
    return layers


def _layer_numbers(found: set[int], state: dict[str, object], *, where: Path) -> list[int]:
    """Layers that the model has by its stored arguments, or else by the last layer found."""
    arguments = state.get("args")
    said = arguments.get("num_layers", arguments.get("num-layers")) if isinstance(arguments, Mapping) else None
    num_layers = said if isinstance(said, int) else num_layers_before(max(found, default=0))
    if num_layers < 1:
        raise UserError(f"{where} holds only the layers {sorted(found)}; fetch all of it")
    numbers = layer_numbers(num_layers)
    odd = sorted(found - set(numbers))
    if odd:
        raise UserError(
            f"{where} holds layer {odd[0]}, which a model of {num_layers} layers does not have; "
            "keep the files of one checkpoint only"
        )
    return numbers


def _tensors(content: dict[str, object]) -> dict[str, Tensor]:
    return {key: value.detach() for key, value in content.items() if isinstance(value, Tensor)}


def _check_shapes(layers: list[_Layers], *, directory: Path) -> tuple[Shapes, list[Parameter]]:
    """Hold every tensor's shape and format against the model that the first rank's tensors make."""
    ranks = len(layers)
    num_layers = num_layers_before(max(layers[0]))
    listed = parameters(num_layers)
    for rank, own in enumerate(layers):
        for each in listed:
            if each.key not in own[each.layer]:
                raise UserError(
                    f"{directory} has no {each.key} in layer {each.layer} of model-parallel rank {rank}; {_WHOLE}"
                )
    embedding = layers[0][0]["word_embeddings.weight"]
    widening = layers[0][2]["mlp.dense_h_to_4h.weight"]
    for tensor in (embedding, widening):
        if tensor.dim() != 2:
            raise UserError(f"{directory} holds a matrix of the shape {tuple(tensor.shape)}; fetch it again")
    rotary = layers[0][2].get(_ROTARY)
    shapes = Shapes(
        hidden_size=embedding.shape[-1],
        num_layers=num_layers,
        intermediate_size=widening.shape[0] * ranks,
        vocab_size=embedding.shape[0] * ranks,
        model_parallel_size=ranks,
        frequencies=None if rotary is None else tuple(rotary.float().flatten().tolist()),
    )
    for rank, own in enumerate(layers):
        for each in listed:
            tensor = own[each.layer][each.key]
            expected = rank_shape(
                each,
                hidden=shapes.hidden_size,
                inner=shapes.intermediate_size,
                vocab=shapes.vocab_size,
                ranks=ranks,
            )
            where = f"{each.key} in layer {each.layer} of model-parallel rank {rank}"
            if tuple(tensor.shape) != expected:
                raise UserError(
                    f"{directory}: {where} has the shape {tuple(tensor.shape)}, expected {expected}; fetch it again"
                )
            if tensor.dtype not in (torch.float16, torch.bfloat16):
                raise UserError(f"{directory}: {where} is {tensor.dtype}, expected float16 or bfloat16; {_WHOLE}")
    return shapes, listed


def _optimizers(
    directory: Path, states: list[dict[str, object]], numels: list[int], *, updates: int
) -> list[RankState]:
    first_file = _state_file(directory, 0)
    if states[0].get("optimizer") is None:
        dp = field(states[0], "dp_world_size", int, file=first_file)
        check_rank_files(directory, dp=dp, mp=len(states))
        optimizers = [
            read_zero1(directory, mp_rank=rank, dp=dp, numels=numels, updates=updates) for rank in range(len(states))
        ]
    else:
        optimizers = []
        for rank, state in enumerate(states):
            file = _state_file(directory, rank)
            stored = field(state, "optimizer", dict, file=file)
            optimizers.append(read_stage0(stored, numels=numels, updates=updates, file=file))
    first = optimizers[0]
    step = field(states[0], "iteration", int, file=first_file)
    if first.loss_scaler and first.loss_scaler["iteration"] > step:
        raise UserError(
            f"{directory} holds the loss scaler of iteration {first.loss_scaler['iteration']:.0f}, but was saved at "
            f"iteration {step}; its optimizer's files are of another step: fetch the checkpoint again"
        )
    for rank, optimizer in enumerate(optimizers):
        given, expected = (optimizer.adam_step, optimizer.loss_scaler), (first.adam_step, first.loss_scaler)
        if given != expected:
            raise UserError(
                f"{directory}: the optimizer of model-parallel rank {rank} has Adam step and loss scaler {given}, "
                f"that of rank 0 {expected}; keep the files of one checkpoint only"
            )
    return optimizers


def _merge(
    layers: list[_Layers], optimizers: list[RankState], listed: list[Parameter], *, directory: Path
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    weights: dict[str, Tensor] = {}
    masters: dict[str, Tensor] = {}
    exp_avg: dict[str, Tensor] = {}
    exp_avg_sq: dict[str, Tensor] = {}
    different: list[str] = []
    starts = [0, 0]
    for each in listed:
        halves = [own[each.layer][each.key] for own in layers]
        start, group, shape = starts[each.group], each.group, halves[0].shape
        parts = [optimizer.masters[group].cut(start, shape) for optimizer in optimizers]
        for rank, (half, part) in enumerate(zip(halves, parts, strict=True)):
            if not _same_bits(part.to(half.dtype), half):
                different.append(f"{each.key} of layer {each.layer}, model-parallel rank {rank}")
        weights[each.name] = merge_weights(halves, each.merge)
        masters[each.name] = merge_masters(parts, each.merge)
        moments = [optimizer.exp_avg[group].cut(start, shape) for optimizer in optimizers]
        exp_avg[each.name] = merge_moments(moments, each.merge)
        moments = [optimizer.exp_avg_sq[group].cut(start, shape) for optimizer in optimizers]
        exp_avg_sq[each.name] = merge_moments(moments, each.merge)
        starts[each.group] += halves[0].numel()
    if different:
        raise UserError(
            f"{directory}: {len(different)} of {len(listed) * len(layers)} tensors are not their fp32 masters rounded, "
            f"the first is {different[0]}; the files are damaged, permuted or of two checkpoints, fetch them again"
        )
    return weights, masters, exp_avg, exp_avg_sq


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.contiguous().view(torch.int16), other.contiguous().view(torch.int16))
