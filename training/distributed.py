"""One training over several GPUs, on one machine or more: a process for each, started by torchrun.

The process of rank 0 is the run. It alone reads the corpus, intervenes, evaluates and writes, as it does by itself;
where it trains, the others lend it their devices. They wait for what it tells them, and make the same calls of their
own `Trainer`: so there is one journal, one set of checkpoints, and nothing that two processes could decide differently.

Weights, gradients and Adam's moments are sharded by PyTorch's FSDP2 (`torch.distributed.fsdp.fully_shard`). Each rank
takes its share of a batch's sequences; gradients and losses are summed over all. Weights, gradients and their sums are
fp32, and autocast alone makes the arithmetic of a layer bf16 or fp16, as without torchrun: FSDP2's own mixed precision
would put the residual stream and the norms into that format too. Results differ from those of one process by the order
of the sums.
"""

import contextlib
import copy
import functools
import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import GPTNeoXForCausalLM

from foundation import UserError, deferred_signals
from training.checkpoint import Checkpoint
from training.compilation import ActivationCheckpointing
from training.memory import memory_for_users, remedies_of_training
from training.optimizer import OptimizerState, check_moments, optimizer_state
from training.precision import Precision
from training.recipe import Recipe
from training.trainer import Batch, Losses, Sharding, Trainer

# how long a rank waits for what it is told: an evaluation by rank 0 may take hours
_PATIENCE = timedelta(days=30)


@contextlib.contextmanager
def processes() -> Iterator[bool]:
    """Join the processes that torchrun started; yields whether this one is the run.

    In the others the block is to do nothing: they have helped until the run had ended. Without torchrun nothing is
    joined, and the one process is the run.

    Raises:
        UserError: there are fewer GPUs than processes, or another process has ended before its time.
    """
    if not dist.is_torchelastic_launched():
        yield True
        return
    local_rank, local_size = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    gpus = torch.cuda.device_count()
    if 0 < gpus < local_size:
        raise UserError(
            f"torchrun started {local_size} processes on a machine with {gpus} GPUs, and each takes one; set "
            f"--nproc-per-node {gpus}, or hide the GPUs with CUDA_VISIBLE_DEVICES= to train on the CPU"
        )
    if gpus:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    team = _team()
    try:
        if team.rank == 0:
            try:
                yield True
            finally:
                if not team.broken:
                    team.tell(None)
        else:
            while (plan := team.told()) is not None:
                _lend(plan)
            yield False
    finally:
        if not team.broken:  # else it would wait for those that no longer come
            dist.destroy_process_group()


def number_of_processes() -> int:
    """That train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def launcher() -> list[str]:
    """What a command line begins with that starts as many processes as this run has."""
    if not dist.is_torchelastic_launched():
        return ["python"]
    size, local_size = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = [f"--nnodes={size // local_size}"] if size > local_size else []
    return ["torchrun", *nodes, f"--nproc-per-node={local_size}"]


class _Team:
    """The processes of a run, as one of them sees them.

    Attributes:
        broken: something was raised while all were at work: the others wait for this process where it no longer comes.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.broken = False
        self._group = dist.new_group(backend="gloo", timeout=_PATIENCE)

    def tell(self, what: object) -> None:
        """Send an object from rank 0 to the others, where it is what their `told` returns."""
        self.told(what)

    def told(self, what: object = None) -> Any:
        message = [what]
        with self.at_work():
            dist.broadcast_object_list(message, src=0, group=self._group, device=torch.device("cpu"))
        return message[0]

    def highest(self, number: int) -> int:
        """The highest of the numbers that the processes have."""
        numbers = torch.tensor([number])
        dist.all_reduce(numbers, dist.ReduceOp.MAX, group=self._group)
        return int(numbers.item())

    @contextlib.contextmanager
    def together(self, call: str, *arguments: object) -> Iterator[None]:
        """The block is of the method `call` of a trainer. On rank 0 the others are told to call theirs."""
        if self.rank == 0:
            self.tell((call, arguments))
        with self.at_work():
            yield

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """All processes are in this block together.

        Raises:
            UserError: another process is no longer there, or this one has left such a block before its end.
        """
        if self.broken:
            raise UserError(
                "the processes of this run have lost one another, as was told above; give the same command again (with "
                "the same hydra.run.dir) to go on from the last checkpoint"
            )
        self.broken = True
        try:
            yield
        except RuntimeError as error:
            if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            raise UserError(
                f"rank {self.rank} has lost another process of this run, whose own message or torchrun's says why; the "
                f"same command (with the same hydra.run.dir) goes on from the last checkpoint"
            ) from error
        self.broken = False


