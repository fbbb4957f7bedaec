"""Adam's state and the fp32 masters as DeeperSpeed 0.3.15 stored them: ZeRO stage 1, or stage 0."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor

from foundation import UserError
from training.neox.layout import FlatVector
from training.neox.moments import check_moments, check_moved
from training.neox.unpickling import StoredLossScaler, StoredStaticScaler, field, flat_fp32, load

_GROUPS = 2


@dataclass(frozen=True)
class RankState:
    """Optimizer state of one model-parallel rank; every list has one vector per optimizer group.

    Attributes:
        adam_step: the bias correction's counter, where it is stored.
        loss_scaler: see `NeoxCheckpoint`.
    """

    masters: list[FlatVector]
    exp_avg: list[FlatVector]
    exp_avg_sq: list[FlatVector]
    adam_step: int | None
    loss_scaler: dict[str, float]


@dataclass(frozen=True)
class _Piece:
    """A sub-partition of one group."""

    master: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    file: Path

    def __post_init__(self) -> None:
        for name, moment in (("exp_avg", self.exp_avg), ("exp_avg_sq", self.exp_avg_sq)):
            if moment.numel() != self.master.numel():
                raise UserError(
                    f"{self.file} holds {moment.numel()} elements of {name} for {self.master.numel()} masters; "
                    "fetch it again"
                )
        check_moments(self.exp_avg, self.exp_avg_sq, file=self.file)


def check_rank_files(directory: Path, *, dp: int, mp: int) -> None:
    """Raise UserError where a ZeRO file belongs to a rank that the checkpoint does not have."""
    for file in sorted(directory.glob("zero_pp_rank_*_optim_states.pt")):
        match = re.fullmatch(r"zero_pp_rank_(\d+)_mp_rank_(\d+)_optim_states\.pt", file.name)
        if match is None or int(match[1]) >= dp or int(match[2]) >= mp:
            raise UserError(
                f"{file} contradicts mp_rank_00_model_states.pt, which says dp_world_size={dp} and "
                f"mp_world_size={mp}; keep the files of one checkpoint only"
            )


def read_zero1(directory: Path, *, mp_rank: int, dp: int, numels: Sequence[int], updates: int) -> RankState:
    """State of a model-parallel rank from its `zero_pp_rank_*_optim_states.pt`.

    DeeperSpeed `runtime/zero/stage1.py:327-353,580-627,924-1019`: sub-partition `interval * dp + rank` of a group's
    vector lies in the file of `rank`; the padding at the vector's end is stripped, so the last ones are short or empty.

    Args:
        mp_rank: the model-parallel rank.
        dp: the data-parallel size that the model states give.
        numels: elements of each group that the model's tensors make.
        updates: that the model has made.

    Raises:
        UserError: a file is missing, contradicts another, holds another number of elements, or moments that no
            training leaves behind.
    """
    files = [directory / f"zero_pp_rank_{rank}_mp_rank_{mp_rank:02d}_optim_states.pt" for rank in range(dp)]
    scaler: dict[str, float] = {}
    pieces: list[list[list[_Piece]]] = []
    for file in files:
        state = field(load(file), "optimizer_state_dict", dict, file=file)
        stage = field(state, "zero_stage", int, file=file)
        count = field(state, "partition_count", int, file=file)
        if stage != 1:
            raise UserError(f"{file} was written by ZeRO stage {stage}, Pythia used 1; take a Pythia checkpoint")
        if count != dp:
            raise UserError(
                f"{file} says partition_count={count}, mp_rank_{mp_rank:02d}_model_states.pt says dp_world_size={dp}; "
                "keep the files of one checkpoint only"
            )
        given = _stored_scaler(state.get("loss_scaler"), file=file)
        if pieces and given != scaler:
            raise UserError(
                f"{file} has the loss scaler {given}, {files[0].name} has {scaler}; they are of different steps, "
                "keep the files of one checkpoint only"
            )
        scaler = given
        pieces.append(_zero1_pieces(state, file=file))
        if updates:
            check_moved([piece.exp_avg_sq for group in pieces[-1] for piece in group], updates=updates, file=file)
        if [len(group) for group in pieces[-1]] != [len(group) for group in pieces[0]]:
            raise UserError(
                f"{file} has {[len(group) for group in pieces[-1]]} communication intervals, {files[0].name} has "
                f"{[len(group) for group in pieces[0]]}; keep the files of one checkpoint only"
            )
    groups = []
    for group, numel in enumerate(numels):
        intervals = len(pieces[0][group])
        groups.append([pieces[rank][group][interval] for interval in range(intervals) for rank in range(dp)])
        _check_numels(groups[-1], numel, group=group)
    return _rank_state(groups, adam_step=None, loss_scaler=scaler)


def _zero1_pieces(state: dict[str, object], *, file: Path) -> list[list[_Piece]]:
    masters = field(state, "local_sub_partitions_of_fp32_groups", list, file=file)
    moments = field(state, "base_optimizer_state", list, file=file)
    intervals = field(state, "num_comm_intervals_per_group", list, file=file)
    counts = [len(group) for group in masters]
    if len(counts) != _GROUPS or counts != [len(group) for group in moments] or counts != intervals:
        raise UserError(
            f"{file} says {intervals} communication intervals and holds {counts} of masters and "
            f"{[len(group) for group in moments]} of moments, in {_GROUPS} groups; fetch it again"
        )
    return [
        [
            _Piece(
                flat_fp32(master, "a master", file=file),
                flat_fp32(field(moment, "exp_avg", Tensor, file=file), "exp_avg", file=file),
                flat_fp32(field(moment, "exp_avg_sq", Tensor, file=file), "exp_avg_sq", file=file),
                file,
            )
            for master, moment in zip(masters[group], moments[group], strict=True)
        ]
        for group in range(_GROUPS)
    ]


def _check_numels(pieces: list[_Piece], numel: int, *, group: int) -> None:
    """Only the end of the vector may be short: all sub-partitions were of one size before the padding was stripped."""
    size = max(piece.master.numel() for piece in pieces)
    held = sum(piece.master.numel() for piece in pieces)
    for index, piece in enumerate(pieces):
        expected = min(max(numel - index * size, 0), size)
        if piece.master.numel() != expected:
            raise UserError(
                f"{piece.file} holds {piece.master.numel()} elements of sub-partition {index} of group {group}, "
                f"expected {expected}: all files hold {held}, the model's tensors make {numel}; fetch it again"
            )
    if held != numel:
        raise UserError(
            f"{pieces[0].file.parent} holds {held} elements of group {group} in its zero_pp_rank files, the model's "
            f"tensors make {numel}; fetch the checkpoint again"
        )


def _rank_state(groups: list[list[_Piece]], *, adam_step: int | None, loss_scaler: dict[str, float]) -> RankState:
    return RankState(
        masters=[FlatVector([piece.master for piece in group]) for group in groups],
        exp_avg=[FlatVector([piece.exp_avg for piece in group]) for group in groups],
        exp_avg_sq=[FlatVector([piece.exp_avg_sq for piece in group]) for group in groups],
        adam_step=adam_step,
        loss_scaler=loss_scaler,
    )


def read_stage0(optimizer: dict[str, object], *, numels: Sequence[int], updates: int, file: Path) -> RankState:
    """State of a model-parallel rank from `optimizer` in its `mp_rank_*_model_states.pt`.

    DeeperSpeed `runtime/fp16/fused_optimizer.py:414-436`: one flat vector per group, and torch's own optimizer state,
    whose groups hold `step`: the updates, and one more where DeepSpeed began with a step of zeros.

    Args:
        updates: that the model has made.

    Raises:
        UserError: it holds other groups, another number of elements, or moments of another step or of none.
    """
    masters = field(optimizer, "fp32_groups_flat", list, file=file)
    base = field(optimizer, "optimizer_state_dict", dict, file=file)
    param_groups = field(base, "param_groups", list, file=file)
    moments = field(base, "state", dict, file=file)
    if len(masters) != _GROUPS or len(param_groups) != _GROUPS or set(moments) != set(range(_GROUPS)):
        raise UserError(
            f"{file} holds {len(masters)} groups of masters, {len(param_groups)} of the optimizer and moments of "
            f"{len(moments)}, expected {_GROUPS} each; fetch it again"
        )
    groups, steps = [], set()
    for group, numel in enumerate(numels):
        moment = moments[group]
        piece = _Piece(
            flat_fp32(masters[group], "a master", file=file),
            flat_fp32(field(moment, "exp_avg", Tensor, file=file), "exp_avg", file=file),
            flat_fp32(field(moment, "exp_avg_sq", Tensor, file=file), "exp_avg_sq", file=file),
            file,
        )
        _check_numels([piece], numel, group=group)
        groups.append([piece])
        step = param_groups[group].get("step", moment.get("step"))
        steps.add(None if step is None else int(step))
    if len(steps) > 1:
        raise UserError(f"{file} says {steps} Adam steps in its groups, one number is expected; fetch it again")
    if not steps <= {None, updates, updates + 1}:
        raise UserError(
            f"{file} holds moments of Adam's step {steps.pop()}, but the model has made {updates} updates; they are of "
            f"another step: fetch it again"
        )
    if updates:
        check_moved([piece.exp_avg_sq for group in groups for piece in group], updates=updates, file=file)
    return _rank_state(groups, adam_step=steps.pop(), loss_scaler=_stage0_scaler(optimizer, file=file))


def _stage0_scaler(optimizer: dict[str, object], *, file: Path) -> dict[str, float]:
    if not field(optimizer, "dynamic_loss_scale", bool, file=file):
        return {}
    return {
        "scale": _number(optimizer, "cur_scale", file=file),
        "iteration": _number(optimizer, "cur_iter", file=file),
        "last_overflow": _number(optimizer, "last_overflow_iter", file=file),
        "hysteresis": 1.0,
    }


def _stored_scaler(scaler: object, *, file: Path) -> dict[str, float]:
    if isinstance(scaler, StoredStaticScaler):
        return {}
    if not isinstance(scaler, StoredLossScaler) or not isinstance(scaler.state, dict):
        raise UserError(
            f"{file} holds a {type(scaler).__name__} as 'loss_scaler', expected DynamicLossScaler; fetch it again"
        )
    attributes = cast(dict[str, object], scaler.state)
    return {
        "scale": _number(attributes, "cur_scale", file=file),
        "iteration": _number(attributes, "cur_iter", file=file),
        "last_overflow": _number(attributes, "last_overflow_iter", file=file),
        "hysteresis": _number(attributes, "cur_hysteresis", file=file),
    }


def _number(content: dict[str, object], key: str, *, file: Path) -> float:
    value = field(content, key, object, file=file)
    if not isinstance(value, int | float):
        raise UserError(f"{file} holds a {type(value).__name__} as {key!r}, a number is expected; fetch it again")
    return float(value)
