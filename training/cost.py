"""What training takes, before anything starts: arithmetic, memory by part, hours.

Memory is not estimated by formulas: one step runs on tensors that have shapes and no data (torch's FakeTensorMode), and
torch's own tracker adds up what lives when most does.
"""

import functools
from dataclasses import dataclass, replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from transformers import GPTNeoXForCausalLM

from foundation import UserError, size_text
from training.compilation import ActivationCheckpointing, called_by, layer_calls
from training.flops import ModelShape
from training.loss import chunk_tokens, head_loss
from training.precision import DTYPES, Precision, autocast
from training.trainer import Sharding

H100_FLOPS_PER_S = 989e12
ASSUMED_MFU = 0.4
"""The best published trainings of such sizes reach .35 to .48 on an H100. No figure of this kit's own is known yet."""

H100_BYTES = 80_000_000_000
ROOM = 0.9
"""Share of the free memory that a step may be told to take: what is told is without fragments and libraries' own."""


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes that live when most does, by part; the precision's copies of weights count as activations.

    Attributes:
        transient: what lives for an operation or two, such as the logits of a chunk.
    """

    weights: int
    gradients: int
    moments: int
    activations: int
    transient: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.moments + self.activations + self.transient

    def of_each(self, processes: int, sharding: Sharding) -> int:
        """Bytes on each of the devices that share the model as `training.distributed` does."""
        if processes == 1 and not sharding.offload:
            return self.total
        masters, whole = self.weights + self.moments, self.weights + self.gradients
        kept = 0 if sharding.offload else masters // processes
        if sharding.gather == "layer":
            gradients = 0 if sharding.offload else self.gradients // processes
            return kept + gradients + self.activations + self.transient
        return kept + whole + self.activations + self.transient


@functools.cache  # a plan asks for the micro-batch that fits, and then tells of it
def step_memory(
    shape: ModelShape,
    *,
    seq_length: int,
    micro_batch: int,
    precision: Precision,
    activation_checkpointing: ActivationCheckpointing = "none",
    device: str = "cuda",
) -> StepMemory:
    """Memory of a training step on one device that makes gradients in several passes, its layers uncompiled.

    Layers are alike, so that two models of few layers tell what one of many takes.

    Args:
        micro_batch: sequences per forward pass.
        activation_checkpointing: see `training.compilation.layer_calls`.
        device: cuda or cpu, which hold more or fewer logits at once.
    """
    few = min(shape.layers - 1, 2)
    less, more = (
        _tracked(
            replace(shape, layers=layers),
            seq_length=seq_length,
            micro_batch=micro_batch,
            precision=precision,
            activation_checkpointing=activation_checkpointing,
            device=device,
        )
        for layers in (few, few + 1)
    )
    parts = {part: less[part] + (shape.layers - few) * (more[part] - less[part]) for part in less}
    return StepMemory(**parts)


def room_on(device: torch.device) -> int | None:
    """Bytes that a training step may take there, by `ROOM`; None for a CPU, where nothing tells them."""
    return int(ROOM * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def fitting_micro_batch(
    shape: ModelShape,
    *,
    most: int,
    room: int,
    seq_length: int,
    precision: Precision,
    activation_checkpointing: ActivationCheckpointing = "none",
    sharding: Sharding | None = None,
    processes: int = 1,
) -> int:
    """The largest of most, most / 2, most / 4, ... sequences per forward pass whose step has room on each device.

    Args:
        most: where it begins.
        room: bytes.
        sharding: how several devices share the model: what is sharded counts as its share, what is offloaded not.

    Raises:
        UserError: one sequence has none.
    """
    sharding, micro_batch = sharding or Sharding(), most
    while True:
        memory = step_memory(
            shape,
            seq_length=seq_length,
            micro_batch=micro_batch,
            precision=precision,
            activation_checkpointing=activation_checkpointing,
        )
        taken = memory.of_each(processes, sharding)
        if taken <= room:
            return micro_batch
        if micro_batch == 1:
            raise UserError(
                f"a step of one sequence takes {size_text(taken)} on each device, but there is room for "
                f"{size_text(room)}; set training.activation_checkpointing=full, use more GPUs with "
                f"training.sharding.gather=layer, or training.sharding.offload=true; training.micro_batch=1 tries it"
            )
        micro_batch = max(1, micro_batch // 2)


def _tracked(
    shape: ModelShape,
    *,
    seq_length: int,
    micro_batch: int,
    precision: Precision,
    activation_checkpointing: ActivationCheckpointing,
    device: str,
) -> dict[str, int]:
    """Bytes by part of `StepMemory`."""
    chunk = chunk_tokens(shape.vocab, torch.device(device))
    with FakeTensorMode():
        model = GPTNeoXForCausalLM(shape.configuration(seq_length)).train()
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        rows = torch.zeros(micro_batch, seq_length + 1, dtype=torch.int64)
        tracker = MemTracker()
        tracker.track_external(model, optimizer, rows)
        calls = layer_calls(model, compile=False, activation_checkpointing=activation_checkpointing)
        with tracker, called_by(model, calls):
            for _ in range(2):
                for _ in range(2):
                    _backward(model, rows, precision=precision, chunk=chunk)
                    tracker.reset_mod_stats()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
    found = {
        str(part).rpartition(".")[2]: size
        for part, size in tracker.get_tracker_snapshot("peak")[torch.device("cpu")].items()
    }
    return {
        "weights": found["PARAM"] + found["BUFFER"],
        "gradients": found["GRAD"],
        "moments": found["OPT"],
        "activations": found["ACT"],
        "transient": found["TEMP"] + found["OTH"],
    }


def _backward(model: GPTNeoXForCausalLM, rows: torch.Tensor, *, precision: Precision, chunk: int) -> None:
    with autocast(precision, torch.device("cpu")):
        hidden = model.gpt_neox(rows[:, :-1], use_cache=False).last_hidden_state
    labels = rows[:, 1:].flatten()
    loss, _ = head_loss(
        hidden.flatten(0, 1),
        model.get_output_embeddings().weight,
        labels,
        torch.ones(len(labels)),
        dtype=DTYPES[precision],
        chunk=chunk,
    )
    loss.backward()


def cost_lines(
    shape: ModelShape,
    *,
    seq_length: int,
    steps: int,
    sequences_per_step: int,
    micro_batch: int,
    precision: Precision,
    activation_checkpointing: ActivationCheckpointing,
) -> list[tuple[str, str]]:
    """Lines (what, how much) on one arm."""
    tokens = steps * sequences_per_step * seq_length
    flops = tokens * shape.flops_per_token(seq_length)
    memory = step_memory(
        shape,
        seq_length=seq_length,
        micro_batch=micro_batch,
        precision=precision,
        activation_checkpointing=activation_checkpointing,
    )
    parts = ", ".join(f"{part} {size_text(size)}" for part, size in vars(memory).items())
    hours = flops / (H100_FLOPS_PER_S * ASSUMED_MFU) / 3600
    return [
        ("model", f"{shape.parameters:,} parameters"),
        ("an arm", f"{tokens:,} tokens, {flops:.3g} FLOPs"),
        (
            "memory",
            f"{size_text(memory.total)} with training.micro_batch={micro_batch}, {precision}, uncompiled: {parts}",
        ),
        ("hours", f"{hours:,.3g} of an H100 for an arm, assumed that {ASSUMED_MFU:.0%} of its bf16 peak is used"),
    ]