@functools.cache
def _team() -> _Team:
    """Made once, by all processes at the same time."""
    return _Team()


def check_processes(recipe: Recipe, sharding: Sharding) -> None:
    """Raise UserError where the processes cannot share a batch evenly, or where `sharding` needs torchrun."""
    if not dist.is_initialized():
        if sharding.offload:
            raise UserError(
                "training.sharding.offload=true, but no torchrun started this process; one GPU is enough: "
                "torchrun --nproc-per-node 1 run.py ..."
            )
        return
    size = dist.get_world_size()
    if recipe.sequences_per_step % size:
        raise UserError(
            f"{size} processes cannot share training.sequences_per_step={recipe.sequences_per_step} evenly; start "
            f"a number of them that divides it (torchrun --nproc-per-node)"
        )


@dataclass(frozen=True)
class _Plan:
    """What each rank makes its trainer of.

    Attributes:
        start: of rank 0, with parameters and moments that have names and shapes but no values.
        has_moments: whether it has an optimizer state.
    """

    start: Checkpoint
    has_moments: bool
    recipe: Recipe
    precision: Precision
    micro_batch: int
    device: str
    sharding: Sharding
    compile: bool
    activation_checkpointing: ActivationCheckpointing


@contextlib.contextmanager
def open_trainer(
    start: Checkpoint,
    *,
    recipe: Recipe,
    precision: Precision,
    micro_batch: int,
    device: torch.device,
    sharding: Sharding,
    compile: bool,  # noqa: A002  # the option's name
    activation_checkpointing: ActivationCheckpointing,
) -> Iterator[Trainer]:
    """A trainer for the block, which all processes of the run share where torchrun started several.

    Args:
        start, recipe, precision, micro_batch, device, compile, activation_checkpointing: see `Trainer`. With several
            processes `start.model` stays on the CPU; its weights are those of the training whenever a checkpoint is
            asked for.

    Raises:
        UserError: see `check_processes`, or a GPU is named, where each process takes its own.
    """
    check_processes(recipe, sharding)
    if not dist.is_initialized():
        yield Trainer(
            start,
            recipe=recipe,
            precision=precision,
            micro_batch=micro_batch,
            device=device,
            compile=compile,
            activation_checkpointing=activation_checkpointing,
        )
        return
    if device.index not in (None, int(os.environ["LOCAL_RANK"])):
        raise UserError(f"device={device}, but under torchrun each process takes a GPU of its own; set device=auto")
    model, state = start.on(torch.device("cpu")), start.optimizer_state
    if state is not None:
        check_moments(model, state)
    hollow = replace(start, model=_hollow(model), optimizer_state=None)
    if state is not None:
        hollow = replace(hollow, optimizer_state=replace(state, exp_avg={}, exp_avg_sq={}))
    plan = _Plan(
        hollow,
        state is not None,
        recipe,
        precision,
        micro_batch,
        device.type,
        sharding,
        compile,
        activation_checkpointing,
    )
    _team().tell(plan)
    trainer = _SharedTrainer(plan, start)
    try:
        yield trainer
    finally:
        trainer.close()


