"""Whether `plan=true` tells a training step's memory: what it says beside what a step takes.

python -m perf.memory [--record] [--size demo|70m|160m|410m|1.4b] [--micro-batch N] [--seq-length N]
                      [--activation-checkpointing none|selective|full]

What is taken is what PyTorch's allocator has given out at most; on a CPU, where it does not keep count, by the
allocations and releases that torch.profiler saw. There the growth of the process stands beside it, which holds what
libraries take for themselves and what the C library does not give back. `demo` is in fp32, the others are in bf16 on a
GPU and in fp32 on a CPU.
"""

import argparse
import contextlib
import itertools
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import GPTNeoXForCausalLM

from conf.compose import configure
from perf.record import keep, origin
from perf.training import SIZES
from training import Batch, Checkpoint, Precision, choose_device
from training.cost import step_memory
from training.flops import ModelShape
from training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the figures to perf/record.jsonl")
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--seq-length", type=int, help="the size's own if not set")
    parser.add_argument("--activation-checkpointing", choices=["none", "selective", "full"], default="none")
    arguments = parser.parse_args()
    found, figures = origin(), compare(arguments)
    sys.stdout.write("memory\n" + "".join(f"  {key:42}{value}\n" for key, value in figures.items()))
    if arguments.record:
        keep("memory", figures, origin=found)


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is told, then what is taken by two steps of two micro-batches each."""
    shape, length, _ = SIZES[arguments.size]
    length = arguments.seq_length or length
    device = choose_device("auto")
    precision: Precision = "fp32" if arguments.size == "demo" or device.type == "cpu" else "bf16"
    told = step_memory(
        shape,
        seq_length=length,
        micro_batch=arguments.micro_batch,
        precision=precision,
        activation_checkpointing=arguments.activation_checkpointing,
        device=device.type,
    ).total
    before = _grown()
    with _allocations(device) as taken:
        _two_steps(arguments, shape, length, precision, device)
    found = {"told, MiB": round(told / 2**20), "taken, MiB": round(taken[0] / 2**20)}
    if device.type == "cpu":
        found["process grew by, MiB"] = round((_grown() - before) / 2**20)
    return {
        "size": arguments.size,
        "device": device.type,
        "precision": precision,
        "micro-batch": arguments.micro_batch,
        "tokens a row": length,
        "activation checkpointing": arguments.activation_checkpointing,
        **found,
        "told / taken": round(told / taken[0], 3),
    }


def _two_steps(
    arguments: argparse.Namespace, shape: ModelShape, length: int, precision: Precision, device: torch.device
) -> None:
    recipe = configure(["model=demo"]).training
    model = GPTNeoXForCausalLM(shape.configuration(length))
    start = Checkpoint(model, None, None, {}, 0, Path())  # type: ignore[arg-type]  # nothing is saved
    trainer = Trainer(
        start,
        recipe=recipe,
        precision=precision,
        micro_batch=arguments.micro_batch,
        device=device,
        activation_checkpointing=arguments.activation_checkpointing,
    )
    rows = np.random.default_rng(0).integers(1, shape.vocab, (2 * arguments.micro_batch, length + 1))
    for _ in range(2):
        trainer.backward(Batch(rows, {}), give_up=lambda: False)
        trainer.unscaled_gradient_norm()
        trainer.update()


@contextlib.contextmanager
def _allocations(device: torch.device) -> Iterator[list[int]]:
    """Yields a list that holds, after the block, the most bytes that PyTorch had given out within it."""
    most: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        yield most
        most.append(torch.cuda.max_memory_allocated())
        return
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as seen:
        yield most
    assert seen.profiler is not None
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    most.append(max(itertools.accumulate(event.nbytes() for event in events)))


def _grown() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