def _lend(plan: _Plan) -> None:
    """Train as rank 0 says, until it says that the training has ended."""
    with memory_for_users(f"rank {_team().rank}", remedy=remedies_of_training(plan.micro_batch)):
        trainer = _SharedTrainer(plan, None)
        with deferred_signals(patient=True) as received:
            trainer.heed(received)
            while (told := _team().told()) is not None:
                call, arguments = told
                getattr(trainer, call)(*arguments)
        trainer.close()


def _hollow(model: GPTNeoXForCausalLM) -> GPTNeoXForCausalLM:
    """A copy that computes the same, buffers included, but whose parameters have no values."""
    instead = {id(parameter): nn.Parameter(parameter.to("meta")) for parameter in model.parameters()}
    return copy.deepcopy(model, cast(dict[int, Any], instead))


class _SharedTrainer(Trainer):
    """One rank's part of a trainer. Rank 0 calls its methods; the other ranks call theirs as they are told.

    Args:
        start: the whole checkpoint, on rank 0.
    """

    def __init__(self, plan: _Plan, start: Checkpoint | None) -> None:
        self._team = _team()
        self._sharding = plan.sharding
        self._received: Callable[[], int | None] = lambda: None
        self._whole_model = None if start is None else start.model
        device = (
            torch.device(plan.device, torch.cuda.current_device()) if plan.device == "cuda" else torch.device("cpu")
        )
        self._device = device
        self._home = torch.device("cpu") if plan.sharding.offload else device  # of the shards
        buffers = {name: value.clone() for name, value in plan.start.model.named_buffers()}
        with self._team.at_work():
            super().__init__(
                self._shards(plan, start),
                recipe=plan.recipe,
                precision=plan.precision,
                micro_batch=plan.micro_batch,
                device=self._home,
                compile=plan.compile,
                activation_checkpointing=plan.activation_checkpointing,
            )
        self._device = device
        for name, value in buffers.items():
            owner, _, leaf = name.rpartition(".")
            setattr(self.model.get_submodule(owner), leaf, value.to(device))
        setattr(self.model, "weighted_loss", self._own_loss)  # noqa: B010  # a model has no such attribute for mypy
        register_fsdp_forward_method(self.model, "weighted_loss")

    def _shards(self, plan: _Plan, start: Checkpoint | None) -> Checkpoint:
        """This rank's shard of the start."""
        model = plan.start.model
        mesh = init_device_mesh(plan.device, (self._team.size,))
        each_layer = plan.sharding.gather == "layer"
        # pinned memory is a GPU's; a test without one leaves it out
        policy = CPUOffloadPolicy(pin_memory=plan.device == "cuda") if plan.sharding.offload else OffloadPolicy()
        for layer in model.gpt_neox.layers:
            fully_shard(layer, mesh=mesh, reshard_after_forward=each_layer, offload_policy=policy)
        fully_shard(model, mesh=mesh, reshard_after_forward=False, offload_policy=policy)
        model.to_empty(device=self._home)
        for module in _sharded_modules(model):
            # sums, as the losses are divided by the predictions of the whole batch, and gloo knows no other
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
        whole = {} if start is None else dict(start.model.named_parameters())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self._scatter(whole.get(name), cast(DTensor, parameter)))
        state = plan.start.optimizer_state
        if not plan.has_moments or state is None:
            return plan.start
        full = None if start is None else start.optimizer_state

        def moments(name_of_moments: str) -> dict[str, Tensor]:
            values = {} if full is None else getattr(full, name_of_moments)
            return {
                name: self._scatter(values.get(name), cast(DTensor, parameter))
                for name, parameter in model.named_parameters()
            }

        return replace(
            plan.start, optimizer_state=replace(state, exp_avg=moments("exp_avg"), exp_avg_sq=moments("exp_avg_sq"))
        )

    def _scatter(self, full: Tensor | None, like: DTensor) -> DTensor:
        """This rank's shard of a tensor that rank 0 holds, sharded as `like` is."""
        if full is None:
            value = torch.empty(like.shape, dtype=torch.float32, device=self._device)
        else:
            value = full.detach().to(self._device, torch.float32).contiguous()
        dist.broadcast(value, src=0)
        shard = distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
        return cast(DTensor, shard.to(like.device))

    @property
    def processes(self) -> int:
        return self._team.size

    def heed(self, received: Callable[[], int | None]) -> Callable[[], int | None]:
        self._received = received
        return self.signal

    def signal(self) -> int | None:
        """What signal any of the processes has received."""
        with self._team.together("signal"):
            return self._signal()

    def _signal(self) -> int | None:
        return self._team.highest(self._received() or 0) or None

    def backward(self, batch: Batch, *, give_up: Callable[[], bool] | None = None) -> Losses | None:
        """All processes give up where one has received a signal: `give_up`, which would ask this one, is not called."""
        with self._team.together("backward", replace(batch, record={})):
            return super().backward(batch, give_up=lambda: self._signal() is not None)

    def _share(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.split(rows, self._team.size)[self._team.rank]

    def _sum(self, sums: Tensor) -> None:
        dist.all_reduce(sums)

    def _whole(self, share: Tensor) -> Tensor:
        shares = [torch.empty_like(share) for _ in range(self._team.size)]
        dist.all_gather(shares, share)
        return torch.cat(shares)

    def _begin_micro_batch(self, *, last: bool) -> None:
        each = self._sharding.gather == "layer"
        for module in _sharded_modules(self.model):
            module.set_is_last_backward(last)
            module.set_requires_gradient_sync(each or last, recurse=False)
            module.set_reshard_after_backward(each or last, recurse=False)

    def _loss(self, inputs: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        return cast(tuple[Tensor, Tensor], self.model.weighted_loss(inputs, labels, weights))  # type: ignore[operator]

    def _own_loss(self, inputs: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        total, losses = super()._loss(inputs, labels, weights)
        return total.clone(), losses.clone()  # FSDP2 hooks on to what it returns, which must be no views

    def unscaled_gradient_norm(self) -> float:
        with self._team.together("unscaled_gradient_norm"):
            return super().unscaled_gradient_norm()

    def update(self) -> None:
        with self._team.together("update"):
            super().update()

    def skip(self) -> None:
        with self._team.together("skip"):
            super().skip()

    def checkpoint(self, start: Checkpoint, *, step: int) -> Checkpoint:
        """The whole, in the memory of rank 0's machine."""
        assert self._whole_model is not None
        scaler_state = self.scaler.state() if self.scaler else {}
        state = self.gather()
        return Checkpoint(self._whole_model, start.tokenizer, state, scaler_state, step, start.path)

    def gather(self) -> OptimizerState:
        """Put the weights into rank 0's whole model, and Adam's moments together for it; empty on the other ranks."""
        with self._team.together("gather"):
            for module in _sharded_modules(self.model):
                module.reshard()
            shards = optimizer_state(self.model, self._optimizer, updates=self.updates)
            first: dict[str, Tensor] = {}
            second: dict[str, Tensor] = {}
            for name, parameter in self.model.named_parameters():
                parts = (parameter.detach(), shards.exp_avg[name], shards.exp_avg_sq[name])
                whole = [cast(DTensor, part.to(self._device)).full_tensor() for part in parts]
                if self._whole_model is not None:
                    self._whole_model.get_parameter(name).data.copy_(whole[0])
                    first[name], second[name] = whole[1].cpu(), whole[2].cpu()
            return replace(shards, exp_avg=first, exp_avg_sq=second)

    def close(self) -> None:
        """End the training on all ranks, and free their devices."""
        if self._team.rank == 0 and not self._team.broken:
            self._team.tell(None)
        del self.model, self._optimizer
        gc.collect()  # FSDP2's modules and hooks refer to one another
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _sharded_modules(model: nn.Module) -> Iterator[FSDPModule]:
    return (module for module in model.modules() if isinstance(module, FSDPModule))
